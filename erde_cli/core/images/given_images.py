"""Images in any form that a caller can pass, as pixels of one size. Never imports torch."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from numbers import Integral
from threading import Lock
from typing import Any, Protocol, TypeGuard

import numpy as np
from PIL import Image

from erde_cli.core.arrays import ImageArray
from erde_cli.core.errors import DataError, InputError, brief
from erde_cli.core.images.decoding import (
    LARGEST_FILE,
    check_rules,
    decode,
    decode_files,
    reason_of,
    strict_about_bombs,
)
from erde_cli.core.images.orientation import upright_given
from erde_cli.core.images.pixels import DEFAULT_RULES, PixelRules, to_rgb


class BinaryFile(Protocol):
    """A file object in binary mode, or any object with the same `read`."""

    def read(self, size: int = ..., /) -> bytes:
        """Return the next bytes, none at the end."""
        ...


Encoded = bytes | bytearray | memoryview
GivenImage = str | os.PathLike[str] | Encoded | BinaryFile | Image.Image | np.ndarray[Any, Any]
Images = GivenImage | Iterable[GivenImage]

_EXPECTED = (
    "a path, the bytes of an image file, a file object in binary mode, a PIL image, or a uint8 "
    "array or tensor [height, width, 3] (RGB) or [height, width]"
)
_SINGLE = (str, os.PathLike, Encoded, Image.Image)
_BLOCK = 1_000_000  # bytes read at once

# Warning filters belong to the process: threads that change them at the same time would restore
# each other's filters.
_filters = Lock()


def require_batch(batch: int | None) -> None:
    """Check a number of images per batch; None: it is chosen later.

    Raises:
        InputError: it is not a whole number from 1.
    """
    if batch is not None and not is_count(batch, sys.maxsize):
        raise InputError(
            "A batch holds one image or more.",
            got=brief(repr(batch)),
            expected="1 or more",
            hint="give a number from 1",
        )


def is_count(value: object, most: int) -> bool:
    """Whether a value is a whole number from 1 to `most`, of Python or numpy."""
    return isinstance(value, Integral) and 1 <= int(value) <= most


def pixel_batches(
    images: object, size: int, at_once: int, rules: PixelRules = DEFAULT_RULES
) -> Iterator[ImageArray]:
    """Pixels of images, squashed or cropped, in batches: uint8 [batch, size, size, 3].

    Args:
        images: a `GivenImage` or a tensor of torch, several of them, or an array with four
            dimensions.
        size: side in pixels.
        at_once: images per batch; the last batch can be smaller.
        rules: how images become square RGB.

    Raises:
        DataError: an object is not an image, or cannot be read.
    """
    numbered = enumerate(_each(images))
    while batch := list(islice(numbered, at_once)):
        arrays = [_pixels(image, size, rules, position) for position, image in batch]
        yield np.stack(arrays)


def _each(images: object) -> Iterator[object]:
    if isinstance(images, _SINGLE) or _is_file(images):
        return iter([images])
    if isinstance(images, np.ndarray) or _is_tensor(images):
        return _each_of(images)
    if isinstance(images, Iterable):
        return iter(images)
    raise _refused(images, "")


def _is_tensor(image: object) -> bool:
    """Whether an object is a tensor of torch, which its caller has imported then."""
    kind = getattr(sys.modules.get("torch"), "Tensor", None)
    return kind is not None and isinstance(image, kind)


def _each_of(images: Any) -> Iterator[object]:
    if images.ndim < 4:
        return iter([images])
    try:
        return iter(images)
    except Exception as error:  # a sparse tensor cannot be iterated
        raise _refused(images, "") from error


def _is_file(image: object) -> TypeGuard[BinaryFile]:
    return callable(getattr(image, "read", None))


def _pixels(image: object, size: int, rules: PixelRules, position: int) -> ImageArray:
    where = f" (number {position}, from 0)"
    if isinstance(image, str | os.PathLike):
        return _of_path(image, size, rules, where)
    if isinstance(image, Image.Image):
        return _converted(image, size, rules, where)
    if isinstance(image, Encoded):
        return _of_bytes(image, size, rules, where)
    if _is_file(image):
        return _of_bytes(_read(image, where), size, rules, where)
    array = _array(image, where)
    if array.shape == (size, size, 3) and rules.resize == "squash":
        return array
    return _converted(Image.fromarray(np.ascontiguousarray(array)), size, rules, where)


def _array(image: object, where: str) -> ImageArray:
    """The image as an array, uint8 [height, width, 3] or [height, width]."""
    array: Any = image
    if _is_tensor(image):
        try:
            array = array.detach().cpu().numpy()
        except Exception as error:  # sparse tensors, bfloat16, tensors without a value
            raise _refused(image, where) from error
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or not _has_shape(array):
        raise _refused(image, where)
    return array


def _has_shape(image: np.ndarray[Any, Any]) -> bool:
    return image.size > 0 and (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3))


def _of_path(image: str | os.PathLike[str], size: int, rules: PixelRules, where: str) -> ImageArray:
    try:
        path = os.fsdecode(image)
    except Exception as error:  # not a path
        raise _refused(image, where) from error
    with _filters:
        decoded = decode_files([path], size, rules)
    if decoded.unreadable:
        reason = {**decoded.unreadable, **decoded.unopened}[0]
        raise DataError(
            f"{path} cannot be read as an image: {reason}.",
            expected="an image file that Pillow reads",
            hint="repair the file, or leave it out",
        )
    return np.frombuffer(decoded.pixels, np.uint8).reshape(size, size, 3)


def _read(file: BinaryFile, where: str) -> bytes | None:
    """All bytes of a file object from its position; None if they are more than LARGEST_FILE.

    The file object stays open.
    """
    parts: list[bytes] = []
    left = LARGEST_FILE
    try:
        for part in _parts(file):
            parts.append(_required_bytes(part))
            left -= len(part)
            if left < 0:
                return None
    except Exception as error:  # closed, or not a file object
        raise DataError(
            f"A file object{where} cannot be read: {brief(reason_of(error))}.",
            got=type(file).__name__,
            expected="a file object whose read() returns bytes",
            hint="open it with open(path, 'rb') and pass it before it is closed, or pass its bytes",
        ) from error
    return b"".join(parts)


def _parts(file: Any) -> Iterator[Any]:
    try:
        part = file.read(_BLOCK)
    except TypeError:  # read() takes no size
        yield file.read()
        return
    while part:
        yield part
        part = file.read(_BLOCK)


def _required_bytes(part: object) -> bytes:
    if isinstance(part, bytes | bytearray):
        return bytes(part)
    if inspect.iscoroutine(part):
        part.close()  # it will never be awaited
        raise TypeError("read() must be awaited")
    raise TypeError(f"read() returns {type(part).__name__}, not bytes")


def _of_bytes(content: Encoded | None, size: int, rules: PixelRules, where: str) -> ImageArray:
    count = LARGEST_FILE + 1
    try:
        if content is not None:
            count = memoryview(content).nbytes
        whole = bytes(content) if content is not None and count <= LARGEST_FILE else None
        with _filters, strict_about_bombs():
            return np.asarray(decode(whole, size, rules)[0])
    except Exception as error:  # decoders raise any exception on bad bytes
        raise DataError(
            f"The bytes{where} cannot be read as an image: {brief(reason_of(error))}.",
            got=f"{count:,} bytes" + " or more" * (content is None),
            expected="all bytes of an image file that Pillow reads",
            hint="check that the bytes are complete; a file object is read from its position, so "
            "call file.seek(0) first",
        ) from error


def _converted(image: Image.Image, size: int, rules: PixelRules, where: str) -> ImageArray:
    try:
        if 0 in image.size:
            raise ValueError("it has no pixels")
        with _filters, strict_about_bombs():
            check_rules(image, rules)
            return np.asarray(to_rgb(upright_given(image), size, rules)[0])
    except Exception as error:
        raise DataError(
            f"An image{where} cannot be used: {brief(reason_of(error))}.",
            expected=_EXPECTED,
            hint="pass it before it is closed, and convert it with image.convert('RGB') first",
        ) from error


def _refused(image: object, where: str) -> DataError:
    got = type(image).__name__
    if isinstance(image, np.ndarray) or _is_tensor(image):
        array: Any = image
        with suppress(Exception):  # a nested tensor has no shape
            got += f" of {array.dtype}, {list(array.shape)}"
    return DataError(
        f"This is not an image{where}.",
        got=got,
        expected=_EXPECTED,
        hint="scale values from 0 to 1 with (255 * image).round(), and move channels to the end "
        "with permute(1, 2, 0)",
    )
