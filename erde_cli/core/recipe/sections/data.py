"""The section `data`: the images and their splits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from erde_cli.core.recipe.sections.base import Section, broken, refuse

NAMED = ("cifar10", "cifar100", "svhn")  # published data sets, which erde downloads
CROP_SHARE = 0.875  # of the short side: 224 of 256 pixels, as published networks are evaluated
_UNMIRRORED = ("digits", "svhn")  # a mirrored digit is not a digit


class Augmentation(Section):
    """Random augmentation of training images. Calibration and test images are never augmented."""

    crop: int = Field(4, ge=0, description="zero padding in pixels before a random crop")
    flip: bool | None = Field(
        None, description="mirror a random half of the images; null: not for digits and svhn"
    )
    cutout: int = Field(0, ge=0, description="side of a grey square, in pixels; 0: none")
    resized_crop: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="photos: smallest share of the photo's area in a random crop, which is resized "
        "to image_size, such as 0.35; null: no such crop; not together with crop",
    )
    trivial_augment: bool = Field(
        False, description="one random change of colour or shape per image (TrivialAugment)"
    )


class Data(Section):
    """The images and their splits."""

    dataset: Literal["digits", "imagefolder", "cifar10", "cifar100", "svhn"] = Field(
        description="source of the images"
    )
    root: str | None = Field(
        None,
        description="imagefolder: folder with <class>/*, or with train/<class>/* and optionally "
        "valid/<class>/* (or val, validation, calibration) and test/<class>/*; cifar10, cifar100, "
        "svhn: folder of the published files; null: $ERDE_DATA, or else erde's folder in the "
        "user's cache",
    )
    download: bool = Field(False, description="cifar10, cifar100, svhn: download missing files")
    extra: bool = Field(False, description="svhn: also train on its 531,131 easier extra images")
    image_size: int = Field(32, ge=8, le=1024, description="side of the network's input, in pixels")
    resize: Literal["squash", "crop"] = Field(
        "squash",
        description="imagefolder: how an image becomes square; squash: all of it, with another "
        "aspect ratio; crop: the centre square",
    )
    crop_share: float | None = Field(
        None,
        ge=0.1,
        le=1,
        description="crop: share of the short side that the centre square keeps; null: "
        f"{CROP_SHARE}",
    )
    interpolation: Literal["bilinear", "bicubic"] = Field(
        "bilinear", description="imagefolder: filter of the resize, with antialiasing"
    )
    photo_size: int | None = Field(
        None,
        ge=16,
        le=2048,
        description="resized_crop: side in pixels at which train photos are kept to be cropped; "
        "null: 8/7 of image_size",
    )
    calibration_fraction: float = Field(
        0.1,
        ge=0.02,
        le=0.5,
        description="share of train that becomes the calibration split, if it has no folder; at "
        "least 1,000 images if train has 10,000 or more",
    )
    test_fraction: float = Field(
        0.2, ge=0.02, le=0.5, description="share of images for test, if the data has no test split"
    )
    split_seed: int = Field(0, ge=0, description="seed of the splits, independent of `seed`")
    unreadable: Literal["refuse", "skip"] = Field(
        "refuse", description="how to treat unreadable image files"
    )
    transparent: Literal["white", "black", "ignore"] = Field(
        "white",
        description="imagefolder: background of transparent pixels; ignore: use the colour that "
        "the file stores for them",
    )
    bit_depth: int | None = Field(
        None,
        ge=8,
        le=16,
        description="imagefolder: used bits of grey images with more than 8, such as 12; the upper "
        "8 of them are read; null: 16, with a warning if all values are small",
    )
    frames: Literal["first", "refuse"] | None = Field(
        None,
        description="imagefolder: files with several images, such as animated GIFs; first: read "
        "the first image; refuse: treat the file as unreadable; null: first, with a warning",
    )
    memory_limit: int = Field(
        2000,
        ge=0,
        description="imagefolder: largest size of decoded images in MB that is copied to memory; "
        "larger data sets stay in a memory-mapped cache file",
    )
    disk_limit: int = Field(
        20_000,
        ge=0,
        description="resized_crop: largest size of kept train photos in MB; above it they are "
        "decoded again in every epoch, with the same pixels",
    )
    augmentation: Augmentation = Field(default_factory=Augmentation)

    @model_validator(mode="after")
    def _check(self) -> Data:
        name, size, augmentation = self.dataset, self.image_size, self.augmentation
        rules = broken(
            (
                name == "imagefolder" and self.root is None,
                "root",
                "must be the folder of the images for imagefolder",
            ),
            (name == "digits" and self.root is not None, "root", "digits are built in; remove it"),
            (
                self.download and name not in NAMED,
                "download",
                f"only {', '.join(NAMED)} can be downloaded; remove it",
            ),
            (self.extra and name != "svhn", "extra", "only svhn has an extra split"),
            (
                name in _UNMIRRORED and bool(augmentation.flip),
                "augmentation.flip",
                "a mirrored digit is not a digit; set it to false",
            ),
            (augmentation.crop >= size, "augmentation.crop", f"must be below image_size = {size}"),
            (
                self.crop_share is not None and self.resize != "crop",
                "crop_share",
                "applies only to resize: crop",
            ),
            (
                name != "imagefolder" and self.resize == "crop",
                "resize",
                "crop applies only to imagefolder; remove it",
            ),
            (
                name != "imagefolder" and self.interpolation == "bicubic",
                "interpolation",
                "bicubic applies only to imagefolder; remove it",
            ),
            (
                augmentation.resized_crop is not None and augmentation.crop > 0,
                "augmentation.crop",
                "must be 0 with resized_crop",
            ),
            (
                augmentation.resized_crop is not None and name != "imagefolder",
                "augmentation.resized_crop",
                "applies only to imagefolder",
            ),
            (
                self.photo_size is not None and augmentation.resized_crop is None,
                "photo_size",
                "applies only to augmentation.resized_crop",
            ),
            (
                self.photo_size is not None and self.photo_size < size,
                "photo_size",
                f"must be at least image_size = {size}",
            ),
            (
                augmentation.cutout > size,
                "augmentation.cutout",
                f"must be at most image_size = {size}",
            ),
        )
        refuse(rules)
        return self

    @property
    def kept_share(self) -> float | None:
        """Share of the short side that a crop keeps; None: the image is squashed."""
        return (self.crop_share or CROP_SHARE) if self.resize == "crop" else None

    @property
    def photo_side(self) -> int | None:
        """Side at which train photos are kept, in pixels; None without resized_crop."""
        if self.augmentation.resized_crop is None:
            return None
        return self.photo_size or round(self.image_size * 8 / 7)

    @property
    def flips(self) -> bool:
        """Whether a random half of the training images is mirrored."""
        flip = self.augmentation.flip
        return self.dataset not in _UNMIRRORED if flip is None else flip
