"""Turn an image file into the input of an export of erde, with Pillow and NumPy alone."""

import numpy as np
from PIL import Image, ImageOps


def upright(file, described):
    """The whole image: upright, RGB, 8 bits. described: erde.input of the export."""
    with Image.open(file) as opened:  # the first of several images
        if described["frame"] == "only" and getattr(opened, "is_animated", False):
            raise ValueError("the file contains several images")
        bits = 16 if opened.format == "PPM" else described["gray_bits"]  # PPM states its bits
        picture = ImageOps.exif_transpose(opened)
    if picture.mode.startswith("I"):  # grey with more than 8 bits; convert() would clip at 255
        values = np.asarray(picture).astype(np.int64).clip(0, 65535) >> (bits - 8)
        picture = Image.fromarray(values.clip(0, 255).astype(np.uint8))
    elif picture.has_transparency_data:
        clear = picture.convert("RGBA")
        if described["transparent"] != "ignore":  # "white" or "black"
            picture = Image.new("RGB", clear.size, described["transparent"])
            picture.paste(clear, mask=clear)
        elif picture.mode == "P":
            picture = clear
    return picture.convert("RGB")


def squared(picture, described):
    """The image at the size of the network, squashed or cropped."""
    size, short = described["size"], described["short_side"]
    sides = (size, size)
    if described["resize"] == "crop":
        sides = tuple(short * side // min(picture.size) for side in picture.size)
    if sides != picture.size:
        filter_ = Image.Resampling[described["interpolation"].upper()]
        picture = picture.resize(sides, filter_)
    left, top = (round((side - size) / 2) for side in sides)  # round: half to even
    return picture.crop((left, top, left + size, top + size))


def tensor_of(file, described):
    """The input of the export: batch of one image, in its layout and type."""
    picture = upright(file, described)
    if described["resized_by"] == "client":
        picture = squared(picture, described)
    image = np.asarray(picture)
    if described["dtype"] == "float32":
        scaled = image.astype(np.float32) * np.float32(described["scale"])
        mean, std = np.float32(described["mean"]), np.float32(described["std"])
        image = ((scaled - mean) / std).transpose(2, 0, 1)
    return np.ascontiguousarray(image)[None]
