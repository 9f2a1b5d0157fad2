"""What lies in a folder of images: splits, classes, and all that is neither."""

import shutil
import unicodedata
from pathlib import Path

import pytest

from erde_cli.core.data.folder_layout import folder_source
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.data.user_folders import Reading, open_labelled_folder
from erde_cli.core.errors import DataError
from erde_cli.core.images.named_paths import named_images
from erde_cli.core.images.passed_over import PassedOver
from erde_cli.core.images.pixels import DEFAULT_RULES
from erde_cli.core.recipe.sections.data import Data

from ..conftest import MakeFolder

NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


@pytest.fixture
def root(make_images: MakeFolder) -> Path:
    return make_images({"train": {"a": 12, "b": 12}, "test": {"a": 3, "b": 3}})


def passed(root: Path) -> PassedOver:
    return folder_source(root).passed_over


def test_classes_in_the_root_itself_are_all_train_and_splits_are_carved_out(
    make_images: MakeFolder, tmp_path: Path
) -> None:
    make_images({"": {"a": 30, "b": 40}, "nested": {"train/a": 30, "train/b": 40}})
    (tmp_path / "images/nested").rename(tmp_path / "nested")
    flat, nested = (
        open_dataset(Data(dataset="imagefolder", root=str(tmp_path / name), image_size=8))
        for name in ("images", "nested")
    )
    assert flat.class_names == nested.class_names == ("a", "b")
    for split in ("train", "calibration", "test"):
        assert flat.splits[split].tolist() == nested.splits[split].tolist()
    assert sum(map(len, flat.splits.values())) == 70
    assert all(map(len, flat.splits.values()))


@pytest.mark.parametrize("name", ["Train", "training", "valid", "TEST", "testing"])
def test_a_folder_that_may_be_a_split_is_no_class(name: str, make_images: MakeFolder) -> None:
    root = make_images({"": {"a": 3, "b": 3, name: 3}})
    with pytest.raises(DataError, match="no training images"):
        folder_source(root)


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("photo.HEIC", ".heic"),
        ("photo", "no ending"),
        ("photo.jpg?w=500", ".jpg?…"),
        ("photo.jpg?w=500&h=1.5", ".jpg?…"),
        ("notes.txt", ".txt"),
        ("photo.of a long holiday", "other endings"),
        ("photo.CR2", ".cr2"),
    ],
)
def test_files_that_are_not_read_are_counted_by_ending(name: str, ending: str, root: Path) -> None:
    before = folder_source(root).paths
    (root / "train/a/deeper").mkdir()
    for place in ("train/a", "train/a/deeper", "test/b"):
        shutil.copy(root / "train/a/000.png", root / place / name)
    found = folder_source(root)
    assert found.paths == before
    assert dict(found.passed_over.endings) == {ending: 3}


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("a.heic", "heif-convert photo.heic photo.jpg"),
        ("a.HEIF", "heif-convert"),
        ("a.nef", "Export them"),
        ("a.jpg?w=5", "to end in .jpg"),
        ("a", "without an ending"),
    ],
)
def test_what_is_likely_to_be_a_photo_is_named_with_what_to_do(
    name: str, advice: str, root: Path
) -> None:
    assert passed(root).advice() == []
    (root / "train/a" / name).write_bytes(b"x")
    assert [advice in line for line in passed(root).advice()] == [True]


@pytest.mark.parametrize("name", ["@eaDir", "__MACOSX", ".thumbnails", "#recycle", "lost+found"])
@pytest.mark.parametrize("place", ["", "train", "train/a", "train/a/deeper", "test/b"])
def test_images_in_folders_of_systems_are_left_out_and_counted(
    name: str, place: str, root: Path
) -> None:
    before = folder_source(root)
    inside = root / place / name / "more"
    inside.mkdir(parents=True)
    for number in range(3):
        shutil.copy(root / f"train/a/{number:03}.png", inside / f"{number}.jpg")
    found = folder_source(root)
    assert (found.class_names, found.paths) == (before.class_names, before.paths)
    assert dict(found.passed_over.system) == {name: 3}
    counted = PassedOver()
    paths = [one.path for one in named_images([str(root)], passed=counted)]
    assert (len(paths), dict(counted.system)) == (30, {name: 3})
    counted = PassedOver()
    pattern = str(root / "**" / "*.[jp][pn]g")
    paths = [one.path for one in named_images([pattern], passed=counted)]
    assert (len(paths), counted.system[name]) == (30, 3)


def test_what_lies_next_to_classes_and_splits_is_counted(root: Path) -> None:
    shutil.copy(root / "train/a/000.png", root / "train/loose.png")
    (root / "train/.DS_Store").write_bytes(b"x")
    (root / "train/a/._000.png").write_bytes(b"x")
    (root / "train/a/broken.png").symlink_to("nowhere.png")
    (root / "train/a/round").symlink_to("..")
    (root / "extra").mkdir()
    found = passed(root)
    assert found.to_json() == {
        "endings": {"broken links": 1, "links to folders": 1},
        "system_folders": {},
        "hidden": 2,
        "outside_classes": 1,
        "unused": ["extra"],
    }
    assert len(found.lines()) == 4


def test_classes_meet_whatever_the_unicode_form_of_their_folders(
    make_images: MakeFolder, tmp_path: Path
) -> None:
    root = make_images({"train": {"tea": 4}, "test": {"tea": 2}})
    for split, name in (("train", NFC), ("test", NFD)):
        (root / split / "tea").rename(root / split / "x")
        shutil.copytree(root / split / "x", root / split / name)
        (root / split / "x").rename(root / split / "tea")
    source = folder_source(root)
    assert source.class_names == (NFC, "tea")
    assert source.labels.tolist() == [0] * 4 + [1] * 4 + [0] * 2 + [1] * 2
    for names in ((NFC, "tea"), (NFD, "tea")):
        opened = open_labelled_folder(root / "test", names, Reading(8, DEFAULT_RULES))
        assert opened.source.labels.tolist() == [0] * 2 + [1] * 2


def test_two_unicode_forms_of_a_name_are_one_class(make_images: MakeFolder) -> None:
    root = make_images({"train": {"tea": 4, "x": 3, "y": 2}})
    (root / "train/x").rename(root / "train" / NFC)
    (root / "train/y").rename(root / "train" / NFD)
    source = folder_source(root)
    assert source.class_names == (NFC, "tea")
    assert source.labels.tolist() == [0] * 5 + [1] * 4


def test_a_users_folder_may_hold_the_split_under_any_of_its_names(make_images: MakeFolder) -> None:
    root = make_images({"val": {"a": 2, "b": 2}})
    opened = open_labelled_folder(root, ("a", "b"), Reading(8, DEFAULT_RULES), split="calibration")
    assert len(opened.splits["calibration"]) == 4


def test_the_second_start_knows_copies_without_reading_a_file(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(root / "train/a/000.png", root / "train/b/copy.png")
    recipe = Data(dataset="imagefolder", root=str(root), image_size=8)
    first = open_dataset(recipe)
    monkeypatch.setattr("erde_cli.core.images.image_files.decode_in_order", None)
    second = open_dataset(recipe)
    assert first.source.first_same is not None
    assert second.source.first_same is not None
    assert first.source.first_same.tolist() == second.source.first_same.tolist()
    assert (first.source.first_same != range(31)).sum() == 1
