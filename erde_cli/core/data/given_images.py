"""Images in any form that a caller can pass, as tensors of one size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from erde_cli.core.images import given_images as without_torch
from erde_cli.core.images.pixels import DEFAULT_RULES, PixelRules

GivenImage = without_torch.GivenImage | Tensor


def pixels_of(
    images: GivenImage | Iterable[GivenImage],
    size: int,
    at_once: int,
    rules: PixelRules = DEFAULT_RULES,
) -> Iterator[Tensor]:
    """Pixels of images, squashed or cropped, in batches: uint8 [batch, size, size, 3].

    Arguments and errors are those of `pixel_batches`.
    """
    for pixels in without_torch.pixel_batches(images, size, at_once, rules):
        yield torch.from_numpy(pixels)
