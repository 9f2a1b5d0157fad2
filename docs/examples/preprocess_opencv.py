"""Turn an image file into the pixels of an export of erde, with OpenCV and NumPy.

cv2.resize does not average all pixels that it removes, so this file has its own resize.
"""

import cv2
import numpy as np


def upright(path, described):
    """The whole image, uint8 [height, width, 3], RGB, turned by EXIF where OpenCV does it."""
    if described["frame"] == "only":
        raise ValueError("OpenCV does not tell whether a file contains several images")
    image = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError(f"OpenCV cannot read {path}")
    if image.ndim == 2 or image.shape[2] != 4:  # without transparency: this flag turns by EXIF
        image = cv2.imread(path, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    if image.dtype == np.uint16:
        bits = described["gray_bits"] if image.ndim == 2 else 16
        image = (image >> (bits - 8)).clip(0, 255).astype(np.uint8)
    if image.ndim == 2:
        return np.repeat(image[..., None], 3, axis=2)
    colour = image[..., 2::-1].astype(np.int64)  # BGR to RGB
    if image.shape[2] == 4 and described["transparent"] != "ignore":
        alpha = image[..., 3:].astype(np.int64)
        background = 255 if described["transparent"] == "white" else 0
        mixed = colour * alpha + background * (255 - alpha) + 128
        colour = (mixed + (mixed >> 8)) >> 8
    return colour.astype(np.uint8)


def weights(length, wanted, interpolation):
    """Pillow's weights of a resize in one direction, whole numbers [wanted, length] of 2**22."""
    scale = length / wanted
    wide = max(scale, 1.0)
    support = wide * (1 if interpolation == "bilinear" else 2)
    table = np.zeros((wanted, length))
    for row in range(wanted):
        centre = (row + 0.5) * scale
        first = max(0, int(centre - support + 0.5))
        last = min(length, int(centre + support + 0.5))
        x = np.abs((np.arange(first, last) - centre + 0.5) / wide)
        if interpolation == "bilinear":
            values = np.maximum(0, 1 - x)
        else:
            near, far = ((1.5 * x - 2.5) * x) * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
            values = np.where(x < 1, near, np.where(x < 2, far, 0))
        shares = values / values.sum() * 2**22
        table[row, first:last] = np.trunc(shares + np.copysign(0.5, shares))
    return table


def resized(image, height, width, interpolation):
    """Pillow's resize in two passes, each rounded to 8 bits. Sums are exact in float64."""
    less_high, less_wide = image.shape[0] - height, image.shape[1] - width
    passes = [(1, width), (0, height)]
    if less_high > 0 and less_high > 2 * less_wide:  # since Pillow 13
        passes.reverse()
    for axis, wanted in passes:
        if image.shape[axis] != wanted:
            table = weights(image.shape[axis], wanted, interpolation)
            sums = np.tensordot(table, image.astype(np.float64), axes=(1, axis))
            rounded = np.floor((sums + 2**21) / 2**22).clip(0, 255).astype(np.uint8)
            image = np.moveaxis(rounded, 0, axis)
    return image


def pixels_of(path, described):
    """Pixels at the size of the network, uint8 [size, size, 3]."""
    image = upright(path, described)
    size, short = described["size"], described["short_side"]
    height, width = size, size
    if described["resize"] == "crop":
        height, width = (short * side // min(image.shape[:2]) for side in image.shape[:2])
    image = resized(image, height, width, described["interpolation"])
    top, left = round((height - size) / 2), round((width - size) / 2)
    return image[top : top + size, left : left + size]
