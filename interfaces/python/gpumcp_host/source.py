"""Source files as syntax trees: what a name means, without running anything.

A Source is one file; resolve() follows a dotted name through its imports, classes and assignments, into files that lie
beside the interface as well. Those files are noted in the Tree, since a manifest depends on them too. Not thread-safe;
lives as long as one manifest is being made.
"""

import ast
import os

from gpumcp_host.problem import Problem

BUILTIN_TYPES = {
    "int", "float", "str", "bool", "bytes", "bytearray", "complex", "dict", "list", "tuple", "set", "frozenset", "object",
    "None", "type",
}
MAX_SOURCE_BYTES = 4 << 20


class Tree:
    """The interface's folder, and every file of it that was read."""

    def __init__(self, folder):
        self.folder = folder
        self.sources = {}

    def open(self, path):
        path = os.path.realpath(path)
        if path not in self.sources:
            self.sources[path] = Source(self, path)
        return self.sources[path]

    def find_module(self, name, level=0):
        """A module beside the interface, or None: it is installed, or missing, and nothing is known of it."""
        parts = [part for part in name.split(".") if part]
        base = os.path.join(self.folder, *parts) if parts else self.folder
        for path in (base + ".py", os.path.join(base, "__init__.py")):
            if os.path.isfile(path):
                return self.open(path)
        return None


class Found:
    """What a name stands for: a definition in a source (`node`), or a dotted name of something outside (`dotted`)."""

    def __init__(self, dotted=None, source=None, node=None):
        self.dotted, self.source, self.node = dotted, source, node


class Source:
    def __init__(self, tree, path):
        self.tree, self.path = tree, path
        self.shown = os.path.relpath(path, tree.folder)
        with open(path, "rb") as file:
            text = file.read(MAX_SOURCE_BYTES + 1)
        if len(text) > MAX_SOURCE_BYTES:
            raise Problem(self.shown, 1, "is larger than 4 MB: keep data in files of their own")
        try:
            self.module = ast.parse(text, path)
        except SyntaxError as e:
            raise Problem(self.shown, e.lineno or 1, f"is no Python: {e.msg}") from None
        except ValueError as e:
            raise Problem(self.shown, 1, f"is no Python: {e}") from None
        self.text = text
        self.imports = {}  # name here -> (module, name there or None)
        self.definitions = {}  # name -> class or function definition, or the value of an assignment
        self._collect(self.module.body)

    def problem(self, node, message):
        return Problem(self.shown, getattr(node, "lineno", 1), message)

    def _collect(self, body):
        for node in body:
            if isinstance(node, ast.Import):
                for one in node.names:
                    if one.asname:
                        self.imports[one.asname] = (one.name, None)
                    else:
                        self.imports[one.name.split(".")[0]] = (one.name.split(".")[0], None)
            elif isinstance(node, ast.ImportFrom):
                for one in node.names:
                    self.imports[one.asname or one.name] = (node.module or "", one.name)
            elif isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                self.definitions[node.name] = node
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        self.definitions[target.id] = node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                self.definitions[node.target.id] = node.value
            elif type(node).__name__ == "TypeAlias":  # type X = …, from 3.12 on
                self.definitions[node.name.id] = node.value
            else:
                for field in ("body", "orelse", "finalbody"):  # if TYPE_CHECKING:, try: import …
                    self._collect(getattr(node, field, None) or [])
                for handler in getattr(node, "handlers", None) or []:
                    self._collect(handler.body)

    def statements(self):
        """All statements that run when the module loads, those inside if, try and with too."""

        def walk(body):
            for node in body:
                yield node
                if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                    for field in ("body", "orelse", "finalbody"):
                        inner = getattr(node, field, None)
                        if isinstance(inner, list):
                            yield from walk(inner)
                    for handler in getattr(node, "handlers", None) or []:
                        yield from walk(handler.body)

        return walk(self.module.body)

    def resolve(self, node, depth=0):
        """What a Name or an Attribute chain stands for; None for any other expression."""
        if depth > 32:
            return None
        if isinstance(node, ast.Name):
            return self.resolve_name(node.id, depth)
        if isinstance(node, ast.Attribute):
            base = self.resolve(node.value, depth + 1)
            if base is None:
                return None
            if base.dotted is not None:
                module = self.tree.find_module(base.dotted)
                if module:
                    return module.resolve_name(node.attr, depth + 1)
                return Found(dotted=f"{base.dotted}.{node.attr}")
            if isinstance(base.node, ast.ClassDef):  # Outer.Inner
                for inner in base.node.body:
                    if isinstance(inner, ast.ClassDef) and inner.name == node.attr:
                        return Found(source=base.source, node=inner)
        return None

    def resolve_name(self, name, depth=0):
        if depth > 32:
            return None
        if name in self.definitions:
            return Found(source=self, node=self.definitions[name])
        if name in self.imports:
            module_name, inner = self.imports[name]
            module = self.tree.find_module(module_name) if module_name or inner is None else None
            if inner is None:
                return Found(dotted=module_name)
            if module is None and not module_name:  # from . import x
                module = self.tree.find_module(inner)
                return Found(dotted=inner) if module else None
            if module:
                found = module.resolve_name(inner, depth + 1)
                return found or Found(dotted=f"{module_name}.{inner}")
            return Found(dotted=f"{module_name}.{inner}")
        if name in BUILTIN_TYPES:
            return Found(dotted=name)
        return None

    def literal(self, node, depth=0):
        """The value of a constant expression, names of constants and enum members included. ValueError: it is none."""
        if depth > 16:
            raise ValueError
        if isinstance(node, ast.Name):
            found = self.resolve_name(node.id)
            if found and found.node is not None and isinstance(found.node, ast.expr):
                return found.source.literal(found.node, depth + 1)
            raise ValueError
        if isinstance(node, ast.Attribute):  # Color.RED
            found = self.resolve(node.value)
            if found and isinstance(found.node, ast.ClassDef):
                members = enum_members(found.source, found.node)
                if members is not None and node.attr in members:
                    return members[node.attr]
            raise ValueError
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            return [self.literal(item, depth + 1) for item in node.elts]
        if isinstance(node, ast.Dict):
            if any(key is None for key in node.keys):
                raise ValueError
            return {self.literal(k, depth + 1): self.literal(v, depth + 1) for k, v in zip(node.keys, node.values)}
        if isinstance(node, ast.BinOp):  # 1 << 20, 60 * 60
            left, right = self.literal(node.left, depth + 1), self.literal(node.right, depth + 1)
            if not all(isinstance(side, (int, float)) for side in (left, right)):
                raise ValueError
            operators = {ast.Add: lambda a, b: a + b, ast.Sub: lambda a, b: a - b, ast.Mult: lambda a, b: a * b,
                         ast.Div: lambda a, b: a / b if b else None,
                         ast.LShift: lambda a, b: a << b if isinstance(a, int) and 0 <= b <= 64 else None}
            if type(node.op) not in operators:
                raise ValueError
            value = operators[type(node.op)](left, right)
            if value is None:
                raise ValueError
            return value
        value = ast.literal_eval(node)
        if isinstance(value, (set, frozenset, tuple)):
            value = list(value)
        return value


def bases_of(source, node):
    return [found for found in (source.resolve(base) for base in node.bases) if found]


ENUMS = {"enum.Enum", "enum.IntEnum", "enum.StrEnum", "enum.Flag", "enum.IntFlag"}


def enum_kind(source, node, depth=0):
    """The enum's base in the standard library, or None."""
    if depth > 8:
        return None
    for base in bases_of(source, node):
        if base.dotted in ENUMS:
            return base.dotted
        if isinstance(base.node, ast.ClassDef):
            kind = enum_kind(base.source, base.node, depth + 1)
            if kind:
                return kind
    return None


def enum_members(source, node):
    """{NAME: value} of an enum class, or None if it is none."""
    kind = enum_kind(source, node)
    if kind is None:
        return None
    members, last = {}, 0
    for statement in node.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
            name, value = statement.targets[0].id, statement.value
            if name.startswith("_"):
                continue
            called = source.resolve(value.func) if isinstance(value, ast.Call) else None
            if called and called.dotted == "enum.auto":
                members[name] = name.lower() if kind == "enum.StrEnum" else last + 1
            else:
                try:
                    members[name] = source.literal(value)
                except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                    raise source.problem(statement, f"the value of {node.name}.{name} is no constant") from None
            last = members[name] if isinstance(members[name], int) else last
    return members
