"""Copies of an image are in one split, whatever their names."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erde_cli.core.data.opening import open_dataset
from erde_cli.core.data.splits import SPLITS, carve
from erde_cli.core.errors import DataError
from erde_cli.core.recipe.sections.data import Data
from tests.core.data.test_dataset import Labels

from ..conftest import MakeFolder


def settings_for(root: Path, **more: Any) -> Data:
    return Data(dataset="imagefolder", root=str(root), image_size=8, **more)


def contents_of(root: Path, **more: Any) -> dict[str, list[bytes]]:
    """Bytes of the files of each split."""
    dataset = open_dataset(settings_for(root, **more))
    files = dataset.source.files  # type: ignore[attr-defined]
    return {
        split: [files[number].read_bytes() for number in dataset.splits[split]] for split in SPLITS
    }


def overlap(splits: dict[str, list[bytes]], one: str, other: str) -> int:
    return len({*splits[one]} & {*splits[other]})


def test_copies_of_an_image_are_all_in_one_split(make_images: MakeFolder) -> None:
    root = make_images({"train": {"a": 30, "b": 30}})
    for number in range(30):
        for copy in range(number % 3):
            shutil.copy(root / f"train/a/{number:03}.png", root / f"train/a/copy{number}{copy}.png")
    splits = contents_of(root, calibration_fraction=0.3, test_fraction=0.3)
    assert sum(map(len, splits.values())) == 90
    assert all(map(len, splits.values()))
    for one, other in (("train", "calibration"), ("train", "test"), ("calibration", "test")):
        assert overlap(splits, one, other) == 0


def test_without_copies_the_splits_are_those_of_the_numbers_alone() -> None:
    labels = np.repeat(np.arange(4), [50, 20, 7, 900])
    plain = carve(Labels(labels), Data(dataset="digits"))
    apart = carve(Labels(labels, first_same=np.arange(len(labels))), Data(dataset="digits"))
    assert all((plain[split] == apart[split]).all() for split in SPLITS)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), min_size=12, max_size=80),
    st.floats(0.02, 0.5),
    st.integers(0, 3),
)
@settings(deadline=None, max_examples=200)
def test_no_content_is_ever_in_two_splits_and_no_file_is_lost(
    files: list[tuple[int, int]], share: float, seed: int
) -> None:
    labels = np.array([label for label, _ in files])
    contents = np.array([content for _, content in files])
    _, first, group = np.unique(contents, return_index=True, return_inverse=True)
    recipe = Data(
        dataset="digits", calibration_fraction=share, test_fraction=share, split_seed=seed
    )
    source = Labels(np.append(labels, [0, 1, 2, 0, 1, 2]))
    extra = np.arange(6) + len(files)
    source.first_same = np.concatenate([first[group], extra])
    try:
        splits = carve(source, recipe)
    except DataError as error:
        said = ("Too few images", "No image is left for the calibration split")
        assert error.message.startswith(said)  # noqa: PT017 (either outcome is right)
        return
    numbers = np.concatenate(list(splits.values()))
    assert sorted(numbers) == list(range(len(source.labels)))
    seen = [set(source.first_same[splits[split]]) for split in SPLITS]
    assert len(seen[0] | seen[1] | seen[2]) == sum(map(len, seen))


def test_a_class_of_copies_of_one_image_stays_in_train(make_images: MakeFolder) -> None:
    root = make_images({"train": {"a": 20, "b": 20, "c": 1}})
    for copy in range(5):
        shutil.copy(root / "train/c/000.png", root / f"train/c/copy{copy}.png")
    dataset = open_dataset(settings_for(root))
    counts = {s: int((dataset.source.labels[dataset.splits[s]] == 2).sum()) for s in SPLITS}
    assert counts == {"train": 6, "calibration": 0, "test": 0}


@pytest.mark.parametrize("seed", range(10))
def test_what_another_class_has_as_well_is_not_drawn_from_a_class_without_more(
    seed: int, make_images: MakeFolder
) -> None:
    root = make_images({"train": {"a": 4, "b": 9}})
    shutil.copytree(root / "train/a", root / "train/c")
    for number in range(1, 4):
        (root / f"train/c/{number:03}.png").unlink()
        shutil.copy(root / "train/c/000.png", root / f"train/c/copy{number}.png")
    dataset = open_dataset(settings_for(root, split_seed=seed, test_fraction=0.4))
    assert (dataset.source.labels[dataset.splits["train"]] == 2).sum() == 4


def test_nothing_but_copies_cannot_be_split(make_images: MakeFolder) -> None:
    root = make_images({"train": {"a": 1, "b": 1}})
    for name in "ab":
        for copy in range(9):
            shutil.copy(root / f"train/{name}/000.png", root / f"train/{name}/copy{copy}.png")
    with pytest.raises(DataError, match="Too few images") as caught:
        open_dataset(settings_for(root))
    assert "copies not counted" in caught.value.got


def test_files_that_are_no_images_are_no_copies_of_each_other(make_images: MakeFolder) -> None:
    root = make_images({"train": {"a": 20, "b": 20}})
    for number in range(4):
        (root / f"train/a/empty{number}.png").write_bytes(b"")
    dataset = open_dataset(settings_for(root, unreadable="skip"))
    first = dataset.source.first_same
    assert first is not None
    assert (first == np.arange(44)).all()


@pytest.mark.parametrize("name", ["valid", "val", "validation", "calibration"])
@pytest.mark.parametrize("has_test", [False, True])
def test_a_folder_of_its_own_is_the_calibration_split(
    name: str, has_test: bool, make_images: MakeFolder
) -> None:
    test = {"test": {"a": 4, "b": 4}} if has_test else {}
    root = make_images({"train": {"a": 20, "b": 20}, name: {"a": 5, "b": 3}, **test})
    dataset = open_dataset(settings_for(root))
    paths = dataset.source.paths  # type: ignore[attr-defined]
    folders = {
        split: {Path(paths[n]).relative_to(root).parts[0] for n in dataset.splits[split]}
        for split in SPLITS
    }
    assert folders == {
        "train": {"train"}, "calibration": {name}, "test": {"test" if has_test else "train"}
    }  # fmt: skip
    assert len(dataset.splits["calibration"]) == 8
    assert len(dataset.splits["train"]) == (40 if has_test else 32)


def test_calibration_images_that_train_has_are_left_out(make_images: MakeFolder) -> None:
    root = make_images({"train": {"a": 20, "b": 20}, "valid": {"a": 5, "b": 5}})
    for number in range(3):
        shutil.copy(root / f"train/a/{number:03}.png", root / f"valid/a/again{number}.png")
    splits = contents_of(root)
    assert len(splits["calibration"]) == 10
    assert overlap(splits, "train", "calibration") == overlap(splits, "test", "calibration") == 0


def test_a_test_folder_stays_as_it_was_made(make_images: MakeFolder) -> None:
    root = make_images({"train": {"a": 20, "b": 20}, "test": {"a": 5, "b": 5}})
    for number in range(3):
        shutil.copy(root / f"train/a/{number:03}.png", root / f"test/a/again{number}.png")
    splits = contents_of(root)
    assert len(splits["test"]) == 13
    assert overlap(splits, "train", "test") + overlap(splits, "calibration", "test") == 3
