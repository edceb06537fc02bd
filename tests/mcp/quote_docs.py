#!/usr/bin/env python3
"""Keeps the C++ of a document the same as code that is compiled and run.

quote_docs.py [--update] DOCUMENT SOURCE...

A block of the document that follows the line <!-- NAME --> is the part of a source between "// snippet NAME" and
"// end"; one that follows <!-- FILE --> is that file from its first #include on. Each block of C++ must have such a line,
each snippet must be quoted, and each link within the document must lead somewhere. --update writes the blocks anew.
"""
import pathlib
import re
import sys
import textwrap

BLOCK = re.compile(r"^<!-- (\S+) -->\n```cpp\n(.*?)^```$", re.M | re.S)


def snippets(paths):
    found = {}
    for path in paths:
        for name, text in re.findall(r"^ *// snippet (\S+)\n(.*?)^ *// end$", path.read_text(), re.M | re.S):
            if name in found:
                sys.exit(f"{path}: there are two snippets \"{name}\"")
            found[name] = textwrap.dedent(text)
    return found


def anchors(document):
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", document, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def main():
    update = "--update" in sys.argv
    path, *sources = [pathlib.Path(word) for word in sys.argv[1:] if word != "--update"]
    root = pathlib.Path(__file__).resolve().parents[2]
    document, known, quoted, problems = path.read_text(), snippets(sources), set(), []

    def expected(name):
        if name in known:
            quoted.add(name)
            return known[name]
        if "/" in name and (root / name).is_file():
            text = (root / name).read_text()
            return text[text.index("#include"):]
        problems.append(f"there is no snippet or file \"{name}\"")
        return None

    def replace(match):
        text = expected(match[1])
        if text is None or text == match[2]:
            return match[0]
        if not update:
            problems.append(f"\"{match[1]}\" is not what is compiled: run {pathlib.Path(__file__).name} --update")
        return f"<!-- {match[1]} -->\n```cpp\n{text}```"

    fresh = BLOCK.sub(replace, document)
    if document.count("```cpp\n") != len(BLOCK.findall(document)):
        problems.append("a block of C++ names no snippet: put <!-- NAME --> on the line before it")
    problems += [f"\"{name}\" is quoted nowhere" for name in sorted(known.keys() - quoted)]
    there = anchors(document)
    problems += [f"nothing is at #{one}" for one in re.findall(r"\]\(#([^)]+)\)", document) if one not in there]
    if update:
        path.write_text(fresh)
    for problem in problems:
        print(f"{path}: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


main()
