"""An interface file's manifest: its exposed functions as MCP tools, read from the source and never by running it.

`python3 -I -S run_host.py manifest FILE` prints it as JSON; a Problem goes to stderr, exit code 1.
"""

import ast
import json
import os
import re
import sys

from gpumcp_host import docstrings
from gpumcp_host.problem import Problem
from gpumcp_host.schema import ANY, BAD_CONSTANT, CONTEXTS, REFERENCE, Schemas, union
from gpumcp_host.source import Tree

FORMAT = 1
TOOL_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")
OUTPUT = {
    "type": "string", "enum": ["ref", "inline", "file"], "default": "ref",
    "description": "How to return arrays and other large values: \"ref\" by gpumcp:// URI, \"file\" as a file in the "
                   "workspace, \"inline\" in full.",
}
OPTIONS = {"name", "description", "title", "concurrency", "read_only", "destructive", "idempotent", "open_world", "timeout"}
# Result types that never need another form than inline.
SMALL = ({"type": "null"}, {"type": "boolean"}, {"type": "integer"}, {"type": "number"})


def _exposes(source, decorator):
    """The decorator's call keywords if it is @expose in one of its spellings, else None."""
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    if isinstance(target, ast.Name) and target.id == "expose":
        found = source.resolve(target)
        if found is not None and found.dotted not in ("gpumcp.expose",):
            return None  # the author's own
    else:
        found = source.resolve(target)
        if not found or found.dotted != "gpumcp.expose":
            return None
    return decorator.keywords if isinstance(decorator, ast.Call) else []


class Exposed:
    """One exposed function: where it is defined and what the decorator said."""

    def __init__(self, source, node, keywords, at):
        self.source, self.node, self.at, self.options = source, node, at, {}
        for keyword in keywords:
            if keyword.arg not in OPTIONS:
                raise source.problem(keyword.value, f"expose() takes no {keyword.arg}; it takes {', '.join(sorted(OPTIONS))}")
            try:
                self.options[keyword.arg] = source.literal(keyword.value)
            except BAD_CONSTANT:
                raise source.problem(keyword.value, f"expose({keyword.arg}=…) must be a constant") from None
        concurrency = self.options.get("concurrency", 1)
        if not isinstance(concurrency, int) or isinstance(concurrency, bool) or not 1 <= concurrency <= 256:
            raise source.problem(node, f"expose(concurrency={concurrency!r}): expected 1 to 256 calls at once")
        for key, type_ in (("name", str), ("description", str), ("title", str)):
            if not isinstance(self.options.get(key, ""), type_):
                raise source.problem(node, f"expose({key}=…): expected a text")

    @property
    def name(self):
        return self.options.get("name", self.node.name)


def find_exposed(source):
    """Every exposed function of the file, in order: under @expose, or named in expose(function)."""
    out = []
    for statement in source.statements():
        if isinstance(statement, ast.ClassDef):
            for inner in ast.walk(statement):
                if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    for decorator in inner.decorator_list:
                        if _exposes(source, decorator) is not None:
                            raise source.problem(inner, f"{inner.name} is a method: expose a function of the module that calls it")
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for decorator in statement.decorator_list:
                keywords = _exposes(source, decorator)
                if keywords is not None:
                    out.append(Exposed(source, statement, keywords, statement))
                    break
        call = statement.value if isinstance(statement, (ast.Expr, ast.Assign)) else None
        if isinstance(call, ast.Call) and _exposes(source, call) is not None:
            if len(call.args) != 1:
                raise source.problem(call, "expose(…) takes one function")
            found = source.resolve(call.args[0])
            if not found or not isinstance(found.node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                raise source.problem(call, f"{ast.unparse(call.args[0])} is no function whose source is here: write one under @expose")
            out.append(Exposed(found.source, found.node, call.keywords, call))
    return out


def _inferred(source, default):
    """The type of a parameter that has a default and no annotation."""
    try:
        value = source.literal(default)
    except BAD_CONSTANT:
        return ANY
    for type_, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"), (dict, "object")):
        if isinstance(value, type_):
            return {"type": name}
    return ANY


def _has_yield(node):
    todo = list(node.body)
    while todo:
        one = todo.pop()
        if isinstance(one, (ast.Yield, ast.YieldFrom)):
            return True
        if not isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            todo.extend(ast.iter_child_nodes(one))
    return False


def _parameters(exposed, schemas, doc):
    """(properties, required, additionalProperties)."""
    source, arguments = exposed.source, exposed.node.args
    positional = list(getattr(arguments, "posonlyargs", [])) + list(arguments.args)
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    listed = list(zip(positional, defaults)) + list(zip(arguments.kwonlyargs, arguments.kw_defaults))
    properties, required = {}, []
    for argument, default in listed:
        if argument.annotation is not None:
            found = None
            try:
                found = source.resolve(argument.annotation)
            except Problem:
                pass
            if found and found.dotted in CONTEXTS:
                continue  # passed in, no business of the agent
            schema = dict(schemas.of(argument.annotation, source))
        else:
            schema = _inferred(source, default) if default is not None else {}
        schema = dict(schema)
        if default is None:
            required.append(argument.arg)
        else:
            if isinstance(default, ast.Constant) and default.value is None and schema and argument.annotation is not None:
                schema = dict(union([schema, {"type": "null"}]))  # `k: int = None` means Optional
            if isinstance(default, ast.Call):
                found = source.resolve(default.func)
                if found and found.dotted == "pydantic.Field":
                    needed, schema = schemas._default(schema, default, source)
                    if needed:
                        required.append(argument.arg)
            schemas.put_default(schema, default, source)
        if doc.parameters.get(argument.arg):
            schema.setdefault("description", doc.parameters[argument.arg])
        properties[argument.arg] = schema
    if arguments.vararg:
        schema = {"type": "array", "default": []}
        if arguments.vararg.annotation is not None:
            schema["items"] = schemas.of(arguments.vararg.annotation, source)
        if doc.parameters.get(arguments.vararg.arg):
            schema["description"] = doc.parameters[arguments.vararg.arg]
        properties[arguments.vararg.arg] = schema
    more = False
    if arguments.kwarg:
        more = schemas.of(arguments.kwarg.annotation, source) if arguments.kwarg.annotation is not None else {}
        more = more or True
    return properties, required, more


def _returns(exposed):
    """(output schema or None, whether the tool needs the parameter `output`)."""
    node, source = exposed.node, exposed.source
    if node.returns is None:
        return None, True
    schemas = Schemas(output=True)
    schema = schemas.of(node.returns, source)
    large = schema not in SMALL and schema.get("type") != "boolean" and not ("enum" in schema)
    is_text = schema.get("type") == "string" and "contentEncoding" not in schema
    if "contentEncoding" in schema:
        schema = {"anyOf": [REFERENCE, {"type": "object"}]}
    if not schema or schema == {"type": "object"}:
        return None, True
    if schema == {"type": "null"}:
        return None, False
    if schema.get("type") != "object":
        schema = {"type": "object", "properties": {"result": schema}}
    if schemas.defs:
        schema = {**schema, "$defs": schemas.defs}
    return schema, large and not is_text


def tool_of(exposed):
    source, node = exposed.source, exposed.node
    if not TOOL_NAME.match(exposed.name):
        raise source.problem(node, f"{exposed.name!r} is no name for a tool: 1 to 64 of A-Z, a-z, 0-9 and _; use @expose(name=…)")
    if _has_yield(node):
        raise source.problem(node, f"{node.name} is a generator, and a call has one result: return a list, or report what "
                                   "is done so far with gpumcp.progress()")
    doc = docstrings.parse(ast.get_docstring(node))
    schemas = Schemas()
    properties, required, more = _parameters(exposed, schemas, doc)
    output_schema, needs_output = _returns(exposed)
    if needs_output and "output" not in properties and more is False:
        properties["output"] = OUTPUT
    else:
        needs_output = False
    input_schema = {"type": "object", "properties": properties}
    if required:
        input_schema["required"] = required
    input_schema["additionalProperties"] = more
    if schemas.defs:
        input_schema["$defs"] = schemas.defs
    description = exposed.options.get("description") or doc.description
    if not description:
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_+", " ", exposed.name).strip().lower()
        description = words[:1].upper() + words[1:] + "."
    if doc.returns and "description" not in exposed.options:
        description += "\n\nReturns: " + doc.returns
    tool = {"name": exposed.name, "description": description, "inputSchema": input_schema}
    if needs_output:
        tool["_meta"] = {"gpumcp/output": "argument"}  # the parameter is ours, not the function's
    if output_schema is not None:
        tool["outputSchema"] = output_schema
    hints = {hint: bool(exposed.options[option]) for option, hint in (
        ("read_only", "readOnlyHint"), ("destructive", "destructiveHint"), ("idempotent", "idempotentHint"),
        ("open_world", "openWorldHint")) if option in exposed.options}
    if "title" in exposed.options:
        tool["title"] = hints["title"] = exposed.options["title"]
    if hints:
        tool["annotations"] = hints
    return tool


def script_metadata(source):
    """The `# /// script` block (PEP 723): {"dependencies": […], "requires-python": …}."""
    text = source.text.decode("utf-8", "replace")
    match = re.search(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$", text)
    if not match:
        return {}
    content = "".join(line[2:] if line.startswith("# ") else line[1:] for line in match["content"].splitlines(keepends=True))
    line = text[:match.start()].count("\n") + 1
    try:
        import tomllib
    except ImportError:  # before 3.11: the two members that are used are simple enough
        out = {}
        found = re.search(r"(?ms)^dependencies\s*=\s*(\[.*?\])", content)
        if found:
            out["dependencies"] = ast.literal_eval(re.sub(r"(?m)#.*$", "", found[1]))
        found = re.search(r"(?m)^requires-python\s*=\s*(\".*?\"|'.*?')", content)
        if found:
            out["requires-python"] = ast.literal_eval(found[1])
        return out
    try:
        return tomllib.loads(content)
    except tomllib.TOMLDecodeError as e:
        raise Problem(source.shown, line, f"the script block is no TOML: {e}") from None


def make_manifest(path):
    """The manifest of an interface file, a dict; Problem if it cannot be served."""
    path = os.path.realpath(path)
    tree = Tree(os.path.dirname(path))
    source = tree.open(path)
    found = find_exposed(source)
    if not found:
        raise Problem(source.shown, 1, "exposes nothing: put @expose above the functions that agents may call")
    seen = {}
    for exposed in found:
        if exposed.name in seen:
            raise exposed.source.problem(
                exposed.node, f"{exposed.name} is exposed twice; the other is in line {seen[exposed.name].node.lineno}")
        seen[exposed.name] = exposed
    metadata = script_metadata(source)
    return {
        "gpumcp_manifest": FORMAT,
        "name": re.sub(r"[^a-z0-9_]", "_", os.path.splitext(os.path.basename(path))[0].lower()) or "interface",
        "description": docstrings.parse(ast.get_docstring(source.module)).description,
        "tools": [tool_of(exposed) for exposed in found],
        "dependencies": sorted(tree.sources),
        "python": {"packages": metadata.get("dependencies", []), "requires": metadata.get("requires-python", "")},
    }


def main(arguments):
    try:
        json.dump(make_manifest(arguments[0]), sys.stdout)
    except Problem as e:
        print(e, file=sys.stderr)
        return 1
    except OSError as e:
        print(f"{arguments[0]}: {e.strerror}", file=sys.stderr)
        return 1
    return 0
