"""What an ONNX file from a stranger contains, looked at before any runtime opens it.

A model file can do harm without a line of code in it: a tensor may say that its numbers lie in another file
("external data", any path), or a few bytes may ask for a tensor of terabytes. Both are found by walking through the
file's protocol-buffer fields, without unpacking a single tensor; the `onnx` package is not needed for that.

    check_onnx(path, "the RVC voice")     # raises ModelError, in words
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from obs_twin.zoo.catalogue import ModelError

MAX_FILE_BYTES = 2 << 30
"""One protocol-buffer message cannot be larger."""
MAX_TENSOR_ELEMENTS = 1 << 28
"""A gigabyte of float32; the largest tensor in the known voices and faces has 24 million."""
MAX_DEPTH = 16
OWN_DOMAINS = frozenset({b"", b"ai.onnx", b"ai.onnx.ml", b"com.microsoft"})
GROWING = {b"ConstantOfShape": 0, b"Expand": 1, b"Tile": 1, b"Range": 1, b"RandomNormal": None, b"RandomUniform": None}
"""Operations whose output can be larger than their inputs, and which input says how large (None: an attribute)."""

_INT64 = 7
_EXTERNAL = 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_ELEMENT_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
_Span = tuple[int, int]


@dataclass
class OnnxContents:
    """What was found: `opset` of the standard operations, and how much there is of everything."""

    opset: int = 0
    nodes: int = 0
    tensors: int = 0
    tensor_bytes: int = 0
    domains: set[bytes] = field(default_factory=set)


class _Malformed(ValueError):
    pass


def check_onnx(path: Path, what: str) -> OnnxContents:
    """Look through an ONNX file, and refuse what must not be opened.

    Args:
        path: the file.
        what: what it is to be, for the messages ("the RVC voice"); may name the file itself.

    Raises:
        ModelError: unreadable, no ONNX model, truncated; with numbers in other files, operations that need foreign
            code, or tensors of absurd size. The message says what was expected, what was found and what to do.
    """
    what = what[:1].upper() + what[1:]
    named = what if path.name in what else f"{what} {path.name}"
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise ModelError(f"{what}: {path} is not a file.")
        if size == 0:
            raise ModelError(f"{named} is empty. Get it again from where it came from.")
        if size > MAX_FILE_BYTES:
            raise ModelError(
                f"{named} has {size / 1e9:.1f} GB; an ONNX model in one file has at most 2 GB. This is some other file."
            )
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
            return _Walk(raw, named).model()
    except OSError as error:
        raise ModelError(f"{what}: {path} cannot be read: {error.strerror or error}.") from error
    except _Malformed as error:
        raise ModelError(
            f"{named} is not a whole ONNX model ({error}). The file is truncated, damaged or of another kind (a .pth "
            "checkpoint must be exported to ONNX first). Get it again, or export it again."
        ) from error


class _Walk:
    """One pass over the bytes of a ModelProto (onnx/onnx.proto); numbers in the code are its field numbers."""

    def __init__(self, raw: mmap.mmap, named: str) -> None:
        self._raw = raw
        self._named = named
        self._constants: dict[bytes, list[int]] = {}
        self.found = OnnxContents()

    def model(self) -> OnnxContents:
        graphs: list[_Span] = []
        version = 0
        for number, value in self._fields((0, len(self._raw))):
            if number == 1 and isinstance(value, int):
                version = value
            elif number == 7 and isinstance(value, tuple):
                graphs.append(value)
            elif number == 8 and isinstance(value, tuple):
                self._opset(value)
            elif number == 25 and isinstance(value, tuple):
                self._function(value)
        if not 1 <= version <= 1000 or len(graphs) != 1:
            raise _Malformed("it has no model header and one graph")
        self._graph(graphs[0], 0)
        if not self.found.nodes:
            raise _Malformed("its graph is empty")
        return self.found

    def _opset(self, span: _Span) -> None:
        domain, version = b"", 0
        for number, value in self._fields(span):
            if number == 1 and isinstance(value, tuple):
                domain = self._bytes(value)
            elif number == 2 and isinstance(value, int):
                version = value
        if domain in (b"", b"ai.onnx"):
            self.found.opset = version

    def _function(self, span: _Span) -> None:
        for number, value in self._fields(span):
            if number == 7 and isinstance(value, tuple):
                self._node(value, 1)

    def _graph(self, span: _Span, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _Malformed(f"graphs inside graphs, more than {MAX_DEPTH} deep")
        nodes: list[_Span] = []
        for number, value in self._fields(span):
            if not isinstance(value, tuple):
                continue
            if number == 1:
                nodes.append(value)
            elif number == 5:
                self._tensor(value)
            elif number == 15:
                self._sparse(value)
        for node in nodes:  # after the initializers, whose values their inputs may be
            self._node(node, depth)

    def _node(self, span: _Span, depth: int) -> None:
        inputs: list[bytes] = []
        outputs: list[bytes] = []
        operation, domain = b"", b""
        attributes: list[_Span] = []
        for number, value in self._fields(span):
            if not isinstance(value, tuple):
                continue
            if number == 1:
                inputs.append(self._bytes(value))
            elif number == 2:
                outputs.append(self._bytes(value))
            elif number == 4:
                operation = self._bytes(value)
            elif number == 5:
                attributes.append(value)
            elif number == 7:
                domain = self._bytes(value)
        self.found.nodes += 1
        self.found.domains.add(domain)
        if domain not in OWN_DOMAINS:
            self._refuse(
                f"it uses the operation {operation.decode(errors='replace')!r} of "
                f"{domain.decode(errors='replace')!r}, which needs foreign code; expected standard ONNX operations"
            )
        for attribute in attributes:
            self._attribute(attribute, depth, outputs if operation == b"Constant" else [], operation)
        which = GROWING.get(operation)
        if which is not None and which < len(inputs):
            self._size(self._constants.get(inputs[which], []), f"the operation {operation.decode()}")

    def _attribute(self, span: _Span, depth: int, constant_names: list[bytes], operation: bytes) -> None:
        integers: list[int] = []
        for number, value in self._fields(span):
            if number == 8:
                integers += self._integers(value)
            if not isinstance(value, tuple):
                continue
            if number in (5, 10):
                self._tensor(value, *constant_names)
            elif number in (6, 11):
                self._graph(value, depth + 1)
            elif number in (22, 23):
                self._sparse(value)
        if operation in GROWING:
            self._size(integers, f"the operation {operation.decode()}")
        for name in constant_names:
            self._constants.setdefault(name, integers)

    def _sparse(self, span: _Span) -> None:
        dims: list[int] = []
        for number, value in self._fields(span):
            if number in (1, 2) and isinstance(value, tuple):
                self._tensor(value)
            elif number == 3:
                dims += self._integers(value)
        self._size(dims, "a tensor")

    def _tensor(self, span: _Span, *names: bytes) -> None:
        dims: list[int] = []
        values: list[int] = []
        kind, raw = 0, None
        name = b""
        for number, value in self._fields(span):
            if number == 1:
                dims += self._integers(value)
            elif number == 2 and isinstance(value, int):
                kind = value
            elif number == 7 and prod(dims, start=1) <= 64:
                values += self._integers(value)
            elif number == 8 and isinstance(value, tuple):
                name = self._bytes(value)
            elif number == 9 and isinstance(value, tuple):
                raw = value
            elif number == 13 or (number == 14 and value == _EXTERNAL):
                self._refuse(
                    "its numbers lie in another file (ONNX external data), which could be any file of this computer; "
                    "expected a model in one file. Save it again as one file (onnx.save_model with "
                    "save_as_external_data=False)"
                )
        self._size(dims, f"the tensor {name.decode(errors='replace')!r}")
        if raw is not None and kind in _ELEMENT_BYTES:
            expected, length = prod(dims) * _ELEMENT_BYTES[kind], raw[1] - raw[0]
            if length != max(0, expected):
                raise _Malformed(f"a tensor of {expected} bytes has {length}")
            if kind == _INT64 and length <= 64 * 8:
                values = list(struct.unpack(f"<{length // 8}q", self._raw[raw[0] : raw[1]]))
        self.found.tensors += 1
        self.found.tensor_bytes += prod(dims) * _ELEMENT_BYTES.get(kind, 4)
        for each in (name, *names):
            if values:
                self._constants[each] = values

    def _size(self, dims: list[int], whose: str) -> None:
        if prod(max(1, abs(size)) for size in dims) > MAX_TENSOR_ELEMENTS:
            self._refuse(
                f"{whose} asks for {' x '.join(map(str, dims[:8]))} numbers; at most {MAX_TENSOR_ELEMENTS} are allowed"
            )

    def _refuse(self, why: str) -> None:
        raise ModelError(f"{self._named} is refused: {why}.")

    # ---- protocol buffers ---------------------------------------------------------------------------------------

    def _fields(self, span: _Span) -> Iterator[tuple[int, int | _Span]]:
        """(field number, integer or byte range) of one message."""
        at, end = span
        while at < end:
            key, at = self._varint(at, end)
            number, wire = key >> 3, key & 7
            if number == 0:
                raise _Malformed(f"byte {at} is no field")
            if wire == _VARINT:
                value, at = self._varint(at, end)
                yield number, value
                continue
            if wire == _BYTES:
                length, at = self._varint(at, end)
            elif wire in (_FIXED64, _FIXED32):
                length = 8 if wire == _FIXED64 else 4
            else:
                raise _Malformed(f"byte {at} is no field")
            if at + length > end:
                raise _Malformed(f"{at + length - end} bytes are missing at its end")
            yield number, (at, at + length)
            at += length

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            if at >= end or shift > 63:
                raise _Malformed("it ends within a number")
            byte = self._raw[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7

    def _integers(self, value: int | _Span) -> list[int]:
        """A repeated int64 field, packed or not; at most 64 of them."""
        if isinstance(value, int):
            return [_signed(value)]
        at, end = value
        found: list[int] = []
        while at < end and len(found) < 64:
            number, at = self._varint(at, end)
            found.append(_signed(number))
        return found

    def _bytes(self, span: _Span) -> bytes:
        return self._raw[span[0] : span[1]]


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
