"""Annotations as JSON Schema 2020-12, read from the syntax tree.

Schemas of one file share this object. For arguments an annotation that no agent can fill is a Problem with file and
line; for results it only means that nothing is promised. Classes are written out where they are used; those that
contain themselves go to `$defs`, which the caller puts at the schema's root.
"""

import ast
import re

from gpumcp_host import docstrings
from gpumcp_host.problem import Problem
from gpumcp_host.source import bases_of, enum_members

ANY = {}
ARTIFACT_PATTERN = "^gpumcp://artifacts/[0-9a-f]{32}$"
# What the result holds in place of an array, of bytes, of a text or an object that is too large to be carried.
REFERENCE = {
    "type": "object",
    "description": "Kept by the worker: read `uri` as a resource, or pass it on.",
    "properties": {
        "uri": {"type": "string"}, "path": {"type": "string"}, "shape": {"type": "array", "items": {"type": "integer"}},
        "dtype": {"type": "string"}, "preview": {},
    },
}

PLAIN = {
    "int": {"type": "integer"}, "float": {"type": "number"}, "str": {"type": "string"}, "bool": {"type": "boolean"},
    "object": ANY, "None": {"type": "null"}, "typing.Any": ANY, "typing.Hashable": ANY, "types.NoneType": {"type": "null"},
    "typing.Text": {"type": "string"}, "typing.LiteralString": {"type": "string"}, "typing.AnyStr": {"type": "string"},
    "bytes": {"type": "string", "contentEncoding": "base64"}, "bytearray": {"type": "string", "contentEncoding": "base64"},
    "datetime.datetime": {"type": "string", "format": "date-time"}, "datetime.date": {"type": "string", "format": "date"},
    "datetime.time": {"type": "string", "format": "time"}, "pathlib.Path": {"type": "string"},
    "pathlib.PurePath": {"type": "string"}, "pathlib.PosixPath": {"type": "string"}, "os.PathLike": {"type": "string"},
    "uuid.UUID": {"type": "string", "format": "uuid"}, "numbers.Number": {"type": "number"},
    "numbers.Integral": {"type": "integer"}, "numbers.Real": {"type": "number"},
    "decimal.Decimal": {"type": ["number", "string"]},
    "datetime.timedelta": {"type": "number", "description": "Seconds."},
}
SEQUENCES = {"list", "typing.List", "Sequence", "Iterable", "Collection", "MutableSequence", "collections.deque",
             "typing.Deque", "Iterator"}
SETS = {"set", "frozenset", "typing.Set", "typing.FrozenSet", "AbstractSet", "Set", "MutableSet"}
MAPS = {"dict", "typing.Dict", "Mapping", "MutableMapping", "collections.OrderedDict", "typing.OrderedDict",
        "collections.defaultdict", "typing.DefaultDict", "typing.Counter", "collections.Counter"}
ARRAYS = {"numpy.ndarray", "numpy.typing.NDArray", "numpy.typing.ArrayLike", "torch.Tensor", "torch.FloatTensor",
          "torch.LongTensor", "torch.HalfTensor", "jax.Array", "jaxtyping.Float", "jaxtyping.Int"}
CONTEXTS = {"gpumcp.Context"}
TYPED_DICTS = {"typing.TypedDict", "typing_extensions.TypedDict", "mypy_extensions.TypedDict"}
MODELS = {"pydantic.BaseModel"}
# Keywords of pydantic.Field and what they are in JSON Schema.
FIELD_KEYWORDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum",
                  "multiple_of": "multipleOf", "min_length": "minLength", "max_length": "maxLength", "pattern": "pattern",
                  "regex": "pattern", "description": "description", "title": "title", "examples": "examples",
                  "min_items": "minItems", "max_items": "maxItems"}
BAD_CONSTANT = (ValueError, TypeError, SyntaxError, MemoryError, RecursionError)


def union(schemas):
    """anyOf without repetitions; one that allows everything makes all of it so."""
    flat = []
    for schema in schemas:
        for one in schema["anyOf"] if set(schema) == {"anyOf"} else [schema]:
            if not one:
                return {}
            if one not in flat:
                flat.append(one)
    if len(flat) == 1:
        return flat[0]
    if all(set(one) == {"enum"} for one in flat):
        return {"enum": [value for one in flat for value in one["enum"]]}
    return {"anyOf": flat}


def typed_enum(values):
    """{"enum": […]}, with the type that all its values share."""
    names = {bool: "boolean", int: "integer", float: "number", str: "string"}
    types = {names.get(type(value)) for value in values}
    out = {"enum": values}
    if len(types) == 1 and None not in types:
        out = {"type": types.pop(), "enum": values}
    return out


def _short(dotted):
    """typing.X and collections.abc.X are one."""
    for prefix in ("typing_extensions.", "typing.", "collections.abc."):
        if dotted.startswith(prefix):
            return dotted[len(prefix):]
    return dotted


class Schemas:
    def __init__(self, output=False):
        self.output = output  # results: an array may come as a reference, and what is unknown is anything
        self.defs = {}
        self._open = []  # classes that are being written
        self._recursive = set()

    def of(self, node, source):
        """The schema of an annotation."""
        try:
            return self._of(node, source)
        except Problem:
            if self.output:
                return ANY
            raise
        except RecursionError:
            raise source.problem(node, "this annotation is nested too deeply") from None

    def _of(self, node, source):
        if isinstance(node, ast.Constant):
            if node.value is None:
                return PLAIN["None"]
            if isinstance(node.value, str):
                try:
                    inner = ast.parse(node.value, mode="eval").body
                except SyntaxError:
                    raise source.problem(node, f"the annotation {node.value!r} is no type") from None
                return self._of(ast.copy_location(inner, node), source)
            raise source.problem(node, f"the annotation {node.value!r} is no type")
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return union([self._of(node.left, source), self._of(node.right, source)])
        if isinstance(node, ast.Subscript):
            return self._subscript(node, source)
        if isinstance(node, (ast.Name, ast.Attribute)):
            found = source.resolve(node)
            if found is None:
                raise source.problem(node, f"{ast.unparse(node)} is no type that is known here")
            if found.node is not None:
                return self._defined(found, node, source)
            return self._dotted(found.dotted, node, source)
        if isinstance(node, ast.Call):
            return self._made(node, source)
        raise source.problem(node, f"the annotation {ast.unparse(node)} is no type")

    def _dotted(self, dotted, node, source):
        short = _short(dotted)
        if dotted in PLAIN:
            return dict(PLAIN[dotted])
        if "typing." + short in PLAIN:
            return dict(PLAIN["typing." + short])
        if dotted in SEQUENCES or short in SEQUENCES or dotted == "tuple" or short == "Tuple":
            return self._array(ANY)
        if dotted in SETS or short in SETS:
            return {"type": "array", "uniqueItems": True}
        if dotted in MAPS or short in MAPS:
            return {"type": "object"}
        if dotted in ARRAYS or dotted.startswith("jaxtyping."):
            return self._tensor()
        base = dotted.split(".")[0]
        if self.output:
            return ANY
        if dotted in ("complex", "type") or short in ("Callable", "Generator", "AsyncGenerator", "Coroutine", "Awaitable"):
            raise source.problem(node, f"an agent cannot send a {short}: use numbers, texts, lists or dicts")
        raise source.problem(
            node, f"{ast.unparse(node)} comes from the module {base}, which is no file beside this one, so its shape is not "
                  "known: use int, float, str, bool, list, dict, a TypedDict, a dataclass or a pydantic model defined here")

    def _array(self, items):
        schema = {"type": "array"}
        if items:
            schema["items"] = items
        # Numbers, however nested, may come as a reference.
        inner = items
        while inner.get("type") == "array":
            inner = inner.get("items", {})
        if self.output and (not inner or inner.get("type") in ("number", "integer", "boolean")):
            return {"anyOf": [schema, REFERENCE]}
        return schema

    def _tensor(self):
        if self.output:
            return {"anyOf": [{"type": "array"}, {"type": "number"}, REFERENCE]}
        return {"anyOf": [{"type": "array", "description": "Numbers, nested as the array is."},
                          {"type": "string", "pattern": ARTIFACT_PATTERN, "description": "The URI of an array."}]}

    def _items(self, node):
        inner = node.slice
        return list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]

    def _subscript(self, node, source):
        found = source.resolve(node.value)
        if found is None or (found.node is not None and not isinstance(found.node, ast.ClassDef)):
            raise source.problem(node, f"{ast.unparse(node.value)} is no type that is known here")
        items = self._items(node)
        if found.node is not None:
            return self._defined(found, node, source)  # a generic class of the author's: its parameters are any
        short = _short(found.dotted)
        if short == "Optional":
            return union([self._of(items[0], source), PLAIN["None"]])
        if short == "Union":
            return union([self._of(item, source) for item in items])
        if short == "Literal":
            return self._literal(items, source)
        if short == "Annotated":
            schema = dict(self._of(items[0], source))
            for extra in items[1:]:
                self.decorate(schema, extra, source)
            return schema
        if short in ("Required", "NotRequired", "ReadOnly", "Final", "ClassVar", "InitVar") or found.dotted in (
                "dataclasses.InitVar",):
            return self._of(items[0], source)
        if found.dotted == "tuple" or short == "Tuple":
            if len(items) == 2 and isinstance(items[1], ast.Constant) and items[1].value is Ellipsis:
                return self._array(self._of(items[0], source))
            parts = [self._of(item, source) for item in items if not (isinstance(item, ast.Tuple) and not item.elts)]
            schema = {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}
            return {"anyOf": [schema, REFERENCE]} if self.output else schema
        if found.dotted in SEQUENCES or short in SEQUENCES:
            return self._array(self._of(items[0], source))
        if found.dotted in SETS or short in SETS:
            return {"type": "array", "items": self._of(items[0], source), "uniqueItems": True}
        if found.dotted in MAPS or short in MAPS:
            if short.endswith("Counter"):
                return {"type": "object", "additionalProperties": {"type": "integer"}}
            if len(items) != 2:
                raise source.problem(node, f"{ast.unparse(node)}: expected a type for keys and one for values")
            return self._map(items, source)
        if found.dotted in ARRAYS or found.dotted.startswith("jaxtyping."):
            return self._tensor()
        if short in ("Callable", "Type", "Generator"):
            raise source.problem(node, f"an agent cannot send a {short}: use numbers, texts, lists or dicts")
        return self._dotted(found.dotted, node, source)

    def _map(self, items, source):
        keys = self._of(items[0], source)
        schema = {"type": "object"}
        if "enum" in keys:
            schema["propertyNames"] = {"enum": [str(key) for key in keys["enum"]]}
        elif keys and keys.get("type") not in ("string", "integer"):
            raise source.problem(items[0], f"keys of type {ast.unparse(items[0])}: JSON's keys are texts; use str")
        elif keys.get("type") == "integer":
            schema["propertyNames"] = {"pattern": "^-?[0-9]+$"}
        values = self._of(items[1], source)
        if values:
            schema["additionalProperties"] = values
        return schema

    def _literal(self, items, source):
        values = []
        for item in items:
            try:
                values.append(source.literal(item))
            except BAD_CONSTANT:
                if isinstance(item, ast.Subscript):  # Literal[Literal["a"], "b"]
                    values += self._of(item, source).get("enum", [])
                    continue
                raise source.problem(item, f"{ast.unparse(item)} in Literal is no constant") from None
            if isinstance(values[-1], bytes):
                raise source.problem(item, "JSON has no bytes: use texts in Literal")
        return typed_enum(values)

    def _made(self, node, source):
        """X = NewType("X", int), TypedDict("X", {…}), TypeVar("T"): types that calls make."""
        found = source.resolve(node.func)
        short = _short(found.dotted) if found and found.dotted else ""
        if short == "NewType" and len(node.args) == 2:
            return self._of(node.args[1], source)
        if short in ("TypeVar", "ParamSpec"):
            for keyword in node.keywords:
                if keyword.arg == "bound":
                    return self._of(keyword.value, source)
            return union([self._of(one, source) for one in node.args[1:]]) if len(node.args) > 1 else ANY
        if short == "TypedDict" and len(node.args) == 2 and isinstance(node.args[1], ast.Dict):
            total = not any(k.arg == "total" and getattr(k.value, "value", True) is False for k in node.keywords)
            properties, required = {}, []
            for key, value in zip(node.args[1].keys, node.args[1].values):
                properties[key.value] = self._of(value, source)
                if self._is_required(value, source, total):
                    required.append(key.value)
            return self._object(properties, required, "")
        if short == "namedtuple" or short == "NamedTuple":
            raise source.problem(node, "write this as a class of NamedTuple, or as a dataclass")
        raise source.problem(node, f"the annotation {ast.unparse(node)} is no type")

    def _defined(self, found, node, source):
        definition = found.node
        if not isinstance(definition, ast.ClassDef):
            if isinstance(definition, (ast.FunctionDef, ast.AsyncFunctionDef)):
                raise source.problem(node, f"{definition.name} is a function, no type")
            if len(self._open) > 30:
                raise source.problem(node, f"{ast.unparse(node)} refers to itself")
            self._open.append(None)
            try:
                return self._of(definition, found.source)  # an alias: Vector = list[float]
            finally:
                self._open.pop()
        name = definition.name
        if name in self.defs or definition in self._open:
            self._recursive.add(name)
            return {"$ref": f"#/$defs/{name}"}
        self._open.append(definition)
        try:
            schema = self._class(found.source, definition, node, source)
        finally:
            self._open.pop()
        if name in self._recursive:
            self.defs[name] = schema
            return {"$ref": f"#/$defs/{name}"}
        return schema

    def _class(self, source, definition, node, asked):
        members = enum_members(source, definition)
        if members is not None:
            if not members:
                raise source.problem(definition, f"the enum {definition.name} has no members")
            schema = typed_enum(list(members.values()))
            return self._described(schema, definition)
        kind = self._kind(source, definition)
        if kind is None:
            bases = [base.dotted for base in bases_of(source, definition) if base.dotted]
            if len(bases) == 1 and not definition.body[1:] and bases[0] in PLAIN:
                return dict(PLAIN[bases[0]])
            raise asked.problem(
                node, f"{definition.name} is a class with no fields that can be read from its source: make it a dataclass, "
                      "a TypedDict or a pydantic model")
        properties, required = {}, []
        self._fields(source, definition, kind, properties, required)
        doc = docstrings.parse(ast.get_docstring(definition))
        for name, text in doc.parameters.items():
            if name in properties and text and "description" not in properties[name]:
                properties[name] = {**properties[name], "description": text}
        return self._object(properties, required, doc.description)

    def _described(self, schema, definition):
        text = docstrings.parse(ast.get_docstring(definition)).description
        return {**schema, "description": text} if text else schema

    def _object(self, properties, required, description):
        schema = {"type": "object", "properties": properties}
        if required and not self.output:
            schema["required"] = required
        if description:
            schema["description"] = description
        if not self.output:
            schema["additionalProperties"] = False
        return schema

    def _kind(self, source, definition, depth=0):
        """"dataclass", "typed_dict", "named_tuple" or "model"; None: an ordinary class."""
        if depth > 8:
            return None
        for decorator in definition.decorator_list:
            target = decorator.func if isinstance(decorator, ast.Call) else decorator
            found = source.resolve(target)
            if found and found.dotted in ("dataclasses.dataclass", "pydantic.dataclasses.dataclass", "attr.s", "attrs.define",
                                          "attr.define", "attrs.frozen"):
                return "dataclass"
        for base in bases_of(source, definition):
            if base.dotted in TYPED_DICTS:
                return "typed_dict"
            if base.dotted in MODELS:
                return "model"
            if base.dotted == "typing.NamedTuple":
                return "named_tuple"
            if isinstance(base.node, ast.ClassDef):
                kind = self._kind(base.source, base.node, depth + 1)
                if kind:
                    return kind
        return None

    def _is_required(self, annotation, source, total):
        if isinstance(annotation, ast.Subscript):
            found = source.resolve(annotation.value)
            short = _short(found.dotted) if found and found.dotted else ""
            if short in ("Required", "NotRequired"):
                return short == "Required"
            if short in ("ReadOnly", "Annotated"):
                return self._is_required(self._items(annotation)[0], source, total)
        return total

    def _fields(self, source, definition, kind, properties, required):
        for base in bases_of(source, definition):
            if isinstance(base.node, ast.ClassDef):
                self._fields(base.source, base.node, kind, properties, required)
        total = not any(k.arg == "total" and getattr(k.value, "value", True) is False for k in definition.keywords)
        previous = None
        for statement in definition.body:
            if (isinstance(statement, ast.Expr) and isinstance(getattr(statement.value, "value", None), str) and previous
                    and "description" not in properties[previous]):
                properties[previous] = {**properties[previous], "description": statement.value.value.strip()}
            previous = None
            if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                continue
            name = statement.target.id
            found = source.resolve(statement.annotation.value) if isinstance(statement.annotation, ast.Subscript) else None
            if (found and found.dotted and _short(found.dotted) == "ClassVar") or (name.startswith("_") and kind == "model"):
                continue
            schema = self.of(statement.annotation, source)
            needed = self._is_required(statement.annotation, source, total) if kind == "typed_dict" else True
            if statement.value is not None and kind != "typed_dict":
                needed, schema = self._default(schema, statement.value, source)
                if schema is None:
                    continue
            properties[name] = dict(schema)
            if needed and name not in required:
                required.append(name)
            if not needed and name in required:
                required.remove(name)
            previous = name

    def _default(self, schema, value, source):
        """(needed, schema) of a field with a default, which may be field(default=…) or Field(…); None: no field of init."""
        if isinstance(value, ast.Call):
            found = source.resolve(value.func)
            if found and found.dotted in ("dataclasses.field", "pydantic.Field", "attr.ib", "attrs.field", "attr.field"):
                schema, needed = dict(schema), True
                if value.args and not (isinstance(value.args[0], ast.Constant) and value.args[0].value is Ellipsis):
                    needed = False
                    self.put_default(schema, value.args[0], source)
                for keyword in value.keywords:
                    if keyword.arg in ("default", "default_factory", "factory"):
                        needed = False
                        if keyword.arg == "default":
                            self.put_default(schema, keyword.value, source)
                    elif keyword.arg == "init" and getattr(keyword.value, "value", True) is False:
                        return False, None
                self.decorate(schema, value, source)
                return needed, schema
        schema = dict(schema)
        self.put_default(schema, value, source)
        return False, schema

    def put_default(self, schema, node, source):
        """Shows a default that is a constant; others stay the author's own business."""
        try:
            value = source.literal(node)
        except BAD_CONSTANT:
            return
        if _is_json(value):
            schema["default"] = value

    def decorate(self, schema, node, source):
        """What Annotated's further arguments say: a text, or Field(…)."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            schema["description"] = node.value
            return
        if not isinstance(node, ast.Call):
            return
        found = source.resolve(node.func)
        name = found.dotted.split(".")[-1] if found and found.dotted else ""
        if name in ("Doc", "doc") and node.args:
            self.decorate(schema, node.args[0], source)
            return
        bounds = {"Ge": "minimum", "Gt": "exclusiveMinimum", "Le": "maximum", "Lt": "exclusiveMaximum",
                  "MinLen": "minLength", "MaxLen": "maxLength"}  # annotated_types
        pairs = [(keyword.arg, keyword.value) for keyword in node.keywords]
        if name in bounds and node.args:
            pairs = [(None, node.args[0])]
        elif name not in ("Field", "field", "ib", "StringConstraints", "Query", "Interval", "Len"):
            return
        for key, value in pairs:
            keyword = bounds.get(name) if key is None else FIELD_KEYWORDS.get(key)
            if keyword is None:
                continue
            if schema.get("type") == "array" and keyword in ("minLength", "maxLength"):
                keyword = keyword.replace("Length", "Items")
            try:
                schema[keyword] = source.literal(value)
            except BAD_CONSTANT:
                pass
            if keyword == "pattern" and isinstance(schema.get("pattern"), str):
                try:
                    re.compile(schema["pattern"])
                except re.error as e:
                    raise source.problem(value, f"the pattern {schema['pattern']!r} is no regular expression: {e}") from None


def _is_json(value):
    if isinstance(value, float):
        return value == value and abs(value) != float("inf")
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(one) for key, one in value.items())
    if isinstance(value, list):
        return all(_is_json(one) for one in value)
    return value is None or isinstance(value, (bool, int, str))
