"""The three splits: disjoint, stratified, and the same for every run."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.data.splits import SPLITS
from erde_cli.core.data.splits import carve as carve_splits
from erde_cli.core.data.user_folders import Reading, open_labelled_folder
from erde_cli.core.errors import DataError
from erde_cli.core.events import Observer
from erde_cli.core.images.listing import list_images
from erde_cli.core.images.passed_over import PassedOver
from erde_cli.core.images.pixels import DEFAULT_RULES
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.recipe.sections.data import Data

from ..conftest import MakeFolder

Splits = dict[str, NDArray[np.int64]]


@dataclass
class Labels:
    """A source of nothing but labels."""

    labels: NDArray[np.int64]
    is_test: NDArray[np.bool_] | None = None
    is_calibration: NDArray[np.bool_] | None = None
    first_same: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        self.class_names = tuple(str(label) for label in range(int(self.labels.max()) + 1))

    def digest(self) -> str:
        return "labels"

    def read(self, numbers: NDArray[np.int64], size: int, progress: Any = None) -> Any:
        raise AssertionError("splits are carved without reading an image")


def labels_of(sizes: list[int]) -> NDArray[np.int64]:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(0).permutation(labels)


def carve(source: Labels, **settings: Any) -> Splits:
    return carve_splits(source, Data(dataset="digits", **settings))  # type: ignore[return-value]


def settings_for(root: Path, **settings: Any) -> Data:
    return Data(dataset="imagefolder", root=str(root), image_size=8, **settings)


def lists(splits: Any) -> dict[str, list[int]]:
    return {name: numbers.tolist() for name, numbers in splits.items()}


SIZES = [[100, 100], [7, 50, 333], [4, 4, 1000], [1000] * 10, [11] * 9]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("split_seed", [0, 1])
@pytest.mark.parametrize("has_test", [False, True])
def test_the_splits_share_no_image_and_leave_none_out(
    sizes: list[int], split_seed: int, has_test: bool
) -> None:
    labels = labels_of(sizes)
    is_test = np.arange(len(labels)) % 5 == 0 if has_test else None
    splits = carve(Labels(labels, is_test), split_seed=split_seed)
    together = np.concatenate([splits[name] for name in SPLITS])
    assert set(splits) == {"train", "calibration", "test"}
    assert len(together) == len(labels)
    np.testing.assert_array_equal(np.sort(together), np.arange(len(labels)))
    assert all(len(splits[name]) > 0 for name in SPLITS)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.37, 0.5])
def test_every_class_gives_its_share_within_one_image(sizes: list[int], fraction: float) -> None:
    labels = labels_of(sizes)
    splits = carve(Labels(labels), test_fraction=fraction, calibration_fraction=fraction)
    for name, rest in (("test", len(labels)), ("calibration", len(labels) - len(splits["test"]))):
        left = [
            size if name == "test" else size - int(np.sum(labels[splits["test"]] == label))
            for label, size in enumerate(sizes)
        ]
        got = np.bincount(labels[splits[name]], minlength=len(sizes))
        exact = np.array(left) * round(fraction * rest) / rest
        assert np.all(np.abs(got - exact) <= 1)
        assert got.min() >= 1
    assert np.bincount(labels[splits["train"]], minlength=len(sizes)).min() >= 1


@pytest.mark.parametrize(
    ("train", "fraction", "expected"),
    [
        (12_000, 0.05, 1000),
        (12_000, 0.1, 1200),
        (10_000, 0.02, 1000),
        (9_990, 0.02, 200),
        (500, 0.1, 50),
    ],
)
def test_calibration_has_its_fraction_and_at_least_a_thousand_of_ten_thousand(
    train: int, fraction: float, expected: int
) -> None:
    labels = np.arange(train + 100, dtype=np.int64) % 10
    source = Labels(labels, np.arange(train + 100) >= train)
    splits = carve(source, calibration_fraction=fraction)
    assert len(splits["calibration"]) == expected
    assert len(splits["train"]) == train - expected
    assert len(splits["test"]) == 100


def test_a_tenth_is_calibrated_on_and_a_fifth_tested_on_where_nothing_is_said() -> None:
    splits = carve(Labels(labels_of([500, 500])))
    assert {name: len(splits[name]) for name in SPLITS} == {
        "train": 720, "calibration": 80, "test": 200,
    }  # fmt: skip


@pytest.mark.parametrize("sizes", [[1, 50], [50, 1], [2, 50]])
def test_a_class_too_small_to_be_split_is_named(sizes: list[int]) -> None:
    with pytest.raises(DataError, match="Too few images") as caught:
        carve(Labels(labels_of(sizes)))
    assert repr(str(int(np.argmin(sizes)))) in caught.value.got
    assert caught.value.expected


def test_the_splits_depend_on_the_seed_of_the_splits_only() -> None:
    first, again, other = (
        open_dataset(load_recipe("digits", seed=seed).data) for seed in (1, 2, 3)
    )
    assert lists(first.splits) == lists(again.splits) == lists(other.splits)
    assert first.fingerprint == again.fingerprint
    elsewhere = open_dataset(load_recipe("digits", ["data.split_seed=1"]).data)
    assert elsewhere.fingerprint != first.fingerprint
    for name in SPLITS:
        assert len(elsewhere.splits[name]) == len(first.splits[name])
        assert lists(elsewhere.splits)[name] != lists(first.splits)[name]


def test_the_calibration_split_is_drawn_apart_from_the_test_split() -> None:
    labels = labels_of([400, 400])
    large, small = (carve(Labels(labels), calibration_fraction=share) for share in (0.2, 0.1))
    np.testing.assert_array_equal(large["test"], small["test"])
    assert set(small["calibration"]) < set(large["calibration"])


COUNTS = {"train": {"a": 20, "b": 10}, "test": {"a": 3, "b": 4}}


def test_a_test_folder_is_the_test_split(make_images: MakeFolder) -> None:
    root = make_images(COUNTS)
    dataset = open_dataset(settings_for(root, split_seed=5))
    files = dataset.source.files  # type: ignore[attr-defined]
    test = {files[number] for number in dataset.splits["test"]}
    assert test == set((root / "test").rglob("*.png"))
    assert len(dataset.splits["calibration"]) == 3
    assert len(dataset.splits["train"]) == 27
    assert dataset.class_names == ("a", "b")


def test_a_test_split_is_carved_out_where_there_is_no_test_folder(
    make_images: MakeFolder,
) -> None:
    dataset = open_dataset(settings_for(make_images({"train": COUNTS["train"]})))
    labels = dataset.source.labels
    assert np.bincount(labels[dataset.splits["test"]]).tolist() == [4, 2]


def test_equal_data_elsewhere_has_the_same_fingerprint(
    make_images: MakeFolder, tmp_path: Path
) -> None:
    root = make_images(COUNTS)
    shutil.copytree(root, tmp_path / "elsewhere")
    here, there = (open_dataset(settings_for(path)) for path in (root, tmp_path / "elsewhere"))
    assert here.fingerprint == there.fingerprint
    assert lists(here.splits) == lists(there.splits)


@pytest.mark.parametrize(
    "settings", [{"split_seed": 1}, {"calibration_fraction": 0.2}, {"test_fraction": 0.3}]
)
def test_other_splits_have_another_fingerprint(
    make_images: MakeFolder, settings: dict[str, Any]
) -> None:
    root = make_images({"train": COUNTS["train"]})
    one, other = open_dataset(settings_for(root)), open_dataset(settings_for(root, **settings))
    assert one.fingerprint != other.fingerprint


def test_other_images_have_another_fingerprint(make_images: MakeFolder) -> None:
    root = make_images(COUNTS)
    before = open_dataset(settings_for(root)).fingerprint
    shutil.copy(root / "test/a/000.png", root / "test/a/001.png")
    assert open_dataset(settings_for(root)).fingerprint != before


def test_a_loaded_split_has_its_images_labels_and_numbers(make_images: MakeFolder) -> None:
    dataset = open_dataset(settings_for(make_images(COUNTS, size=(8, 8))))
    everything, _ = dataset.source.read(np.arange(37), 8)
    for split in SPLITS:
        store = dataset.load(split)
        np.testing.assert_array_equal(store.numbers, dataset.splits[split])
        np.testing.assert_array_equal(store.images.numpy(), everything[store.numbers])
        np.testing.assert_array_equal(store.labels.numpy(), dataset.source.labels[store.numbers])


def break_images(dataset: Dataset, split: Any, count: int) -> list[Path]:
    numbers = dataset.splits[split][:count]
    files = [dataset.source.files[number] for number in numbers]  # type: ignore[attr-defined]
    for path in files:
        path.write_bytes(b"broken")
    return files


def test_an_unreadable_test_image_is_found_by_a_check_before_anything_is_trained(
    make_images: MakeFolder,
) -> None:
    settings = settings_for(make_images(COUNTS))
    [broken] = break_images(open_dataset(settings), "test", 1)
    dataset = open_dataset(settings)
    dataset.check("train")
    with pytest.raises(DataError, match="1 file ") as caught:
        dataset.check("test")
    assert str(broken) in caught.value.message


def test_unreadable_images_are_skipped_by_the_setting_and_reported_once(
    make_images: MakeFolder,
) -> None:
    settings = settings_for(make_images(COUNTS), unreadable="skip")
    broken = break_images(open_dataset(settings), "test", 2)
    dataset = open_dataset(settings)
    dataset.check("test")
    store = dataset.load("test")
    np.testing.assert_array_equal(store.numbers, dataset.splits["test"][2:])
    np.testing.assert_array_equal(store.labels.numpy(), dataset.source.labels[store.numbers])
    assert sorted(dataset.skipped) == sorted(broken)


def test_a_split_of_which_nothing_can_be_read_is_refused(make_images: MakeFolder) -> None:
    settings = settings_for(make_images(COUNTS), unreadable="skip")
    break_images(open_dataset(settings), "test", 7)
    dataset = open_dataset(settings)
    with pytest.raises(DataError, match="The test split has no readable image"):
        dataset.load("test")


def test_the_digits_skip_nothing() -> None:
    dataset = open_dataset(load_recipe("digits").data)
    dataset.check("test")
    assert dataset.skipped == []
    assert len(dataset.load("test")) == 359


@pytest.mark.parametrize("below", ["", "test"])
def test_labelled_images_may_lie_in_the_folder_or_in_its_test_folder(
    make_images: MakeFolder, below: str
) -> None:
    root = make_images({below: {"b": 2, "c": 1}})
    dataset = open_labelled_folder(root, ("a", "b", "c"), Reading(8, DEFAULT_RULES))
    store = dataset.load("test")
    assert dataset.class_names == ("a", "b", "c")
    assert store.labels.tolist() == [1, 1, 2]
    assert store.images.shape == (3, 8, 8, 3)
    assert len(dataset.splits["train"]) == len(dataset.splits["calibration"]) == 0


def test_labelled_images_have_the_fingerprint_of_their_bytes(
    make_images: MakeFolder, tmp_path: Path
) -> None:
    root = make_images({"": {"a": 2, "b": 2}})
    shutil.copytree(root, tmp_path / "copy")
    first, copy = (
        open_labelled_folder(path, ("a", "b"), Reading(8, DEFAULT_RULES))
        for path in (root, tmp_path / "copy")
    )
    assert first.fingerprint == copy.fingerprint
    (root / "a" / "000.png").write_bytes(b"other")
    assert (
        open_labelled_folder(root, ("a", "b"), Reading(8, DEFAULT_RULES)).fingerprint
        != first.fingerprint
    )


def test_fingerprints_and_labels_rest_on_names_in_the_order_of_their_letters(
    tmp_path: Path,
) -> None:
    """Frames are predicted as people count; what was trained on them must not change by it."""
    train = tmp_path / "train"
    for name in ("a", "b10", "b2"):
        (train / name).mkdir(parents=True)
        for number in (1, 2, 9, 10, 100):
            pixels = bytes((number, len(name), 7)) * 64
            (train / name / f"frame{number}.ppm").write_bytes(b"P6 8 8 255\n" + pixels)
    names = [f"frame{number}.ppm" for number in (1, 10, 100, 2, 9)]
    assert [Path(path).name for path in list_images(train, PassedOver())] == names * 3
    dataset = open_labelled_folder(train, ("a", "b10", "b2"), Reading(8, DEFAULT_RULES))
    assert dataset.load("test").images[:5, 0, 0, 0].tolist() == [1, 10, 100, 2, 9]
    assert dataset.fingerprint == "371ff0ba093a0d1a411538c296c35f0b559335989d0f9c245452ab1bd7749e94"
    dataset = open_dataset(settings_for(tmp_path))
    assert dataset.class_names == ("a", "b10", "b2")
    assert dataset.fingerprint == "375f4c119e131343053fc2cbb959d9cf943fceaccd9ad7ad64861d1c29f13000"


def test_a_data_set_at_another_size_has_the_same_images_and_splits(make_images: MakeFolder) -> None:
    root = make_images({"train": {"a": 20, "b": 20}, "test": {"a": 3, "b": 3}}, size=(20, 10))
    dataset = open_dataset(settings_for(root))
    small = dataset.at(6)
    assert small.fingerprint == dataset.fingerprint
    assert lists(small.splits) == lists(dataset.splits)
    assert dataset.at(6) is small
    assert dataset.at(8) is small.at(8) is dataset
    other = open_dataset(settings_for(root).model_copy(update={"image_size": 6}))
    for split in SPLITS:
        assert small.load(split).part(0, 9).shape[1:] == (6, 6, 3)
        assert dataset.load(split).part(0, 9).shape[1:] == (8, 8, 3)
        found, expected = (one.load(split).part(0, 99) for one in (small, other))
        assert bool((found == expected).all())


def test_digits_at_another_size_come_from_the_original_images() -> None:
    dataset = open_dataset(Data(dataset="digits", image_size=16))
    found = dataset.at(12).load("test").part(0, 999)
    expected = open_dataset(Data(dataset="digits", image_size=12)).load("test").part(0, 999)
    assert bool((found == expected).all())


def test_unreadable_files_are_warned_of_once_for_all_sizes(make_images: MakeFolder) -> None:
    root = make_images({"train": {"a": 20, "b": 20}, "test": {"a": 3, "b": 3}})
    broken = root / "test/a/001.png"
    broken.write_bytes(b"x")
    dataset = open_dataset(settings_for(root, unreadable="skip"))
    assert len(dataset.load("test")) == len(dataset.at(6).load("test")) == 5
    assert dataset.skipped == dataset.at(6).skipped == [broken]


def test_a_file_that_changes_between_two_sizes_is_noticed(make_images: MakeFolder) -> None:
    root = make_images({"train": {"a": 20, "b": 20}, "test": {"a": 3, "b": 3}})
    dataset = open_dataset(settings_for(root))
    (root / "test/a/001.png").write_bytes((root / "test/b/001.png").read_bytes())
    with pytest.raises(DataError, match="changed"):
        dataset.at(6).load("test")


def test_only_the_split_that_is_loaded_is_decoded_at_another_size(make_images: MakeFolder) -> None:
    root = make_images({"train": {"a": 20, "b": 20}, "test": {"a": 3, "b": 3}})
    decoded: list[int] = []

    class Watching(Observer):
        def progress(self, title: str, done: int, total: int) -> None:
            if title == "Decoding images":
                decoded.append(total)

    dataset = open_dataset(settings_for(root), Watching())
    assert decoded
    decoded.clear()
    small = dataset.at(6)
    assert decoded == []
    for split, count in (("test", 6), ("calibration", len(dataset.load("calibration")))):
        small.load(split)  # type: ignore[arg-type]
        assert {*decoded} == {count}
        decoded.clear()


def test_a_file_that_only_one_size_can_read_is_left_out_of_both(make_images: MakeFolder) -> None:
    """An extreme shape is refused where its short side would have to grow too much."""
    root = make_images({"train": {"a": 20, "b": 20}, "test": {"a": 3, "b": 3}})
    Image.new("RGB", (30_000, 20)).save(root / "test/a/001.png")
    whole = settings_for(root, unreadable="skip").model_copy(
        update={"image_size": 224, "resize": "crop"}
    )
    dataset = open_dataset(whole)
    small = dataset.at(64)
    assert len(dataset.load("test")) == len(small.load("test")) == 5
    # The other way round: the larger size is decoded later.
    first = open_dataset(whole.model_copy(update={"image_size": 64}))
    large = first.at(224).load("test")
    assert large.numbers.tolist() == dataset.load("test").numbers.tolist()
    assert bool((large.part(0, 9) == dataset.load("test").part(0, 9)).all())
    assert first.skipped == dataset.skipped
