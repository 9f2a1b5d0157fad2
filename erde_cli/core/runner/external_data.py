"""Find tensors of an ONNX file whose values are in another file, without the package onnx.

Only the tables of contents of messages are read: the fields of onnx.proto that lead to a tensor.
"""

from __future__ import annotations

from collections.abc import Iterator

_MODEL, _GRAPH, _NODE, _ATTRIBUTE, _SPARSE, _TRAINING, _FUNCTION, _TENSOR = range(8)
# Numbers of the fields of each message that contain another one, and the kind of that message.
INSIDE = {
    _MODEL: {7: _GRAPH, 20: _TRAINING, 25: _FUNCTION},
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
    _TRAINING: {1: _GRAPH, 2: _GRAPH},
    _FUNCTION: {7: _NODE, 11: _ATTRIBUTE},
}
_NAME, _EXTERNAL_DATA, _DATA_LOCATION = 8, 13, 14  # fields of a tensor
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5  # forms of a field's value
_LONGEST_VARINT = 10  # bytes
_DEEPEST = 100  # messages inside each other; parsers of protocol buffers refuse more

Field = tuple[int, int, int, int]  # number, form, start and end of the value
Message = tuple[int, int, int]  # kind, start and end


def refuse_external_data(content: bytes) -> None:
    """Check that no tensor of an ONNX file has its values in another file.

    A tensor with external data has the key "location". The word can occur elsewhere as well, so
    then the tensors are checked.

    Raises:
        ValueError: a tensor has external data, or the content is damaged.
    """
    if b"location" not in content:
        return
    # Depth first: a list of all messages would take 70 times the memory of the file.
    levels = [_inside(content, (_MODEL, 0, len(content)))]
    while levels:
        message = next(levels[-1], None)
        if message is None:
            levels.pop()
        elif message[0] == _TENSOR:
            _refuse_external(content, _fields(content, *message[1:]))
        elif len(levels) > _DEEPEST:
            raise ValueError(f"its messages are nested more than {_DEEPEST} levels deep")
        else:
            levels.append(_inside(content, message))


def _inside(content: bytes, message: Message) -> Iterator[Message]:
    """Messages directly inside a message that can lead to a tensor."""
    inside = INSIDE[message[0]]
    for number, form, start, end in _fields(content, *message[1:]):
        if form == _BYTES and number in inside:
            yield inside[number], start, end


def _refuse_external(content: bytes, fields: Iterator[Field]) -> None:
    """Check one tensor."""
    name, is_external = b"", False
    for number, form, start, end in fields:
        if number == _NAME and form == _BYTES:
            name = content[start:end]
        is_external |= number == _EXTERNAL_DATA
        is_external |= number == _DATA_LOCATION and any(content[start:end])
    if is_external:
        raise ValueError(f"the tensor {name.decode(errors='replace')!r} is in another file")


def _fields(content: bytes, at: int, end: int) -> Iterator[Field]:
    """Fields of the message in `content[at:end]`.

    Source: the encoding of protocol buffers, protobuf.dev/programming-guides/encoding.
    """
    while at < end:
        tag, at = _varint(content, at, end)
        form, number = tag & 7, tag >> 3
        if tag >= 2**32:  # a parser could drop the upper bits, and read another field
            raise ValueError("the number of a field is too large")
        start = at
        if form == _VARINT:
            _, at = _varint(content, at, end)
        elif form == _BYTES:
            size, start = _varint(content, at, end)
            at = start + size
        elif form in (_EIGHT_BYTES, _FOUR_BYTES):
            at += 8 if form == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field has the unknown form {form}")
        if at > end:
            raise ValueError("a field is longer than its message")
        yield number, form, start, at


def _varint(content: bytes, at: int, end: int) -> tuple[int, int]:
    """A number of variable length, and the place after it."""
    value = 0
    for index in range(_LONGEST_VARINT):
        if at + index >= end:
            raise ValueError("it ends inside a number")
        byte = content[at + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    raise ValueError("a number has more than 10 bytes")
