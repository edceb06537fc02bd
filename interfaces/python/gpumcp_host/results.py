"""What a function returned, as JSON and the blobs that JSON cannot carry.

`output` says what becomes of arrays and of what is large: "ref" and "file" put it into a Blob, which the worker keeps
or writes and whose place in the JSON it fills with a URI or a path; "inline" writes all of it out. A value that JSON
has no form for is a ResultError that names its path and the remedy; nothing is guessed and nothing is broken.
"""

import array
import base64
import dataclasses
import datetime
import decimal
import enum
import json
import math
import pathlib
import struct
import sys
import uuid

INLINE_NUMBERS = 32  # a list of up to so many numbers stays in a result as it is
PREVIEW = 10
CARRIED_BYTES = 16 << 10  # of JSON in a result by default: what hosts show to a model whole
INLINE_BYTES = 6 << 20  # a message's limit is 8 MB
SHOWN_TEXT = 400
MAX_DEPTH = 48  # the protocol allows 64


class ResultError(Exception):
    pass


class Blob:
    def __init__(self, pointer, data, mime_type, name, dtype="", shape=()):
        self.pointer, self.data, self.mime_type, self.name = pointer, data, mime_type, name
        self.dtype, self.shape = dtype, list(shape)

    def header(self):
        return {"pointer": self.pointer, "nbytes": len(self.data), "mime_type": self.mime_type, "name": self.name,
                "dtype": self.dtype, "shape": self.shape}


def _loaded(module, name):
    """A class of a module, if anybody has imported that module; nothing is imported for the question."""
    return getattr(sys.modules.get(module), name, ())


def npy(descr, shape, data):
    """A .npy file of version 1.0, little-endian, C order."""
    text = "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }" % (
        descr, "".join(f"{n}, " for n in shape) if len(shape) != 1 else f"{shape[0]},")
    header = text.encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def _short_number(value):
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value


class Writer:
    """Turns one result into JSON. `hide` takes secrets out of texts."""

    def __init__(self, output, hide=lambda text: text):
        self.output, self.hide, self.blobs = output, hide, []
        self.wrapped = False  # the value is no object, and stands under "result"
        self._inside = set()  # containers that are being written, against cycles

    def write(self, value):
        """(JSON text of an object, blobs)."""
        if isinstance(value, str) and self.output != "inline" and len(value.encode("utf-8", "replace")) > CARRIED_BYTES:
            return self._large(self.hide(value).encode("utf-8", "replace"), "text/plain; charset=utf-8", "result.txt")
        out = self.value(value, "", "result", 0)
        if not isinstance(out, dict):
            for blob in self.blobs:
                blob.pointer = "/result" + blob.pointer
            out, self.wrapped = {"result": out}, True
        text = self._dump(out)
        limit = INLINE_BYTES if self.output == "inline" else CARRIED_BYTES
        if len(text) <= limit:
            return text, self.blobs
        if self.output == "inline":
            raise ResultError(f"it is {len(text) / 1e6:.1f} MB of JSON, and a result carries up to {INLINE_BYTES >> 20} MB: "
                              'return less, or ask for output "ref" or "file"')
        if self.blobs:  # a blob can only be named from the result itself
            inline = Writer("inline", self.hide)
            text = inline._dump(inline.value(value, "", "result", 0))
            self.blobs = []
        return self._large(text, "application/json", "result.json")

    def _large(self, data, mime_type, name):
        preview = data[:SHOWN_TEXT].decode("utf-8", "ignore")
        self.blobs = [Blob("", data, mime_type, name)]
        self.wrapped = False
        return self._dump({"uri": None, "mime_type": mime_type, "bytes": len(data), "preview": preview}), self.blobs

    @staticmethod
    def _dump(value):
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except ValueError as e:  # an integer of more than 4300 digits
            raise ResultError(str(e)) from None
        return text.encode("utf-8", "replace")

    def value(self, value, pointer, path, depth):
        if depth > MAX_DEPTH:
            raise ResultError(f"{path[:200]} is nested more than {MAX_DEPTH} deep")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, enum.Enum):
            return self.value(value.value, pointer, path, depth + 1)
        if isinstance(value, str):
            return self.hide(str(value)).encode("utf-8", "replace").decode()  # no lone surrogates
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return self._float(float(value), path)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self._bytes(bytes(value), pointer, path)
        if isinstance(value, (list, tuple, set, frozenset, dict)) or dataclasses.is_dataclass(value):
            return self._container(value, pointer, path, depth)
        return self._other(value, pointer, path, depth)

    def _float(self, value, path):
        if math.isfinite(value):
            return value
        name = "NaN" if value != value else "an infinity"
        raise ResultError(f"{path} is {name}, which JSON cannot carry: return None or a text for it; in lists and "
                          "arrays of numbers it can stay, with output \"ref\"")

    def _bytes(self, data, pointer, path):
        if self.output == "inline":
            return {"base64": base64.b64encode(data).decode(), "bytes": len(data)}
        kind, suffix = "application/octet-stream", "bin"
        for magic, mime, end in ((b"\x89PNG", "image/png", "png"), (b"\xff\xd8\xff", "image/jpeg", "jpg"),
                                 (b"%PDF", "application/pdf", "pdf"), (b"PK\x03\x04", "application/zip", "zip"),
                                 (b"\x93NUMPY", "application/x-npy", "npy")):
            if data.startswith(magic):
                kind, suffix = mime, end
        self.blobs.append(Blob(pointer, data, kind, f"{self._stem(pointer)}.{suffix}"))
        return {"uri": None, "mime_type": kind, "bytes": len(data)}

    @staticmethod
    def _stem(pointer):
        name = "".join(c if c.isalnum() or c in "-_" else "-" for c in pointer.strip("/").replace("/", "-"))[:40]
        return name or "result"

    def _container(self, value, pointer, path, depth):
        if id(value) in self._inside:
            raise ResultError(f"{path} contains itself")
        self._inside.add(id(value))
        try:
            if dataclasses.is_dataclass(value) and not isinstance(value, type):
                fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
                return self._object(fields.items(), pointer, path, depth)
            if isinstance(value, dict):
                return self._object(value.items(), pointer, path, depth)
            if isinstance(value, tuple) and hasattr(value, "_asdict"):
                return self._object(value._asdict().items(), pointer, path, depth)
            if isinstance(value, (set, frozenset)):
                try:
                    value = sorted(value)
                except TypeError:
                    value = sorted(value, key=repr)
            found = _numbers(value) if len(value) else None
            if found:
                return self._number_list(value, found, pointer, path)
            return [self.value(item, f"{pointer}/{i}", f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
        finally:
            self._inside.discard(id(value))

    def _object(self, items, pointer, path, depth):
        out = {}
        for key, item in items:
            if isinstance(key, enum.Enum):
                key = key.value
            if isinstance(key, bool) or not isinstance(key, (str, int)):
                item_type = type(key).__name__
                raise ResultError(f"{path} has a key of type {item_type}, {key!r:.60}: JSON's keys are texts")
            name = self.hide(str(key)).encode("utf-8", "replace").decode()
            if name in out:
                raise ResultError(f"{path} has two keys that are {name!r} in JSON")
            out[name] = self.value(item, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}", f"{path}.{name}", depth + 1)
        return out

    def _number_list(self, value, found, pointer, path):
        """A list of numbers, maybe nested, of one shape: in place if it is short, else an array."""
        shape, kind = found
        flat = list(_flat(value, len(shape)))
        finite = kind != "f" or all(map(math.isfinite, flat))
        if self.output == "inline" or (finite and len(flat) <= INLINE_NUMBERS):
            for i, one in enumerate(flat if not finite else ()):
                if not math.isfinite(one):
                    self._float(one, f"{path}[{i}]" if len(shape) == 1 else f"{path}, value {i},")
            return value
        try:
            data = array.array({"f": "d", "i": "q", "b": "b"}[kind], flat)
        except OverflowError:
            return value  # integers beyond 64 bits
        if sys.byteorder == "big":
            data.byteswap()
        descr, name = {"f": ("<f8", "float64"), "i": ("<i8", "int64"), "b": ("|b1", "bool")}[kind]
        return self._array(npy(descr, shape, data.tobytes()), name, shape, flat[:PREVIEW], pointer)

    def _array(self, data, dtype, shape, first, pointer):
        self.blobs.append(Blob(pointer, data, "application/x-npy", f"{self._stem(pointer)}.npy", dtype, shape))
        return {"uri": None, "dtype": dtype, "shape": list(shape), "preview": [_short_number(one) for one in first]}

    def _numpy(self, value, pointer, path, depth):
        numpy = sys.modules["numpy"]
        if value.dtype.kind not in "fiub":
            if value.dtype.kind == "c" and self.output != "inline" and value.size:
                pass
            else:
                return self.value(value.tolist(), pointer, path, depth + 1)
        if value.ndim == 0:
            return self.value(value.item(), pointer, path, depth + 1)
        flat = value.reshape(-1)
        bad = numpy.flatnonzero(~numpy.isfinite(flat))
        if self.output == "inline" or (value.size <= INLINE_NUMBERS and not len(bad)):
            if len(bad):
                self._float(float(flat[bad[0]]), f"{path}[{bad[0]}]" if value.ndim == 1 else f"{path}, value {bad[0]},")
            if value.dtype.kind == "f" and value.dtype.itemsize <= 4 and value.size <= 100_000:
                digits = 9 if value.dtype.itemsize == 4 else 5
                short = [float(f"{one:.{digits}g}") for one in flat.tolist()]  # as exact as the array, half as long
                return _nested(short, value.shape)
            return value.tolist()
        little = value.astype(value.dtype.newbyteorder("<"), copy=False)
        data = npy(little.dtype.str, value.shape, numpy.ascontiguousarray(little).tobytes())
        first = [str(one) if isinstance(one, complex) else one for one in flat[:PREVIEW].tolist()]
        return self._array(data, value.dtype.name, value.shape, first, pointer)

    def _other(self, value, pointer, path, depth):
        if isinstance(value, _loaded("numpy", "ndarray")):
            return self._numpy(value, pointer, path, depth)
        if isinstance(value, _loaded("numpy", "generic")):
            return self.value(value.item(), pointer, path, depth + 1)
        if isinstance(value, _loaded("torch", "Tensor")):
            tensor = value.detach().cpu()
            if tensor.is_sparse:
                tensor = tensor.to_dense()
            if tensor.dtype is sys.modules["torch"].bfloat16:
                tensor = tensor.float()
            try:
                tensor = tensor.resolve_conj().resolve_neg().numpy()
            except Exception:  # noqa: BLE001 - a torch without numpy says so in several ways
                return self.value(tensor.tolist(), pointer, path, depth + 1)
            return self._numpy(tensor, pointer, path, depth)
        if hasattr(value, "model_dump") and not isinstance(value, type):  # pydantic 2
            return self.value(value.model_dump(), pointer, path, depth + 1)
        if isinstance(value, _loaded("pydantic", "BaseModel")):
            return self.value(value.dict(), pointer, path, depth + 1)
        if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
            return value.isoformat()
        if isinstance(value, datetime.timedelta):
            return value.total_seconds()
        if isinstance(value, (pathlib.PurePath, uuid.UUID)):
            return self.hide(str(value))
        if isinstance(value, decimal.Decimal):
            return str(value)
        if isinstance(value, range):
            return self.value(list(value), pointer, path, depth + 1)
        if hasattr(value, "keys") and hasattr(value, "__getitem__") and not hasattr(value, "dtypes"):  # mappings of all kinds
            return self._container({key: value[key] for key in value.keys()}, pointer, path, depth)
        if isinstance(value, array.array) or type(value).__name__ in ("dict_keys", "dict_values", "deque", "dict_items"):
            return self.value(list(value), pointer, path, depth + 1)
        if hasattr(value, "__array__") and not hasattr(value, "dtypes") and "numpy" in sys.modules:
            return self._numpy(sys.modules["numpy"].asarray(value), pointer, path, depth)
        kind = type(value).__module__ + "." + type(value).__qualname__
        hints = {"DataFrame": 'return frame.to_dict("records")', "Series": "return series.tolist()",
                 "coroutine": "await it", "generator": "return list(…) of it", "complex": "return [value.real, value.imag]"}
        hint = hints.get(type(value).__name__, "return numbers, texts, lists, dicts, dataclasses or arrays")
        raise ResultError(f"{path} is a {kind.replace('builtins.', '')}, which JSON has no form for: {hint}")


def _flat(value, depth):
    if depth == 1:
        yield from value
    else:
        for inner in value:
            yield from _flat(inner, depth - 1)


def _nested(flat, shape):
    if len(shape) == 1:
        return flat
    step = len(flat) // shape[0] if shape[0] else 0
    return [_nested(flat[i * step:(i + 1) * step], shape[1:]) for i in range(shape[0])]


def _numbers(value, depth=0):
    """(shape, "f", "i" or "b") of a regular nest of Python's own numbers, else None."""
    if depth > 8 or not isinstance(value, (list, tuple)) or not value or hasattr(value, "_asdict"):
        return None
    first = value[0]
    if isinstance(first, (list, tuple)):
        inner = _numbers(first, depth + 1)
        if not inner:
            return None
        kinds = {inner[1]}
        for one in value[1:]:
            other = _numbers(one, depth + 1)
            if not other or other[0] != inner[0]:
                return None
            kinds.add(other[1])
        kind = inner[1] if len(kinds) == 1 else "f" if kinds == {"f", "i"} else None
        return ((len(value),) + inner[0], kind) if kind else None
    kinds = set(map(type, value))
    if kinds == {bool}:
        return (len(value),), "b"
    if kinds == {int}:
        return (len(value),), "i"
    if kinds <= {int, float}:
        if int in kinds and any(abs(one) > 1 << 53 for one in value if type(one) is int):
            return None
        return (len(value),), "f"
    return None
