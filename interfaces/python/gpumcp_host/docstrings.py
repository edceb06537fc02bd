"""Docstrings in Google, NumPy and Sphinx style: the description, and what is said about each parameter."""

import inspect
import re

_GOOGLE = re.compile(r"^(Args|Arguments|Parameters|Params|Keyword Args|Keyword Arguments|Other Parameters|Returns?|Yields?|"
                     r"Raises|Attributes|Examples?|Notes?|Warnings?|See Also|References|Todo)\s*:\s*$")
_PARAMETER_SECTIONS = {"args", "arguments", "parameters", "params", "keyword args", "keyword arguments",
                       "other parameters", "attributes"}
_KEPT_SECTIONS = {"note", "notes", "example", "examples", "warning", "warnings"}
_SPHINX = re.compile(r"^:(param|parameter|arg|argument|key|keyword|type|raises?|except|exception|returns?|rtype|var|ivar|"
                     r"vartype|meta|yields?)\b([^:]*):\s*(.*)$")


class Doc:
    def __init__(self):
        self.description, self.parameters, self.returns = "", {}, ""


def _join(lines):
    """Lines of one entry as one line; an empty line keeps paragraphs apart."""
    out = []
    for line in lines:
        out.append(line.strip())
    return re.sub(r"[ \t]+", " ", re.sub(r"(?<!\n)\n(?!\n)", " ", "\n".join(out))).strip()


def _name_of(head):
    """`name (int, optional)`, `name: int`, `*names`, `a, b` -> the names."""
    head = re.sub(r"\(.*\)\s*$", "", head).split(":")[0]
    return [name.strip().lstrip("*") for name in head.split(",") if name.strip()]


def _indent(line):
    return len(line) - len(line.lstrip())


def _google_entries(lines, doc):
    """`name (type): text`, more text indented deeper."""
    depth = min((_indent(line) for line in lines if line.strip()), default=0)
    names, text = [], []

    def keep():
        for name in names:
            doc.parameters[name] = _join(text)

    for line in lines:
        match = re.match(r"^(\*{0,2}\w[\w*, ]*?)\s*(\([^()]*(?:\([^()]*\)[^()]*)*\))?\s*:\s*(.*)$", line.strip())
        if line.strip() and _indent(line) == depth and match:
            keep()
            names, text = _name_of(match[1]), [match[3]]
        else:
            text.append(line)
    keep()


def _numpy_entries(lines, doc):
    """`name : type` at the section's own depth, its text indented below."""
    depth = min((_indent(line) for line in lines if line.strip()), default=0)
    names, text = [], []
    for line in lines + [None]:
        if line is None or (line.strip() and _indent(line) == depth):
            for name in names:
                doc.parameters[name] = _join(text)
            if line is not None:
                names, text = _name_of(line.split(" :")[0]), []
        else:
            text.append(line)


def _sections(lines):
    """(heading or None, style, lines) in order."""
    out = [(None, "", [])]
    i = 0
    while i < len(lines):
        line = lines[i]
        google = _GOOGLE.match(line) if _indent(line) == 0 else None
        underlined = (i + 1 < len(lines) and line.strip() and re.match(r"^-{3,}\s*$", lines[i + 1].strip())
                      and _indent(line) == 0)
        if underlined:
            out.append((line.strip().lower(), "numpy", []))
            i += 2
            continue
        if google:
            out.append((google[1].lower(), "google", []))
        elif out[-1][1] == "google" and line.strip() and _indent(line) == 0:
            out.append((None, "", [line]))  # text behind a section
        else:
            out[-1][2].append(line)
        i += 1
    return out


def _sphinx(lines, doc):
    """Takes the fields out; returns what is left."""
    left, field, name, text = [], None, "", []

    def keep():
        if field in ("param", "parameter", "arg", "argument", "key", "keyword", "var", "ivar") and name:
            doc.parameters[name.split()[-1].lstrip("*")] = _join(text)
        elif field in ("return", "returns"):
            doc.returns = _join(text)

    for line in lines:
        match = _SPHINX.match(line.strip())
        if match:
            keep()
            field, name, text = match[1], match[2].strip(), [match[3]]
        elif field and (_indent(line) > 0 or not line.strip()):
            text.append(line)
        else:
            keep()
            field = None
            left.append(line)
    keep()
    return left


def parse(text):
    doc = Doc()
    if not text:
        return doc
    lines = _sphinx(inspect.cleandoc(text).splitlines(), doc)
    kept = []
    for heading, style, body in _sections(lines):
        if heading is None:
            kept.append("\n".join(body).strip())
        elif heading in _PARAMETER_SECTIONS:
            (_numpy_entries if style == "numpy" else _google_entries)(body, doc)
        elif heading.startswith("return"):
            doc.returns = _join(body)
        elif heading in _KEPT_SECTIONS:
            kept.append(heading.capitalize() + ":\n" + inspect.cleandoc("\n".join(body)).strip())
    # Paragraphs keep their breaks; a paragraph's own lines are joined, unless they are indented (code, lists).
    paragraphs = re.split(r"\n\s*\n", "\n\n".join(part for part in kept if part))
    doc.description = "\n\n".join(
        part if re.search(r"\n[ \t*>-]", part) else " ".join(line.strip() for line in part.splitlines())
        for part in paragraphs if part.strip())
    return doc
