"""Images in any form that a caller may hold, as pixels of one size."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from threading import Lock
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from erde_cli.core.data.sources import ImageArray, to_array
from erde_cli.core.decoding import check_rules, decode_files, strict_about_bombs
from erde_cli.core.errors import DataError
from erde_cli.core.orientation import upright_given
from erde_cli.core.pixels import NEW_RULES, PixelRules

GivenImage = str | os.PathLike[str] | Image.Image | np.ndarray[Any, Any] | Tensor

_EXPECTED = (
    "a path, a PIL image, or a uint8 array or tensor [height, width, 3] (RGB) or [height, width]"
)
_SINGLE = (str, os.PathLike, Image.Image)

# Filters of warnings belong to the whole process: two threads that set them at once would put back
# what the other one had set.
_filters = Lock()


def pixels_of(
    images: GivenImage | Iterable[GivenImage],
    size: int,
    at_once: int,
    rules: PixelRules = NEW_RULES,
) -> Iterator[Tensor]:
    """Bring images to size x size, as everywhere in erde: uint8 [up to at_once, size, size, 3].

    Raises:
        DataError: something is no image.
    """
    rest = enumerate(_each(images))
    while some := list(islice(rest, at_once)):
        arrays = [_pixels(image, size, rules, position) for position, image in some]
        yield torch.from_numpy(np.stack(arrays))


def _each(images: GivenImage | Iterable[GivenImage]) -> Iterator[GivenImage]:
    """One image by itself; of an array with four dimensions, each of its images."""
    if isinstance(images, _SINGLE) or (isinstance(images, np.ndarray | Tensor) and images.ndim < 4):
        return iter([images])
    if isinstance(images, Iterable):
        return iter(images)
    raise _refused(images, "")


def _pixels(image: GivenImage, size: int, rules: PixelRules, position: int) -> ImageArray:
    where = f" (number {position}, from 0)"
    if isinstance(image, str | os.PathLike):
        return _decoded(os.fspath(image), size, rules)
    if isinstance(image, Image.Image):
        return _converted(image, size, rules, where)
    given = image
    if isinstance(image, Tensor):
        image = image.detach().cpu().numpy()
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or not _has_shape(image):
        raise _refused(given, where)
    if image.shape == (size, size, 3):
        return image
    return _converted(Image.fromarray(np.ascontiguousarray(image)), size, rules, where)


def _has_shape(image: np.ndarray[Any, Any]) -> bool:
    return image.size > 0 and (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3))


def _decoded(path: str, size: int, rules: PixelRules) -> ImageArray:
    with _filters:
        found = decode_files([path], size, rules)
    if found.unreadable:
        reason = {**found.unreadable, **found.unopened}[0]
        raise DataError(
            f"{path} cannot be read as an image: {reason}.",
            expected="an image file that Pillow reads",
            hint="mend the file, or leave it out",
        )
    return np.frombuffer(found.pixels, np.uint8).reshape(size, size, 3)


def _converted(image: Image.Image, size: int, rules: PixelRules, where: str) -> ImageArray:
    try:
        with _filters, strict_about_bombs():
            check_rules(image, rules)
            return to_array(upright_given(image), size, rules)
    except Exception as error:
        raise DataError(
            f"An image{where} cannot be used: {type(error).__name__}: {error}.",
            expected=_EXPECTED,
            hint="convert it with image.convert('RGB') first",
        ) from error


def _refused(image: object, where: str) -> DataError:
    got = type(image).__name__
    if isinstance(image, np.ndarray | Tensor):
        got += f" of {image.dtype}, {list(image.shape)}"
    return DataError(
        f"This is no image{where}.",
        got=got,
        expected=_EXPECTED,
        hint="values from 0 to 1 become pixels by (255 * image).round(), channels go last by "
        "permute(1, 2, 0)",
    )
