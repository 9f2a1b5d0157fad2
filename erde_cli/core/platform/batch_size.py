"""Batch size of inference on a CPU. Does not import torch."""

from __future__ import annotations

_PIXELS_AT_ONCE = 64 * 32**2
_PHOTOS_AT_ONCE, _PHOTO = 4, 256  # images of up to 256 pixels


def images_at_once_on_cpu(side: int) -> int:
    """Batch size in inference on a CPU, for images of `side` pixels.

    The features of a small network should fit in the cache: batches of 64 images of 32x32 pixels
    took 0.6 to 0.9 of the time of batches of 256. Of photos, 4 at a time take less time than one,
    and the weights are read once for all. Milliseconds of one core per image of 224x224 pixels, in
    batches of 1, 4, 8, 16 and 32: EfficientNet-Lite0 18, 17, 20, 25, 33; ResNet-18 46, 36, 34, 34,
    36.
    """
    photos = min(_PHOTOS_AT_ONCE, _PHOTOS_AT_ONCE * _PHOTO**2 // side**2)
    return max(1, photos, _PIXELS_AT_ONCE // side**2)
