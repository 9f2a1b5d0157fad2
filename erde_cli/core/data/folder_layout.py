"""The splits of a folder of images: train/, and valid/ and test/ if they exist.

A folder of classes without these is all train; calibration and test are drawn from it.
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
    add_unused_folders,
    class_names_in,
    count_loose_images,
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
    """List `root/train/<class>/*`, and the same in `root/valid` and `root/test` if they exist.

    Without train/, the classes can lie in the root itself: `root/<class>/*`.

    Raises:
        DataError: a folder is missing or cannot be read, there are fewer than two classes, a class
            is empty, or images are not in class folders.
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
    has_test = _exists(root / "test")
    folders += [root / "test"] if has_test else []
    for folder in folders:
        parts.append(_split_folder(folder, train, names, passed))
    add_unused_folders(root, ("train", "test", held_out), passed)
    part = np.repeat(np.arange(len(parts)), [len(files) for files, _ in parts])
    is_test = part == len(parts) - 1 if has_test else None
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
    """The folder that contains the class folders of the training images: train/, or the root.

    Raises:
        DataError: neither contains any.
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
    hint = "make a folder for each class, and put its images there"
    if not names and (loose := count_loose_images(train)):
        return _unlabelled(train, loose, f"{train.name}/<class>/*, two classes or more", hint)
    inside = train / names[0] if names else train
    if names and len(class_names_in(inside)) > 1:
        hint = f"if the classes are the folders in {inside}, name that folder; otherwise {hint}"
    return DataError(
        f"A classifier needs two classes or more; {train} has {len(names)}.",
        got=some_names(names) or "no class folders",
        expected="one folder per class",
        hint=hint,
    )


def _unlabelled(folder: Path, count: int, expected: str, hint: str) -> DataError:
    return DataError(
        f"The images in {folder} have no labels, because they are not in class folders.",
        got=f"{count:,} images without labels",
        expected=expected,
        hint=hint,
    )


def _exists(folder: Path) -> bool:
    """Whether a split has its own folder.

    Raises:
        DataError: the path is not a folder.
    """
    if not is_folder(folder) and os.path.lexists(folder):
        raise DataError(
            f"{folder} is not a folder.",
            got="a file or a broken link",
            expected=f"{folder.name}/<class>/*, or nothing with that name",
            hint=f"remove {folder}, or make it a folder of images",
        )
    return is_folder(folder)


def _calibration_folder(root: Path) -> str:
    """Name of the folder with the calibration split; empty if there is none.

    Raises:
        DataError: there are several.
    """
    candidates = [name for name in CALIBRATION_FOLDERS if _exists(root / name)]
    if len(candidates) > 1:
        raise DataError(
            f"Several folders in {root} could be the calibration split.",
            got=", ".join(candidates),
            expected=f"at most one of {', '.join(CALIBRATION_FOLDERS)}",
            hint="put their images into one of them, or move the others elsewhere",
        )
    return candidates[0] if candidates else ""


def _split_folder(
    folder: Path, train: Path, names: Sequence[str], passed: PassedOver
) -> tuple[list[str], IntArray]:
    """List a split that has its own folder: paths, and labels int64 [files].

    Raises:
        DataError: it has no class folders, or classes that train lacks.
    """
    classes = class_names_in(folder)
    if not classes and (loose := count_loose_images(folder)):
        raise _unlabelled(
            folder,
            loose,
            f"{folder.name}/<class>/*, with the classes of {train}",
            f"move {folder} elsewhere; a trained network classifies its images with: "
            "erde predict BUNDLE FOLDER",
        )
    unknown = sorted(set(classes) - set(names))
    if unknown:
        raise DataError(
            f"The {folder.name} split has classes that train lacks: {some_names(unknown)}.",
            expected=f"only classes of {train}",
            hint=f"add images of them to {train}, or remove their folders from {folder}",
        )
    return list_classes(folder, names, passed, allow_empty=True)


def _refuse_other_case(root: Path) -> None:
    """Check that no split folder would be ignored because of a capital letter.

    Raises:
        DataError: one would be.
    """
    for path in sorted(root.iterdir()):
        name = path.name.lower()
        if name in _SPLIT_FOLDERS and name != path.name and not (root / name).exists():
            raise DataError(
                f"{path} would be ignored: names of split folders are lowercase.",
                got=path.name,
                expected=name,
                hint=f"rename it: mv {path} {root / name}",
            )


def _no_train(root: Path, train: Path) -> DataError:
    """The error of a folder without training images, with what it contains instead."""
    got, hint = f"no folder {train}", ""
    inside = class_names_in(root) if is_folder(root) else ()
    similar = [name for name in inside if name.lower() in ("train", "training")]
    if not is_folder(root):
        got = "a file" if os.path.isfile(root) else "no such folder"  # noqa: PTH113 (long names)
        hint = "unpack it, and " if got == "a file" else ""
    elif similar:
        got += f", but {similar[0]!r}"
        hint = f"rename it: mv {root / similar[0]} {train}; or "
    elif inside:
        got += f", but {some_names(inside)}"
        hint = "put the classes to train on into a folder train; or "
    return DataError(
        f"There are no training images in {root}.",
        got=got,
        expected="train/<class>/*.png or <class>/*.png in it, in any image format",
        hint=f"{hint}name your folder as data.root in the recipe, or with erde run RECIPE "
        "--set data.root=FOLDER",
    )


def some_names(names: Sequence[str]) -> str:
    """The first names, quoted, and the number of the others, for a message."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(repr(name) for name in names[:_LISTED]) + more
