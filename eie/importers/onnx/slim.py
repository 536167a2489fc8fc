"""A large ``.onnx`` file without the bytes of its weights: each tensor then says where in the file they lie.

Comes in: a path. Goes out: a serialised model in which large initialisers are external data of the file itself, so
that each is read once, when a layer is made of it, and the parsed model never holds them all. What a node ``Constant``
holds is an initialiser then, too: some exporters write all weights so. Read by `tensors`. Only lengths are followed, as
protobuf's wire format has them; whatever does not fit them is left to protobuf to refuse.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# Fewer bytes than these are no memory to speak of, and are asked for by value while a graph is read.
LARGE = 1 << 14
# Of a node it takes more to become an initialiser: the numbers of all nodes behind it, which name tensors, change.
_LARGE_NODE = 1 << 16
# Numbers of fields, and the wire type of what has a length: of a model, a graph, a tensor, a node, an attribute.
_GRAPH, _NODE, _INITIALISER = 7, 1, 5
_NAME, _RAW, _EXTERNAL, _LOCATION = 8, 9, 13, 14
_OUTPUT, _OPERATOR, _ATTRIBUTE, _DOMAIN = 2, 4, 5, 7
_VALUE = 5
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
# A varint has at most ten bytes.
_LONGEST = 10


class _MisfitError(ValueError):
    """Not what protobuf's wire format says."""


def without_weights(path: Path) -> bytes | None:
    """Return the model with large initialisers left in the file; None if that is not possible, or not worth it.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    # What lies beside a model is found by name, and a link out of the folder is not followed.
    if path.stat().st_size < LARGE or path.is_symlink() or "\\" in path.name or not path.name.isprintable():
        return None
    with path.open("rb") as file:
        try:
            parts = [_graph(file, stop, path.name) if field == _GRAPH else whole for field, whole, stop in _model(file)]
        except _MisfitError:
            return None
    return b"".join(parts)


def _model(file: BinaryIO) -> Iterator[tuple[int, bytes, int]]:
    """Yield each field's number, its bytes, and where it ends; of the graph no bytes: it is read by the caller."""
    end = file.seek(0, 2)
    file.seek(0)
    while file.tell() < end:
        start = file.tell()
        field, stop = _field(file, end)
        yield (field, b"", stop) if field == _GRAPH else (field, _between(file, start, stop), stop)


def _graph(file: BinaryIO, end: int, name: str) -> bytes:
    parts = []
    while file.tell() < end:
        start = file.tell()
        field, stop = _field(file, end)
        if field == _INITIALISER and stop - file.tell() > LARGE:
            parts.append(_tensor(file, stop, name))
        elif field == _NODE and stop - file.tell() > _LARGE_NODE:
            parts.append(_constant(file, stop, name) or _between(file, start, stop))
        else:
            parts.append(_between(file, start, stop))
    return _entry(_GRAPH, b"".join(parts))


def _constant(file: BinaryIO, end: int, name: str) -> bytes | None:
    """Return what a node ``Constant`` holds as an initialiser; None for any other node, or one of more attributes."""
    try:
        node = _fields(file, end)
        contents = {field: _between(file, *place) for field, *place in node if field in (_OPERATOR, _DOMAIN, _OUTPUT)}
        attributes = [place for field, *place in node if field == _ATTRIBUTE]
        if contents.get(_OPERATOR) != b"Constant" or contents.get(_DOMAIN, b"") not in (b"", b"ai.onnx"):
            return None
        if len(attributes) != 1 or [field for field, _, _ in node].count(_OUTPUT) != 1:
            return None
        file.seek(attributes[0][0])
        values = [place for field, *place in _fields(file, attributes[0][1]) if field == _VALUE]
    except _MisfitError:
        # Of lists of numbers each has a field of its own: those stay where they are.
        return None
    if len(values) != 1:
        return None
    file.seek(values[0][0])
    # Behind the tensor's own name, if it has any: of two, the last one counts.
    return _tensor(file, values[0][1], name, called=_entry(_NAME, contents[_OUTPUT]))


def _fields(file: BinaryIO, end: int) -> list[tuple[int, int, int]]:
    """Return the number of each field up to ``end``, and where its content lies."""
    fields = []
    while file.tell() < end:
        field, stop = _field(file, end)
        fields.append((field, file.tell(), stop))
        file.seek(stop)
    return fields


def _tensor(file: BinaryIO, end: int, name: str, *, called: bytes = b"") -> bytes:
    parts, begin, places, external = [], file.tell(), [], False
    while file.tell() < end:
        start = file.tell()
        field, stop = _field(file, end)
        external = external or field in (_EXTERNAL, _LOCATION)
        if field == _RAW:
            places.append((file.tell(), stop - file.tell()))
            file.seek(stop)
        else:
            # Typed fields, as long as they may be: those are rare.
            parts.append(_between(file, start, stop))
    if len(places) != 1 or external or places[0][1] < LARGE:
        return _entry(_INITIALISER, _between(file, begin, end) + called)
    offset, length = places[0]
    for key, value in (("location", name), ("offset", str(offset)), ("length", str(length))):
        parts.append(_entry(_EXTERNAL, _entry(1, key.encode()) + _entry(2, value.encode())))
    # TensorProto.EXTERNAL is 1.
    parts.append(_varint(_LOCATION << 3 | _VARINT) + _varint(1) + called)
    return _entry(_INITIALISER, b"".join(parts))


def _field(file: BinaryIO, end: int) -> tuple[int, int]:
    """Read a field's number, and where it ends; the file then stands at its content."""
    tag = _number(file)
    kind = tag & 7
    if kind == _VARINT:
        start = file.tell()
        _number(file)
        stop = file.tell()
        file.seek(start)
    elif kind == _LENGTH:
        size = _number(file)
        stop = file.tell() + size
    elif kind in (_FIXED64, _FIXED32):
        stop = file.tell() + (8 if kind == _FIXED64 else 4)
    else:
        raise _MisfitError
    if stop > end or tag >> 3 == 0 or (kind != _LENGTH and tag >> 3 in (_GRAPH, _INITIALISER, _RAW)):
        # A tensor's dims and the like have other numbers; what has these and no length is damaged.
        raise _MisfitError
    return tag >> 3, stop


def _number(file: BinaryIO) -> int:
    value = 0
    for i in range(_LONGEST):
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << 7 * i
        if byte[0] < 0x80:
            return value
    raise _MisfitError


def _between(file: BinaryIO, start: int, stop: int) -> bytes:
    file.seek(start)
    content = file.read(stop - start)
    if len(content) != stop - start:
        raise _MisfitError
    return content


def _entry(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _LENGTH) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*made, value))
