"""A folder with every fault that real folders have, from the first table to the guarantee."""

import json
import shutil
import struct
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from erde_cli.app import main
from erde_cli.core.bundle.trained_on import TRAINED_ON

from ..conftest import Cli, JsonOf

CAFE, CAFE_APART = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
RECIPE = """\
data: {dataset: imagefolder, root: photos, image_size: 8, augmentation: {crop: 1}}
teacher: {depth: 8, width: 2, exits: 2}
student: {depth: 8, width: 1, exits: 2}
training:
  teacher: {epochs: 2, batch_size: 16, learning_rate: 0.05}
  student: {epochs: 2, batch_size: 16, learning_rate: 0.05}
calibration: {max_drop: 50}
"""


def photo(path: Path, generator: np.random.Generator, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = generator.normal(level, 40, (10, 12, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(noise).save(path, format="PNG")


def odd_exif() -> bytes:
    """Orientation 6, and a negative XResolution."""
    entries = struct.pack("<HHIHH", 0x112, 3, 1, 6, 0) + struct.pack("<HHII", 0x11A, 10, 1, 38)
    head = b"Exif\0\0II*\0\x08\0\0\0\x02\0"
    return head + entries + b"\0" * 4 + struct.pack("<ii", -72, 1)


def make_messy(root: Path) -> None:
    """Photos of cafés and tea, and all that is among them."""
    generator = np.random.default_rng(0)
    for split, count, cafe in (
        ("train", 60, CAFE), ("valid", 20, CAFE), ("test", 20, CAFE_APART)
    ):  # fmt: skip
        for level, name in ((80, cafe), (170, "tea")):
            for number in range(count):
                photo(root / split / name / f"{number:03}.png", generator, level)
    add_what_is_left_out(root, generator)
    add_copies(root)
    tea = root / "train/tea"
    Image.new("RGBA", (12, 10), (255, 0, 0, 0)).save(tea / "clear.png")
    Image.fromarray(np.full((10, 12), 4000, np.uint16)).save(tea / "12bit.png")
    first, second = (Image.new("RGB", (12, 10), colour) for colour in ("red", "blue"))
    first.save(tea / "moving.gif", save_all=True, append_images=[second])
    first.save(tea / "odd.jpg", exif=odd_exif())


def add_what_is_left_out(root: Path, generator: np.random.Generator) -> None:
    """Files of other kinds, links, thumbnails of systems, a folder that no split uses."""
    tea = root / "train/tea"
    for number in range(7):
        (tea / f"IMG_{number}.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    for name in ("bare", "photo.jpg?w=500", "notes.txt", "Thumbs.db", ".hidden.png"):
        shutil.copy(tea / "000.png", tea / name)
    shutil.copy(tea / "000.png", root / "train/loose.png")
    (tea / "gone.png").symlink_to("nowhere.png")
    for number in range(5):
        for folder in (tea / "@eaDir", tea / ".thumbnails", root / "__MACOSX"):
            photo(folder / f"{number}.jpg", generator, 100)
    photo(root / "extra/0.png", generator, 100)


def add_copies(root: Path) -> None:
    """Copies within train, in another class, in valid and in test."""
    tea = root / "train/tea"
    for number in range(6):
        shutil.copy(tea / f"00{number}.png", tea / f"copy{number}.png")
    shutil.copy(tea / "007.png", root / "train" / CAFE / "wrong.png")
    for number in range(2):
        shutil.copy(tea / f"01{number}.png", root / f"valid/tea/again{number}.png")
    for number in range(3):
        shutil.copy(tea / f"02{number}.png", root / f"test/tea/again{number}.png")


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `photos`, `mine.yaml`, and `run`; read only."""
    here = tmp_path_factory.mktemp("messy")
    make_messy(here / "photos")
    (here / "mine.yaml").write_text(RECIPE)
    assert main(["run", str(here / "mine.yaml"), "--out", str(here / "run"), "--quiet"]) == 0
    return here


@pytest.fixture
def bundle(messy: Path, tmp_path: Path) -> Path:
    """A copy of the student that a test may change."""
    shutil.copytree(messy / "run/student", tmp_path / "student")
    return tmp_path / "student"


@pytest.fixture
def mine(messy: Path, tmp_path: Path) -> Path:
    """40 images that the network was not trained on, none a copy."""
    shutil.copytree(messy / "photos/valid", tmp_path / "mine")
    for path in (tmp_path / "mine/tea").glob("again*"):
        path.unlink()
    return tmp_path / "mine"


def test_one_table_shows_what_is_used_and_what_is_not(messy: Path, cli: Cli) -> None:
    code, _, err = cli("run", messy / "mine.yaml", "--out", messy / "run")
    assert code == 0, err
    table = [line for line in err.splitlines() if line.startswith("│")]
    rows = {cells[0].strip(): [*map(int, cells[1:])] for cells in _cells(table)}
    assert rows == {CAFE: [61, 20, 20], "tea": [70, 20, 23], "all": [131, 40, 43]}
    for line in (
        "calibration: the folder valid/",
        "test: the folder test/",
        "copies of other files, kept in one split: 7",
        "left out of calibration, because also in train or test: 2",
        "in test, but also in train or calibration: 3",
        "not read, by ending: .heic 7, .db 1, .jpg?… 1, .txt 1, broken links 1, no ending 1",
        "images in system folders, skipped: .thumbnails 5, @eaDir 5, __MACOSX 5",
        "hidden files and folders, skipped: 1",
        "images outside class folders, skipped: 1",
        "next to train, not used: extra",
        "Warning: Test images that are also in train or calibration: 3.",
        "Warning: Images that are also in the folder of another class: 1.",
        "train/tea/007.png has the content of ",
        "Warning: HEIC and HEIF files are not supported (7). Convert them",
        "Warning: Files with a ? in their names are not read (1)",
        "Warning: Files without an ending are not read (1)",
        "set bit_depth: 12 in the recipe's data section",
        "Warning: Files with several images, such as animated GIFs: 1.",
    ):
        assert line in err or _sorted(line) in _sorted(err), line


def _cells(rows: list[str]) -> list[list[str]]:
    return [row.strip("│").split("│") for row in rows]


def _sorted(text: str) -> str:
    """Counts in any order, where several are equal."""
    return "\n".join(" ".join(sorted(line.replace(",", "").split())) for line in text.split("\n"))


def test_the_table_comes_before_the_training(messy: Path, tmp_path: Path, cli: Cli) -> None:
    for command in ("train-teacher", "run"):
        code, _, err = cli(command, messy / "mine.yaml", "--out", tmp_path / command)
        assert code == 0, err
        assert err.index("│ tea") < err.index("Training the teacher")


@pytest.mark.parametrize("command", ["run", "train-teacher", "distill"])
def test_json_holds_the_same(command: str, messy: Path, tmp_path: Path, json_of: JsonOf) -> None:
    shutil.copytree(messy / "run", tmp_path / "run")
    again = ["--force"] if command == "run" else []
    data = json_of(command, messy / "mine.yaml", "--out", tmp_path / "run", *again)["data"]
    assert data["classes"] == [
        {"class_name": CAFE, "train": 61, "calibration": 20, "test": 20},
        {"class_name": "tea", "train": 70, "calibration": 20, "test": 23},
    ]
    assert data["origins"] == {"calibration": "the folder valid/", "test": "the folder test/"}
    assert data["passed_over"] == {
        "endings": {".heic": 7, ".txt": 1, ".db": 1, "no ending": 1, ".jpg?…": 1,
                    "broken links": 1},
        "system_folders": {"@eaDir": 5, ".thumbnails": 5, "__MACOSX": 5},
        "hidden": 1, "outside_classes": 1, "unused": ["extra"],
    }  # fmt: skip
    repeats = data["repeats"]
    assert (repeats["files"], repeats["in_calibration"], repeats["in_test"]) == (7, 2, 3)
    assert repeats["between_classes"] == len(repeats["class_examples"]) == 1


def test_digits_have_a_table_as_well(finished_run: Path, tiny_recipe: Path, cli: Cli) -> None:
    code, _, err = cli("run", tiny_recipe, "--out", finished_run)
    assert code == 0
    assert "test: drawn at random from all images" in err
    assert [cells[0].strip() for cells in _cells(err.splitlines()) if len(cells) == 4] == [
        *map(str, range(10)), "all"
    ]  # fmt: skip


@pytest.mark.parametrize("option", ["--data", "--images"])
def test_a_promise_on_copied_train_images_is_refused(
    option: str, messy: Path, bundle: Path, tmp_path: Path, cli: Cli
) -> None:
    shutil.copytree(messy / "photos/train", tmp_path / "copied", symlinks=True)
    for number, path in enumerate(sorted((tmp_path / "copied/tea").glob("0*.png"))):
        path.rename(path.with_name(f"renamed{number}.png"))
    before = (bundle / "thresholds.json").read_bytes()
    goal = ["--max-risk", "0.5", "--risk", "disagreement"]
    code, _, err = cli("calibrate", bundle, *goal, option, tmp_path / "copied")
    assert code == 2
    every = 131 if option == "--data" else 132  # with the one that lies in no folder of a class
    assert f"{every} of the {every} images in {tmp_path / 'copied'}." in err
    assert (bundle / "thresholds.json").read_bytes() == before
    code, _, err = cli("calibrate", bundle, "--max-macs", "0.9", option, tmp_path / "copied")
    assert code == 0
    assert "Warning: The network was trained on" in err


def test_a_single_train_image_among_others_is_found_and_named(
    messy: Path, bundle: Path, mine: Path, cli: Cli
) -> None:
    goal = ["--max-risk", "0.5", "--data", mine]
    assert cli("calibrate", bundle, *goal)[0] == 0
    shutil.copy(messy / "photos/train/tea/030.png", mine / "tea/holiday.png")
    code, _, err = cli("calibrate", bundle, *goal)
    assert code == 2
    assert "trained on 1 of the 41 images" in err
    assert "holiday.png" in err


@pytest.mark.parametrize("change", ["unlabelled", "renamed", "one removed", "one added"])
def test_images_that_were_tested_are_known_again_by_their_content(
    change: str, messy: Path, bundle: Path, mine: Path, cli: Cli
) -> None:
    assert cli("calibrate", bundle, "--max-risk", "0.5", "--data", mine)[0] == 0
    if change == "renamed":
        (mine / "tea/000.png").rename(mine / "tea/holiday.png")
    elif change == "one removed":
        (mine / "tea/000.png").unlink()
    elif change == "one added":
        shutil.copy(messy / "photos/test/tea/000.png", mine / "tea/more.png")
    option = "--images" if change == "unlabelled" else "--data"
    code, out, err = cli("calibrate", bundle, "--max-risk", "0.6", option, mine, "--json")
    assert code == 0
    assert "was tested for disagreement 50 % before" in err
    assert [one["epsilon"] for one in json.loads(out)["certificate"]["earlier"]] == [0.5]
    code, _, err = cli("calibrate", bundle, "--max-risk", "0.7", "--data", messy / "photos/test")
    assert code == 2 or "was tested for" not in err  # other images


def test_copies_among_the_images_of_a_promise_are_warned_of(
    messy: Path, bundle: Path, mine: Path, cli: Cli
) -> None:
    goal = ["--max-risk", "0.5", "--data", mine]
    assert "copies of others" not in cli("calibrate", bundle, *goal)[2]
    for number in range(3):
        shutil.copy(mine / "tea/000.png", mine / f"tea/copy{number}.png")
    code, _, err = cli("calibrate", bundle, *goal)
    assert code == 0
    assert "Warning: 3 of the 43 images are copies of others" in err
    assert "copies of others" not in cli("calibrate", bundle, "--max-drop", 1, *goal[2:])[2]


def test_an_evaluation_on_train_images_is_warned_of(
    messy: Path, bundle: Path, tmp_path: Path, cli: Cli
) -> None:
    shutil.copytree(messy / "photos/train", tmp_path / "copied", symlinks=True)
    code, _, err = cli("evaluate", bundle, "--data", tmp_path / "copied")
    assert code == 0
    assert "trained on 131 of the 131 images" in err
    code, _, err = cli("evaluate", bundle, "--data", messy / "photos/test")
    assert code == 0
    assert "trained on 3 of the 43 images" in err


def test_a_bundle_without_its_record_promises_nothing(messy: Path, bundle: Path, cli: Cli) -> None:
    (bundle / TRAINED_ON).unlink()
    goal = ["--max-risk", "0.5", "--data", messy / "photos/valid"]
    code, _, err = cli("calibrate", bundle, *goal)
    assert code == 2
    assert "missing or damaged" in err
    code, _, err = cli("evaluate", bundle, "--data", messy / "photos/test")
    assert code == 0
    assert "Warning: " in err
    assert "images the network was trained on are unknown" in err
    assert cli("predict", bundle, messy / "photos/test")[0] == 0  # which has no use for it


def test_predict_says_what_it_passes_over(messy: Path, bundle: Path, cli: Cli) -> None:
    code, out, err = cli("predict", bundle, messy / "photos/train/tea")
    assert code == 0
    assert "@eaDir" not in out
    for line in (
        "Not read, by ending: .heic 7",
        "Images in system folders, skipped: @eaDir 5, .thumbnails 5",
        "Warning: HEIC and HEIF files are not supported (7)",
        "bit_depth: 12",
        "Files with several images, such as animated GIFs: 1.",
    ):
        assert line in err or _sorted(line) in _sorted(err), line


def test_a_student_is_not_distilled_from_a_teacher_of_other_pixels(
    messy: Path, tmp_path: Path, cli: Cli
) -> None:
    line = ["distill", messy / "mine.yaml", "--teacher", messy / "run/teacher", "--out", tmp_path]
    code, _, err = cli(*line, "--set", "data.transparent=black", "--set", "data.bit_depth=12")
    assert code == 2
    assert "trained with other settings" in err
    assert "--set data.transparent=white --set data.bit_depth=16" in err


def test_the_record_is_as_large_as_the_images_are_many(messy: Path) -> None:
    files = json.loads((messy / "run/student/bundle.json").read_text())["trained_on"]["files"]
    assert files == 131 - 7  # each content once
    assert (messy / "run/student" / TRAINED_ON).stat().st_size == 8 * files
