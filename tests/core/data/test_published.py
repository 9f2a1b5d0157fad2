"""CIFAR-10, CIFAR-100 and SVHN: exact pixels and labels, and files that are verified before use."""

import hashlib
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat

from erde_cli.core.data import published
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.data.published import PublishedSource
from erde_cli.core.data.published_files import PUBLISHED, data_root
from erde_cli.core.errors import DataError
from erde_cli.core.platform.torchvision_import import torchvision_datasets
from erde_cli.core.recipe.sections.data import NAMED, Data

from ...published_files import (
    CIFAR10_NAMES,
    CIFAR100_NAMES,
    EXTRA_FILE,
    FILES,
    WRITERS,
    Images,
    Labels,
    Written,
    accept,
    cifar10_batch,
    md5_of_bytes,
    planes,
    write_cifar10,
    write_mat,
    write_pickle,
    write_svhn,
)

NAMES = tuple(FILES)
EVERY_FILE = [(name, file) for name in NAMES for file in FILES[name]]
CLASS_NAMES = {
    "cifar10": CIFAR10_NAMES,
    "cifar100": CIFAR100_NAMES,
    "svhn": tuple("0123456789"),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Written]]:
    """All three data sets in one folder, three train and two test images a class; read only."""
    root = tmp_path_factory.mktemp("published")
    found = {name: WRITERS[name](root, 3, 2) for name in ("cifar10", "cifar100")}
    return root, {**found, "svhn": write_svhn(root, 3, 2, extra_per_class=1)}


@pytest.fixture
def content(written: tuple[Path, dict[str, Written]]) -> dict[str, Written]:
    return written[1]


@pytest.fixture
def root(
    written: tuple[Path, dict[str, Written]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A copy of the files, which torchvision takes for the published ones."""
    copy = tmp_path / "data"
    shutil.copytree(written[0], copy)
    accept(monkeypatch, copy)
    monkeypatch.setenv("ERDE_DATA", str(tmp_path / "elsewhere"))
    return copy


def everything(source: PublishedSource, size: int = 32) -> Images:
    images, numbers = source.read(np.arange(len(source.labels)), size)
    assert numbers.tolist() == list(range(len(source.labels)))
    assert images.dtype == np.uint8
    assert images.shape == (len(numbers), size, size, 3)
    return images


# What comes out


def test_the_facts_are_those_of_the_data_sets_that_a_recipe_can_name() -> None:
    assert tuple(PUBLISHED) == NAMED == NAMES
    sizes = {name: (f.classes, f.train_images, f.test_images) for name, f in PUBLISHED.items()}
    assert sizes == {
        "cifar10": (10, 50_000, 10_000),
        "cifar100": (100, 50_000, 10_000),
        "svhn": (10, 73_257, 26_032),
    }
    assert PUBLISHED["svhn"].extra_images == 531_131


@pytest.mark.parametrize("name", NAMES)
def test_pixels_labels_splits_and_names_are_those_of_the_files(
    root: Path, content: dict[str, Written], name: str
) -> None:
    source = PublishedSource(name, root)
    train, test = content[name].splits["train"], content[name].splits["test"]
    np.testing.assert_array_equal(everything(source), np.concatenate([train[0], test[0]]))
    assert source.labels.dtype == np.int64
    assert source.labels.tolist() == [*train[1], *test[1]]
    assert source.is_test is not None
    assert source.is_test.tolist() == [False] * len(train[1]) + [True] * len(test[1])
    assert source.class_names == CLASS_NAMES[name]
    assert set(source.labels.tolist()) == set(range(PUBLISHED[name].classes))


def test_the_class_names_of_cifar_are_the_published_ones_in_their_order(root: Path) -> None:
    assert PublishedSource("cifar10", root).class_names == (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    fine = PublishedSource("cifar100", root).class_names
    assert (fine[0], fine[2], fine[42], fine[99]) == ("apple", "baby", "leopard", "worm")
    assert len(set(fine)) == 100
    assert list(fine) == sorted(fine)


def test_a_row_of_cifar_is_three_planes_line_by_line(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = np.zeros((2, 3072), dtype=np.uint8)
    data[0, 1 * 32 + 2] = 200  # red: line 1, column 2
    data[0, 1024 + 3 * 32] = 150  # green: line 3, column 0
    data[1, 2048 + 31 * 32 + 4] = 100  # blue: line 31, column 4
    batch = {b"batch_label": b"", b"labels": [6, 9], b"data": data, b"filenames": [b"a", b"b"]}
    write_pickle(root / "cifar-10-batches-py" / "data_batch_1", batch)
    accept(monkeypatch, root)
    source = PublishedSource("cifar10", root)
    images, _ = source.read(np.array([0, 1]), 32)
    assert source.labels[:2].tolist() == [6, 9]
    assert lit(images) == {(0, 1, 2, 0): 200, (0, 3, 0, 1): 150, (1, 31, 4, 2): 100}


def test_svhn_is_height_width_colour_number_and_its_label_10_is_the_digit_0(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.zeros((32, 32, 3, 3), dtype=np.uint8)
    pixels[1, 2, 0, 0] = 200
    pixels[3, 0, 1, 0] = 150
    pixels[31, 4, 2, 1] = 100
    labels = np.array([[10], [1], [9]], dtype=np.uint8)
    savemat(root / "test_32x32.mat", {"X": pixels, "y": labels})
    accept(monkeypatch, root)
    source = PublishedSource("svhn", root)
    assert source.is_test is not None
    images, _ = source.read(np.flatnonzero(source.is_test), 32)
    assert lit(images) == {(0, 1, 2, 0): 200, (0, 3, 0, 1): 150, (1, 31, 4, 2): 100}
    assert source.labels[source.is_test].tolist() == [0, 1, 9]


def lit(images: Images) -> dict[tuple[int, ...], int]:
    """Values other than 0 by (image, line, column, colour)."""
    return {tuple(place.tolist()): int(images[tuple(place)]) for place in np.argwhere(images)}


def test_the_files_that_are_read_here_are_in_the_true_format(root: Path) -> None:
    raw = (root / "cifar-100-python" / "train").read_bytes()
    assert raw[:2] == b"\x80\x02"
    assert b"numpy.core.multiarray" in raw
    batch = pickle.loads(raw, encoding="bytes")  # noqa: S301
    assert set(batch) == {b"data", b"fine_labels", b"coarse_labels", b"batch_label", b"filenames"}
    assert batch[b"fine_labels"] != batch[b"coarse_labels"]
    assert batch[b"data"].shape == (300, 3072)
    found = loadmat(root / "train_32x32.mat")
    assert found["X"].shape == (32, 32, 3, 30)
    assert sorted(set(found["y"].ravel())) == list(range(1, 11))


@pytest.mark.parametrize("at_once", [1, 7, 4096])
def test_images_come_in_the_order_that_is_asked_for_from_every_part(
    root: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(published, "_AT_ONCE", at_once)
    source = PublishedSource("svhn", root, extra=True)
    whole = everything(source)
    chosen = np.array([59, 0, 31, 29, 50, 30, 3, 49, 3])
    progress: list[tuple[int, int]] = []
    images, numbers = source.read(chosen, 32, lambda done, total: progress.append((done, total)))
    assert numbers.tolist() == chosen.tolist()
    np.testing.assert_array_equal(images, whole[chosen])
    assert progress[-1] == (9, 9)
    assert source.read(chosen[:0], 32)[0].shape == (0, 32, 32, 3)


@pytest.mark.parametrize("size", [16, 48])
def test_images_are_resized_as_those_of_other_sources(root: Path, size: int) -> None:
    source = PublishedSource("cifar10", root)
    whole = everything(source)
    images = everything(source, size)
    for image, resized in zip(whole[::9], images[::9], strict=True):
        expected = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(resized, np.asarray(expected))


def test_the_extra_images_join_train_and_only_where_they_are_asked_for(
    root: Path, content: dict[str, Written]
) -> None:
    splits = content["svhn"].splits
    plain = open_dataset(Data(dataset="svhn", root=str(root)))
    more = open_dataset(Data(dataset="svhn", root=str(root), extra=True))
    assert len(plain.source.labels) == 50
    assert more.source.labels.tolist() == [
        *splits["train"][1],
        *splits["test"][1],
        *splits["extra"][1],
    ]
    assert more.splits["test"].tolist() == plain.splits["test"].tolist() == list(range(30, 50))
    kept = np.concatenate([more.splits["train"], more.splits["calibration"]])
    assert set(range(50, 60)) <= set(kept.tolist())
    images, _ = more.source.read(np.arange(50, 60), 32)
    np.testing.assert_array_equal(images, splits["extra"][0])
    assert more.fingerprint != plain.fingerprint


def test_the_published_test_images_are_the_test_split(root: Path) -> None:
    dataset = open_dataset(Data(dataset="cifar100", root=str(root)))
    assert dataset.splits["test"].tolist() == list(range(300, 500))
    assert dataset.skipped == []
    store = dataset.load("test")
    np.testing.assert_array_equal(store.labels.numpy(), dataset.source.labels[300:])


# Digests


def test_the_digest_stays_where_the_files_move(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(root, tmp_path / "else" / "where")
    for name in NAMES:
        digest = PublishedSource(name, root).digest()
        assert re.fullmatch("[0-9a-f]{64}", digest)
        assert PublishedSource(name, tmp_path / "else" / "where").digest() == digest
        monkeypatch.setattr(published, "_AT_ONCE", 7)
        assert PublishedSource(name, root).digest() == digest
        monkeypatch.undo()
        accept(monkeypatch, root)


@pytest.mark.parametrize("name", NAMES)
def test_the_digest_is_that_of_names_labels_splits_and_planes(
    root: Path, content: dict[str, Written], name: str
) -> None:
    """Bundles keep it: another definition would make their images other ones."""
    train, test = content[name].splits["train"], content[name].splits["test"]
    total = hashlib.sha256("\0".join(CLASS_NAMES[name]).encode())
    for label in [*train[1], *test[1]]:
        total.update(int(label).to_bytes(8, "little"))
    total.update(bytes(len(train[1])) + b"\1" * len(test[1]))
    total.update(planes(train[0]).tobytes() + planes(test[0]).tobytes())
    assert PublishedSource(name, root).digest() == total.hexdigest()


def change_pixel(images: Images, labels: Labels) -> tuple[Images, Labels]:
    images = images.copy()
    images[-1, -1, -1, -1] ^= 1
    return images, labels


def change_label(images: Images, labels: Labels) -> tuple[Images, Labels]:
    labels = labels.copy()
    labels[-1] = (labels[-1] + 1) % 10
    return images, labels


def mirror_lines_and_columns(images: Images, labels: Labels) -> tuple[Images, Labels]:
    return images.transpose(0, 2, 1, 3), labels


Change = Callable[[Images, Labels], tuple[Images, Labels]]


@pytest.mark.parametrize("change", [change_pixel, change_label, mirror_lines_and_columns])
@pytest.mark.parametrize("split", ["train", "test", "extra"])
def test_the_digest_changes_with_every_pixel_and_label(
    root: Path,
    content: dict[str, Written],
    monkeypatch: pytest.MonkeyPatch,
    change: Change,
    split: str,
) -> None:
    before = PublishedSource("svhn", root, extra=True).digest()
    write_mat(root / f"{split}_32x32.mat", *change(*content["svhn"].splits[split]))
    accept(monkeypatch, root)
    assert PublishedSource("svhn", root, extra=True).digest() != before


def test_the_digest_changes_with_names_and_splits(
    root: Path, content: dict[str, Written], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = PublishedSource("cifar10", root)
    before = source.digest()
    assert source.is_test is not None
    source.is_test[0] = True
    assert source.digest() != before
    meta = {b"label_names": [name.encode() for name in CIFAR10_NAMES[::-1]]}
    write_pickle(root / "cifar-10-batches-py" / "batches.meta", meta)
    accept(monkeypatch, root)
    assert PublishedSource("cifar10", root).digest() != before


# Integrity


@pytest.mark.parametrize(("name", "file"), [*EVERY_FILE, ("svhn", EXTRA_FILE)])
def test_one_flipped_bit_in_any_file_is_noticed_and_the_file_is_named(
    root: Path, name: str, file: str
) -> None:
    path = root / file
    whole = path.read_bytes()
    broken = bytearray(whole)
    broken[len(broken) // 2] ^= 1
    path.write_bytes(broken)
    with pytest.raises(DataError, match=f"{name} are missing or corrupt in {root}") as caught:
        PublishedSource(name, root, extra=file == EXTRA_FILE)
    assert caught.value.exit_code == 2
    assert caught.value.message.splitlines()[1:] == [
        f"  {file}: corrupt, got md5 {md5_of_bytes(broken)}, expected md5 {md5_of_bytes(whole)}"
    ]
    assert "0 missing and 1 corrupt" in caught.value.got
    path.write_bytes(whole)
    PublishedSource(name, root, extra=file == EXTRA_FILE)


@pytest.mark.parametrize(("name", "file"), [*EVERY_FILE, ("svhn", EXTRA_FILE)])
def test_a_missing_file_is_named(root: Path, name: str, file: str) -> None:
    (root / file).unlink()
    with pytest.raises(DataError) as caught:
        PublishedSource(name, root, extra=file == EXTRA_FILE)
    assert caught.value.message.splitlines()[1:] == [f"  {file}: missing"]
    assert "1 missing and 0 corrupt" in caught.value.got


def test_without_extra_its_file_is_not_needed(root: Path) -> None:
    (root / EXTRA_FILE).unlink()
    assert len(PublishedSource("svhn", root).labels) == 50


def test_a_folder_in_the_place_of_a_file_is_no_file(root: Path) -> None:
    (root / "train_32x32.mat").unlink()
    (root / "train_32x32.mat").mkdir()
    with pytest.raises(DataError, match=r"train_32x32\.mat: missing"):
        PublishedSource("svhn", root)


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("file", [*FILES["cifar10"], *FILES["cifar100"]])
def test_a_corrupt_file_is_never_unpickled(root: Path, tmp_path: Path, file: str) -> None:
    name = "cifar10" if file in FILES["cifar10"] else "cifar100"
    trap = tmp_path / "sprung"
    (root / file).write_bytes(pickle.dumps(Malicious(trap), protocol=2))
    with pytest.raises(DataError, match="corrupt"):
        open_dataset(Data(dataset=name, root=str(root)))  # type: ignore[arg-type]
    assert not trap.exists()
    pickle.loads((root / file).read_bytes())  # noqa: S301
    assert trap.exists()  # the trap works


def test_nothing_is_unpickled_while_any_file_is_bad(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("unpickled")

    (root / FILES["cifar10"][-1]).unlink()
    monkeypatch.setattr(pickle, "load", refuse)
    with pytest.raises(DataError):
        PublishedSource("cifar10", root)


def test_files_of_another_set_of_the_same_kind_are_not_taken_for_it(
    root: Path, content: dict[str, Written]
) -> None:
    images, labels = content["cifar10"].splits["test"]
    path = root / "cifar-10-batches-py" / "test_batch"
    write_pickle(path, cifar10_batch(images[::-1], labels[::-1], "testing batch 1 of 1"))
    with pytest.raises(DataError, match="test_batch: corrupt"):
        PublishedSource("cifar10", root)


def test_a_file_that_cannot_be_read_is_an_error_of_the_data(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(torchvision_datasets().utils, "calculate_md5", refuse)
    with pytest.raises(DataError, match=r"Cannot read .*data_batch_1: Permission denied"):
        PublishedSource("cifar10", root)


@pytest.mark.parametrize("name", NAMES)
def test_the_message_says_where_to_get_the_files_and_what_to_type(
    tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "my data"
    with pytest.raises(DataError) as caught:
        open_dataset(Data(dataset=name, root=str(folder)))  # type: ignore[arg-type]
    error = caught.value
    assert f"in {folder}:" in error.message
    assert all(f"{file}: missing" in error.message for file in FILES[name])
    assert PUBLISHED[name].page in error.expected
    assert f"erde data fetch {name} --root '{folder}'" in error.hint
    assert "--set data.download=true" in error.hint
    assert not folder.exists()
    if name == "svhn":
        for url, _, md5 in torchvision_datasets().SVHN.split_list.values():
            assert (f"{url} (md5 {md5})" in error.expected) == ("extra" not in url)
        assert f"put train_32x32.mat and test_32x32.mat into '{folder}'" in error.hint
        assert "tar" not in error.hint
    else:
        kind = getattr(torchvision_datasets(), name.upper())
        assert f"{kind.url} (md5 {kind.tgz_md5})" in error.expected
        assert f"tar -xzf '{folder}/{kind.filename}' -C '{folder}'" in error.hint


def test_only_what_is_wanting_is_to_be_fetched(root: Path) -> None:
    (root / EXTRA_FILE).unlink()
    with pytest.raises(DataError) as caught:
        PublishedSource("svhn", root, extra=True)
    assert "extra_32x32.mat (md5" in caught.value.expected
    assert "train_32x32.mat" not in caught.value.expected + caught.value.hint
    assert f"erde data fetch svhn --root {root} --extra" in caught.value.hint


# Where the files lie


def test_the_recipes_root_comes_before_the_variable_and_that_before_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ERDE_DATA", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert data_root() == tmp_path / "home" / ".cache" / "erde" / "data"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_root() == tmp_path / "cache" / "erde" / "data"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert data_root() == tmp_path / "home" / ".cache" / "erde" / "data"
    monkeypatch.setenv("ERDE_DATA", "~/mine")
    assert data_root() == tmp_path / "home" / "mine"
    monkeypatch.setenv("ERDE_DATA", "")
    assert data_root() == tmp_path / "home" / ".cache" / "erde" / "data"
    monkeypatch.setenv("ERDE_DATA", "~/mine")
    assert data_root(str(tmp_path / "given")) == tmp_path / "given"


def test_the_images_are_found_by_each_of_them(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERDE_DATA", str(root))
    by_variable = open_dataset(Data(dataset="cifar10"))
    monkeypatch.setenv("ERDE_DATA", str(tmp_path / "nothing"))
    by_root = open_dataset(Data(dataset="cifar10", root=str(root)))
    monkeypatch.delenv("ERDE_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(root, tmp_path / "cache" / "erde" / "data")
    by_cache = open_dataset(Data(dataset="cifar10"))
    assert by_variable.fingerprint == by_root.fingerprint == by_cache.fingerprint


def test_the_hint_leaves_the_root_out_where_it_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERDE_DATA", str(tmp_path))
    with pytest.raises(DataError) as caught:
        open_dataset(Data(dataset="cifar10"))
    assert caught.value.hint.startswith("erde data fetch cifar10, or")


def test_a_file_is_no_folder_for_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("")
    monkeypatch.setenv("ERDE_DATA", str(path))
    with pytest.raises(DataError, match="is a file, not a folder") as caught:
        open_dataset(Data(dataset="cifar10"))
    assert "ERDE_DATA" in caught.value.hint
    monkeypatch.setenv("ERDE_DATA", str(tmp_path))
    with pytest.raises(DataError, match="is a file, not a folder"):
        open_dataset(Data(dataset="cifar10", root=str(path)))


def test_without_a_home_a_folder_is_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("ERDE_DATA", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(DataError, match="no folder for data sets") as caught:
        data_root()
    assert "ERDE_DATA" in caught.value.hint


def test_a_folder_that_torchvision_has_filled_serves_as_it_is(root: Path) -> None:
    datasets = torchvision_datasets()
    cifar = datasets.CIFAR10(root, train=False)
    image, label = cifar[3]
    source = PublishedSource("cifar10", root)
    assert source.is_test is not None
    number = np.flatnonzero(source.is_test)[3]
    np.testing.assert_array_equal(source.read(np.array([number]), 32)[0][0], np.asarray(image))
    assert source.labels[number] == label


def test_cifar10_is_written_in_five_batches_that_come_in_order(tmp_path: Path) -> None:
    written = write_cifar10(tmp_path, 1, 1)
    found: list[int] = []
    for number in range(1, 6):
        raw = (tmp_path / f"cifar-10-batches-py/data_batch_{number}").read_bytes()
        found += pickle.loads(raw, encoding="bytes")[b"labels"]  # noqa: S301
    assert found == written.splits["train"][1].tolist()
