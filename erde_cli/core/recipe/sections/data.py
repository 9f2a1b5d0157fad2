"""The section `data`: which images, and how they are split."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from erde_cli.core.recipe.sections.base import Section, broken, refuse

NAMED = ("cifar10", "cifar100", "svhn")  # data sets that are downloaded, not made by the user
_UNMIRRORED = ("digits", "svhn")  # a mirrored digit is no digit


class Augmentation(Section):
    """Random changes of the training images; the calibration and test images are left alone."""

    crop: int = Field(4, ge=0, description="pixels of zero padding from which a crop is taken")
    flip: bool | None = Field(
        None, description="mirror half of the images; null: yes, except for digits and svhn"
    )
    cutout: int = Field(0, ge=0, description="side of a grey square, in pixels; 0: none")


class Data(Section):
    """Which images, and how they are split."""

    dataset: Literal["digits", "imagefolder", "cifar10", "cifar100", "svhn"] = Field(
        description="where the images come from"
    )
    root: str | None = Field(
        None,
        description="imagefolder: folder with <class>/*, or with train/<class>/* and, if there are "
        "any, valid/<class>/* (or val, validation, calibration) and test/<class>/*; cifar10, "
        "cifar100, svhn: folder of the published files; "
        "null: $ERDE_DATA, else erde's folder in the user's cache",
    )
    download: bool = Field(
        False, description="cifar10, cifar100, svhn: download them where they are missing"
    )
    extra: bool = Field(False, description="svhn: train on its 531,131 easier extra images as well")
    image_size: int = Field(32, ge=8, le=1024, description="side of the network's input, in pixels")
    calibration_fraction: float = Field(
        0.1,
        ge=0.02,
        le=0.5,
        description="share of train kept for calibration where that has no folder of its own; at "
        "least 1,000 images of 10,000 or more",
    )
    test_fraction: float = Field(
        0.2, ge=0.02, le=0.5, description="share carved out where the data has no test split"
    )
    split_seed: int = Field(0, ge=0, description="seed of the splits, apart from `seed`")
    unreadable: Literal["refuse", "skip"] = Field(
        "refuse", description="what to do with files that are no readable image"
    )
    transparent: Literal["white", "black", "ignore"] = Field(
        "white",
        description="imagefolder: transparent pixels are laid on white or black; ignore: they show "
        "the colour that the file holds under them",
    )
    bit_depth: int | None = Field(
        None,
        ge=8,
        le=16,
        description="imagefolder: bits in use where a grey image has more than 8, such as 12; the "
        "upper 8 of them are taken; null: 16, with a warning where all values are small",
    )
    frames: Literal["first", "refuse"] | None = Field(
        None,
        description="imagefolder: of files with several images, such as animated GIFs, the first "
        "is taken, or they count as unreadable; null: the first, with a warning",
    )
    memory_limit: int = Field(
        2000,
        ge=0,
        description="imagefolder: MB of decoded images that are copied into memory; more stay in "
        "the cache, in a file mapped into memory",
    )
    augmentation: Augmentation = Field(default_factory=Augmentation)

    @model_validator(mode="after")
    def _check(self) -> Data:
        name, size, augmentation = self.dataset, self.image_size, self.augmentation
        refuse(
            broken(
                (
                    name == "imagefolder" and self.root is None,
                    "root",
                    "imagefolder needs the folder of the images",
                ),
                (
                    name == "digits" and self.root is not None,
                    "root",
                    "digits are built in; leave root out",
                ),
                (
                    self.download and name not in NAMED,
                    "download",
                    f"only {', '.join(NAMED)} can be downloaded; leave it out",
                ),
                (self.extra and name != "svhn", "extra", "only svhn has an extra split"),
                (
                    name in _UNMIRRORED and bool(augmentation.flip),
                    "augmentation.flip",
                    "a mirrored digit is no digit; use false",
                ),
                (
                    augmentation.crop >= size,
                    "augmentation.crop",
                    f"must be below image_size = {size}",
                ),
                (
                    augmentation.cutout > size,
                    "augmentation.cutout",
                    f"must be at most image_size = {size}",
                ),
            )
        )
        return self

    @property
    def flips(self) -> bool:
        """Whether training images are mirrored at random."""
        flip = self.augmentation.flip
        return self.dataset not in _UNMIRRORED if flip is None else flip
