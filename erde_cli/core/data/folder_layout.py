"""Which split the images of a folder belong to: train/, and valid/ and test/ where they exist.

A folder of classes without any of these is all train; calibration and test are carved out of it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from erde_cli.core.arrays import IntArray
from erde_cli.core.data.folders import FolderSource, GivenSplit
from erde_cli.core.errors import DataError
from erde_cli.core.images.listing import (
    class_names_in,
    count_loose_images,
    count_next_to,
    is_folder,
    list_classes,
)
from erde_cli.core.images.passed_over import PassedOver
from erde_cli.core.images.pixels import DEFAULT_RULES, PixelRules

CALIBRATION_FOLDERS = ("calibration", "valid", "val", "validation")
_SPLIT_FOLDERS = ("train", "test", *CALIBRATION_FOLDERS)
_LISTED = 10  # names in a message


def folder_source(
    root: Path, *, skip_unreadable: bool = False, rules: PixelRules = DEFAULT_RULES
) -> FolderSource:
    """List `root/train/<class>/*` and, where they exist, those of `root/valid` and `root/test`.

    Where there is no train/, the classes may lie in the root itself: `root/<class>/*`.

    Raises:
        DataError: a folder is missing or closed, there are fewer than two classes, a class is
            empty, or images are in no folder of a class.
    """
    train = train_folder(root)
    names = class_names_in(train)
    if len(names) < 2:
        raise _too_few_classes(train, names)
    if train != root:
        _refuse_other_case(root)
    passed = PassedOver()
    parts = [list_classes(train, names, passed)]
    if train == root:
        return FolderSource(
            root, names, *parts[0], None, skip_unreadable, rules, passed_over=passed
        )
    held_out = _calibration_folder(root)
    folders = [root / held_out] if held_out else []
    folders += [root / "test"] if _is_there(root / "test") else []
    for folder in folders:
        parts.append(_own_split(folder, train, names, passed))
    count_next_to(root, ("train", "test", held_out), passed)
    part = np.repeat(np.arange(len(parts)), [len(files) for files, _ in parts])
    is_test = part == len(parts) - 1 if _is_there(root / "test") else None
    return FolderSource(
        root,
        names,
        [path for files, _ in parts for path in files],
        np.concatenate([labels for _, labels in parts]),
        is_test,
        skip_unreadable,
        rules,
        GivenSplit(held_out, part == 1) if held_out else None,
        passed,
    )


def train_folder(root: Path) -> Path:
    """The folder that holds a folder for each class of the training images: train/, or the root.

    Raises:
        DataError: neither does.
    """
    train = root / "train"
    if is_folder(train):
        return train
    if not is_folder(root) or os.path.lexists(train):
        raise _no_train(root, train)
    inside = class_names_in(root)
    others = [name for name in inside if name.lower() in (*_SPLIT_FOLDERS, "training", "testing")]
    if others or not (inside or count_loose_images(root)):
        raise _no_train(root, train)
    return root


def _too_few_classes(train: Path, names: Sequence[str]) -> DataError:
    loose = count_loose_images(train)
    if not names and loose:
        return DataError(
            f"The images in {train} are in no folder of a class, so nothing says what they show.",
            got=f"{loose:,} images without labels",
            expected=f"{train.name}/<class>/*, two classes or more",
            hint="make a folder for each class, and put its images there",
        )
    hint = "make a folder for each class, and put its images there"
    inside = train / names[0] if names else train
    if names and len(class_names_in(inside)) > 1:
        hint = f"where the classes are those in {inside}, name that folder; else {hint}"
    return DataError(
        f"A classifier needs two classes or more; {train} has {len(names)}.",
        got=some_names(names) or "no folder of a class",
        expected="one folder per class in it",
        hint=hint,
    )


def _is_there(folder: Path) -> bool:
    """Whether a split has a folder of its own.

    Raises:
        DataError: something else has its name.
    """
    if not is_folder(folder) and os.path.lexists(folder):
        raise DataError(
            f"{folder} is no folder.",
            got="a file, or a link that leads nowhere",
            expected=f"{folder.name}/<class>/*, or nothing of that name",
            hint=f"remove {folder}, or make it a folder of images",
        )
    return is_folder(folder)


def _calibration_folder(root: Path) -> str:
    """Name of the folder that is the calibration split; empty where there is none.

    Raises:
        DataError: there are several.
    """
    there = [name for name in CALIBRATION_FOLDERS if _is_there(root / name)]
    if len(there) > 1:
        raise DataError(
            f"Several folders in {root} could be the calibration split.",
            got=", ".join(there),
            expected=f"one of {', '.join(CALIBRATION_FOLDERS)}, or none",
            hint="put their images into one of them, or move the others elsewhere",
        )
    return there[0] if there else ""


def _own_split(
    folder: Path, train: Path, names: Sequence[str], passed: PassedOver
) -> tuple[list[str], IntArray]:
    """List a split that has a folder of its own.

    Raises:
        DataError: it has no folder per class, or classes that train lacks.
    """
    there = class_names_in(folder)
    loose = 0 if there else count_loose_images(folder)
    if loose:
        raise DataError(
            f"The images in {folder} are in no folder of a class, so nothing says what they show.",
            got=f"{loose:,} images without labels",
            expected=f"{folder.name}/<class>/*, with the classes of {train}",
            hint=f"move {folder} elsewhere; once a network is trained, classify its images with: "
            "erde predict BUNDLE FOLDER",
        )
    unknown = sorted(set(there) - set(names))
    if unknown:
        raise DataError(
            f"The {folder.name} split has classes that train lacks: {some_names(unknown)}.",
            expected=f"only classes of {train}",
            hint=f"add images of them to {train}, or remove their folders from {folder}",
        )
    return list_classes(folder, names, passed, may_lack=True)


def _refuse_other_case(root: Path) -> None:
    """Check that no split is overlooked for a capital letter.

    Raises:
        DataError: one would be.
    """
    for path in sorted(root.iterdir()):
        name = path.name.lower()
        if name in _SPLIT_FOLDERS and name != path.name and not (root / name).exists():
            raise DataError(
                f"{path} would not be read: folders of splits have small letters.",
                got=path.name,
                expected=name,
                hint=f"rename it: mv {path} {root / name}",
            )


def _no_train(root: Path, train: Path) -> DataError:
    """Say what there is in the place of training images."""
    got, hint = f"no folder {train}", ""
    inside = class_names_in(root) if is_folder(root) else ()
    alike = [name for name in inside if name.lower() in ("train", "training")]
    if not is_folder(root):
        got = "a file" if os.path.isfile(root) else "no such folder"  # noqa: PTH113 (long names)
        hint = "unpack it, and " if got == "a file" else ""
    elif alike:
        got += f", but {alike[0]!r}"
        hint = f"rename it: mv {root / alike[0]} {train}; or "
    elif inside:
        got += f", but {some_names(inside)}"
        hint = "put the classes to train on into a folder train; or "
    return DataError(
        f"There are no training images in {root}.",
        got=got,
        expected="train/<class>/*.png (or another image format) in it, or <class>/*.png",
        hint=f"{hint}name your folder as data.root in the recipe, or with erde run RECIPE "
        "--set data.root=FOLDER",
    )


def some_names(names: Sequence[str]) -> str:
    """The first of some names, quoted, and how many more there are."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(repr(name) for name in names[:_LISTED]) + more
