"""Metadata about the input of an exported network: how an image file becomes its tensor.

`docs/preprocessing.md` explains every key.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from erde_cli.core.bundle.document import PixelsDocument
from erde_cli.core.data.normalisation import Normalisation

Resizer = Literal["client", "graph"]
_Three = Annotated[list[float], Field(min_length=3, max_length=3)]


class InputRecord(BaseModel):
    """How an image file becomes the tensor `image`.

    A value of the tensor is (pixel * scale - mean) / std of its channel, for pixels from 0 to 255.
    size: side in pixels of the square that the network gets. short_side: of the resized image
    before the crop; None: the whole image is squashed. resized_by: "graph" if the tensor is the
    whole image. gray_bits: used bits of grey images with more than 8.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Literal["image"]
    layout: Literal["NHWC", "NCHW"]
    dtype: Literal["uint8", "float32"]
    channels: Literal["RGB"]
    scale: float
    mean: _Three
    std: _Three
    size: int
    resize: Literal["squash", "crop"]
    short_side: int | None
    interpolation: Literal["bilinear", "bicubic"]
    antialias: Literal[True]
    resized_by: Resizer
    only_runtime: Literal["onnxruntime"] | None
    orientation: Literal["exif_or_xmp"]
    frame: Literal["first", "only"]
    gray_bits: int
    colour_bits: Literal["upper_8"]
    transparent: Literal["white", "black", "ignore"]
    gray: Literal["repeat"]
    cmyk: Literal["multiply"]
    colour_profile: Literal["ignored"]

    @classmethod
    def of(
        cls,
        size: int,
        pixels: PixelsDocument,
        normalisation: Normalisation | None,
        resized_by: Resizer = "client",
    ) -> InputRecord:
        """Describe the input of a network.

        Args:
            size: side in pixels of the square that the network gets.
            pixels: rules of the recipe.
            normalisation: that a client applies; None: the graph does.
            resized_by: who resizes.
        """
        raw = normalisation is None
        in_graph = resized_by == "graph"
        return cls(
            name="image",
            layout="NHWC" if raw else "NCHW",
            dtype="uint8" if raw else "float32",
            channels="RGB",
            scale=1.0 if raw else 1 / 255,
            mean=[0.0] * 3 if normalisation is None else [*normalisation.mean],
            std=[1.0] * 3 if normalisation is None else [*normalisation.std],
            size=size,
            resize=pixels.resize,
            short_side=pixels.rules.short_side(size),
            interpolation=pixels.interpolation,
            antialias=True,
            resized_by=resized_by,
            only_runtime="onnxruntime" if in_graph else None,
            orientation="exif_or_xmp",
            frame="only" if pixels.frames == "refuse" else "first",
            gray_bits=pixels.bit_depth or 16,
            colour_bits="upper_8",
            transparent=pixels.transparent,
            gray="repeat",
            cmyk="multiply",
            colour_profile="ignored",
        )
