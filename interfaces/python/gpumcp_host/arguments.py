"""JSON arguments as the types that a function's annotations ask for. The worker has checked them by the schema already.

bind() gives what to call the function with; an ArgumentError names the argument's path.
"""

import base64
import binascii
import dataclasses
import datetime
import decimal
import enum
import inspect
import pathlib
import sys
import typing
import uuid

try:
    from types import UnionType
except ImportError:  # before 3.10
    UnionType = None


class ArgumentError(Exception):
    pass


class Converter:
    """`read_artifact(uri)` gives the bytes behind a URI."""

    def __init__(self, read_artifact):
        self.read_artifact = read_artifact

    def convert(self, value, hint, path):
        if hint is inspect.Parameter.empty or hint is typing.Any or hint is object or isinstance(hint, (str, typing.TypeVar)):
            return value
        origin = typing.get_origin(hint)
        if hasattr(hint, "__metadata__"):  # Annotated
            return self.convert(value, hint.__origin__, path)
        if hasattr(hint, "__supertype__"):  # NewType
            return self.convert(value, hint.__supertype__, path)
        if hasattr(hint, "__value__") and type(hint).__name__ == "TypeAliasType":
            return self.convert(value, hint.__value__, path)
        if origin is typing.Union or (UnionType and isinstance(hint, UnionType)):
            return self._union(value, typing.get_args(hint), path)
        if origin is not None:
            return self._generic(value, hint, origin, typing.get_args(hint), path)
        if not isinstance(hint, type):
            return value
        return self._plain(value, hint, path)

    def _union(self, value, members, path):
        if value is None and type(None) in members:
            return None
        failure = None
        # The member that takes the value as it is comes first: 1 stays an int for float | int.
        for member in sorted(members, key=lambda one: not _fits(value, one)):
            if member is type(None):
                continue
            try:
                return self.convert(value, member, path)
            except Exception as e:  # noqa: BLE001 - the next member may take it
                failure = e
        raise ArgumentError(f"{path}: fits none of the types that it may have ({failure})")

    def _generic(self, value, hint, origin, args, path):
        name = getattr(origin, "__name__", str(origin))
        if name in ("Required", "NotRequired", "ReadOnly", "Final", "ClassVar"):
            return self.convert(value, args[0], path)
        if origin is typing.Literal:
            return value
        if isinstance(value, dict) and isinstance(origin, type) and issubclass(origin, _maps()):
            key_type, value_type = (args + (typing.Any, typing.Any))[:2] if len(args) != 1 else (args[0], int)
            out = {self._key(key, key_type): self.convert(one, value_type, f"{path}.{key}") for key, one in value.items()}
            return out if origin in (dict,) or getattr(origin, "__abstractmethods__", None) else self._make(origin, out)
        if isinstance(value, list) and origin is tuple:
            if len(args) == 2 and args[1] is Ellipsis:
                return tuple(self.convert(one, args[0], f"{path}[{i}]") for i, one in enumerate(value))
            return tuple(self.convert(one, args[i] if i < len(args) else typing.Any, f"{path}[{i}]")
                         for i, one in enumerate(value))
        if _is_array(origin):
            return self._array(value, origin, path)
        if isinstance(value, list):
            items = [self.convert(one, args[0] if args else typing.Any, f"{path}[{i}]") for i, one in enumerate(value)]
            if isinstance(origin, type) and issubclass(origin, (set, frozenset)):
                return origin(items)
            if name in ("Set", "MutableSet"):
                return set(items)
            return items if origin is list or getattr(origin, "__abstractmethods__", None) else origin(items)
        return value

    def _make(self, origin, out):
        import collections
        if origin is collections.defaultdict:
            return collections.defaultdict(lambda: None, out)
        return origin(out)

    def _key(self, key, hint):
        if hint is int:
            return int(key)
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            for member in hint:
                if str(member.value) == key:
                    return member
        return key

    def _plain(self, value, hint, path):
        try:
            if issubclass(hint, enum.Enum):
                return hint(value)
            if hint is float and isinstance(value, int) and not isinstance(value, bool):
                return float(value)
            if hint is int and isinstance(value, float):
                return int(value)
            if hint in (bytes, bytearray) and isinstance(value, str):
                return hint(base64.b64decode(value, validate=True))
            if hint in (set, frozenset, tuple) and isinstance(value, list):
                return hint(value)
            if hint is datetime.datetime and isinstance(value, str):
                return datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
            if hint in (datetime.date, datetime.time) and isinstance(value, str):
                return hint.fromisoformat(value)
            if hint is datetime.timedelta:
                return datetime.timedelta(seconds=value)
            if hint is uuid.UUID or hint is decimal.Decimal:
                return hint(str(value))
            if issubclass(hint, pathlib.PurePath) and isinstance(value, str):
                return hint(value)
            if hasattr(hint, "model_validate"):  # pydantic 2
                return hint.model_validate(value)
            if hasattr(hint, "parse_obj") and isinstance(value, dict):
                return hint.parse_obj(value)
        except (ValueError, TypeError, binascii.Error, OverflowError, decimal.InvalidOperation) as e:
            raise ArgumentError(f"{path}: {e}") from None
        if _is_array(hint):
            return self._array(value, hint, path)
        if isinstance(value, dict):
            if dataclasses.is_dataclass(hint) or (issubclass(hint, tuple) and hasattr(hint, "_fields")):
                hints = _hints(hint)
                return hint(**{key: self.convert(one, hints.get(key, typing.Any), f"{path}.{key}") for key, one in value.items()})
            if hasattr(hint, "__total__"):  # a TypedDict
                hints = _hints(hint)
                return {key: self.convert(one, hints.get(key, typing.Any), f"{path}.{key}") for key, one in value.items()}
        return value

    def _array(self, value, hint, path):
        module = hint.__module__.split(".")[0]
        if isinstance(value, str):
            import io

            import numpy
            out = numpy.load(io.BytesIO(self.read_artifact(value)), allow_pickle=False)
        elif module == "torch":
            try:
                return sys.modules["torch"].tensor(value)
            except (ValueError, TypeError) as e:
                raise ArgumentError(f"{path}: {e}") from None
        else:
            import numpy
            try:
                out = numpy.asarray(value)
            except ValueError as e:
                raise ArgumentError(f"{path}: {e}") from None
        return sys.modules["torch"].from_numpy(out) if module == "torch" else out


def _maps():
    import collections.abc
    return (dict, collections.abc.Mapping)


def _is_array(hint):
    return getattr(hint, "__name__", "") in ("ndarray", "Tensor", "FloatTensor", "LongTensor") and \
        getattr(hint, "__module__", "").split(".")[0] in ("numpy", "torch")


def _fits(value, hint):
    origin = typing.get_origin(hint) or hint
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if hasattr(hint, "__total__") or dataclasses.is_dataclass(hint):
        return isinstance(value, dict) and set(value) <= set(_hints(hint))
    return isinstance(origin, type) and isinstance(value, origin) and (origin is bool) == isinstance(value, bool)


def _hints(thing):
    try:
        return typing.get_type_hints(thing, include_extras=True)
    except Exception:  # noqa: BLE001 - names that only exist for type checkers
        return dict(getattr(thing, "__annotations__", {}))


class Signature:
    """What a function takes; made once."""

    def __init__(self, function, context_type):
        self.parameters = inspect.signature(function).parameters
        self.hints = _hints(inspect.unwrap(function))
        self.context_type = context_type

    def bind(self, arguments, converter, context):
        """(args, kwargs) for the function."""
        args, kwargs, left = [], {}, dict(arguments)
        for name, parameter in self.parameters.items():
            hint = self.hints.get(name, parameter.annotation)
            path = f"arguments.{name}"
            if hint is self.context_type:
                kwargs[name] = context
            elif parameter.kind is parameter.VAR_POSITIONAL:
                args += [converter.convert(one, hint, f"{path}[{i}]") for i, one in enumerate(left.pop(name, []))]
            elif parameter.kind is parameter.VAR_KEYWORD:
                kwargs.update({key: converter.convert(one, hint, f"arguments.{key}") for key, one in left.items()})
                left = {}
            elif name in left:
                value = converter.convert(left.pop(name), hint, path)
                if parameter.kind is parameter.KEYWORD_ONLY:
                    kwargs[name] = value
                else:
                    args.append(value)
            elif parameter.kind is parameter.KEYWORD_ONLY:
                pass
            elif parameter.default is not parameter.empty:
                args.append(parameter.default)
            else:
                raise ArgumentError(f"{path}: is missing")
        if left:
            raise ArgumentError(f"arguments.{next(iter(left))}: is unknown")
        return args, kwargs
