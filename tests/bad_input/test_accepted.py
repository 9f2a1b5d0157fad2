"""Input that looks odd and is none the worse: it works, and comes to what was meant."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from erde_cli.core.images.decoding import decode_files
from erde_cli.core.recipe.loading import load_recipe

from ..conftest import JsonOf
from .case import Files, recipe, written
from .pictures import chunk, encoded, png

GOOD = written(recipe({"name": "mine"}))

RECIPES: dict[str, tuple[str, bytes]] = {
    "a byte order mark": ("a.yaml", b"\xef\xbb\xbf" + GOOD.encode()),
    "Windows line ends": ("a.yaml", GOOD.replace("\n", "\r\n").encode()),
    "line ends of old": ("a.yaml", GOOD.replace("\n", "\r").encode()),
    "no line break at the end": ("a.yaml", GOOD.rstrip().encode()),
    "a beginning and an end": ("a.yaml", b"---\n" + GOOD.encode() + b"...\n"),
    "comments in any script": ("a.yaml", ("# Größe, 大きさ, حجم 🌸\n" + GOOD).encode()),
    "JSON": ("a.json", json.dumps(recipe({"name": "mine"})).encode()),
    "another ending": ("a.txt", GOOD.encode()),
    "a blank in the name": ("my recipe.yaml", GOOD.encode()),
    "a line break in the name": ("my\nrecipe.yaml", GOOD.encode()),
    "any script in the name": ("مِلَفّ-файл-文件-🌸.yaml", GOOD.encode()),
    "a dash before the name": ("-a.yaml", GOOD.encode()),
    "the name of a shipped one": ("digits", GOOD.encode()),
}


@pytest.mark.parametrize("name", RECIPES)
def test_an_odd_recipe_means_what_it_says(name: str, here: Path) -> None:
    file, content = RECIPES[name]
    (here / file).write_bytes(content)
    (here / "plain.yaml").write_text(GOOD, encoding="utf-8")
    assert load_recipe(file) == load_recipe("plain.yaml")


@pytest.mark.parametrize("stem", ["½ of it", "नमस्ते", "...", "a²", " ", "🌸", "x" * 240, "m͟e"])
def test_a_recipe_may_be_called_anything_where_it_names_no_run(stem: str, here: Path) -> None:
    (here / f"{stem}.yaml").write_text(written(recipe()), encoding="utf-8")
    assert load_recipe(f"{stem}.yaml").name


def test_a_name_from_json_may_have_any_character(here: Path) -> None:
    (here / "a.json").write_text(json.dumps(recipe({"data.dataset": "imagefolder",
                                                    "data.root": "🌸/花"})))  # fmt: skip
    assert load_recipe("a.json").data.root == str(here / "🌸" / "花")


def test_the_last_of_two_settings_of_one_key_counts(here: Path) -> None:
    assert load_recipe("digits", ["seed=1", "seed=2"]).seed == 2
    assert load_recipe("digits", ["seed=2"], seed=2).seed == 2


NAMES = (
    "катт",
    "猫",
    "قطة",
    "γάτα",
    "बिल्ली",
    "고양이",
    "gato ñ",
    "🐈",
    "-rf",
    "a.b",
    "[x]",
    'Ä\' "q"',
)


def tree(names: tuple[str, ...], count: int) -> Files:
    """An image folder with so many images of each class and a test split."""
    return {
        f"images/{split}/{name}/{number}.png": png(15 * place + number)
        for split in ("train", "test")
        for place, name in enumerate(names)
        for number in range(count)
    }


def folder_recipe() -> str:
    data = {"dataset": "imagefolder", "root": "images", "image_size": 8,
            "augmentation": {"crop": 1}}  # fmt: skip
    small = {"teacher.depth": 8, "teacher.width": 1, "teacher.exits": 1, "student.exits": 1}
    return written(recipe({"data": data, "training.teacher.epochs": 1, **small}))


def put(here: Path, files: Files) -> None:
    for name, content in files.items():
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def test_classes_may_have_names_in_any_script(here: Path, json_of: JsonOf) -> None:
    put(here, {**tree(NAMES, 2), "mine.yaml": folder_recipe()})
    json_of("train-teacher", "mine.yaml", "--out", "out", "--quiet")
    bundle = json.loads((here / "out" / "teacher" / "bundle.json").read_text("utf-8"))
    assert bundle["class_names"] == sorted(NAMES)


def test_what_lies_beside_images_is_passed_over_and_nothing_hangs(
    here: Path, json_of: JsonOf
) -> None:
    put(here, {**tree(("a", "b"), 3), "mine.yaml": folder_recipe(), "images/train/README": "x",
               "images/train/a/notes.txt": "x", "images/train/.hidden/0.png": png(),
               "elsewhere/0.png": png(1), "elsewhere/1.png": png(2)})  # fmt: skip
    inside = here / "images" / "train"
    os.mkfifo(inside / "a" / "pipe.png")
    (inside / "a" / "folder.png").mkdir()
    (inside / "a" / "round").symlink_to(".")
    (inside / "a" / "upwards").symlink_to("../..")
    (inside / "a" / "round.png").symlink_to("round.png")
    (inside / "a" / "linked.png").symlink_to("../../../elsewhere/0.png")
    (inside / "c").symlink_to("../../elsewhere")
    json_of("train-teacher", "mine.yaml", "--out", "out", "--quiet")
    bundle = json.loads((here / "out" / "teacher" / "bundle.json").read_text("utf-8"))
    assert bundle["class_names"] == ["a", "b", "c"]


RED, GREEN, GREY = (255, 0, 0), (0, 128, 0), (100, 100, 100)


def palette() -> bytes:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, *RED])
    return encoded(image, "PNG")


def animated(kind: str) -> bytes:
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), GREEN)
    options = {"lossless": True} if kind == "WEBP" else {}
    return encoded(first, kind, save_all=True, append_images=[second], duration=50, **options)


def turned() -> bytes:
    """A photo held on its side, which is one colour either way, 4 by 8."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(Image.new("RGB", (4, 8), RED), "JPEG", exif=exif, quality=95)


def with_large_text() -> bytes:
    """A PNG that says a lot of itself before its pixels."""
    whole = png(100)
    return whole[:33] + chunk(b"tEXt", b"Comment\0" + b"x" * 300_000) + whole[33:]


PICTURES: dict[str, tuple[bytes, tuple[int, int, int]]] = {
    "CMYK.jpg": (encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95), RED),
    "CMYK.tif": (encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF"), RED),
    "16 bit.png": (encoded(Image.new("I;16", (8, 8), 100 * 257), "PNG"), GREY),
    "16 bit.tif": (encoded(Image.new("I;16", (8, 8), 100 * 257), "TIFF"), GREY),
    "1 bit.png": (encoded(Image.new("1", (8, 8), 1), "PNG"), (255, 255, 255)),
    "grey.png": (encoded(Image.new("L", (8, 8), 100), "PNG"), GREY),
    "grey and alpha.png": (encoded(Image.new("LA", (8, 8), (100, 255)), "PNG"), GREY),
    "alpha.png": (encoded(Image.new("RGBA", (8, 8), (*RED, 255)), "PNG"), RED),
    "palette.png": (palette(), RED),
    "palette.gif": (encoded(Image.new("RGB", (8, 8), RED).quantize(4), "GIF"), RED),
    "animated.gif": (animated("GIF"), RED),
    "animated.png": (animated("PNG"), RED),
    "animated.webp": (animated("WEBP"), RED),
    "YCbCr.jpg": (encoded(Image.new("YCbCr", (8, 8), (100, 128, 128)), "JPEG", quality=95), GREY),
    "one pixel.png": (encoded(Image.new("RGB", (1, 1), RED), "PNG"), RED),
    "one row.png": (encoded(Image.new("RGB", (3000, 1), RED), "PNG"), RED),
    "one column.png": (encoded(Image.new("RGB", (1, 3000), RED), "PNG"), RED),
    "turned.jpg": (turned(), RED),
    "a lot of text.png": (with_large_text(), GREY),
    "bytes behind the end.png": (png(100) + b"more" * 100, GREY),
    "a PNG called.jpg": (png(100), GREY),
    "capitals.PNG": (png(100), GREY),
    "bitmap.bmp": (encoded(Image.new("RGB", (8, 8), RED), "BMP"), RED),
    "pixmap.ppm": (encoded(Image.new("RGB", (8, 8), RED), "PPM"), RED),
    "猫 🐈\n.png": (png(100), GREY),
}


@pytest.mark.parametrize("name", PICTURES, ids=repr)
def test_an_odd_picture_has_the_colour_that_is_seen(name: str, here: Path) -> None:
    content, colour = PICTURES[name]
    (here / name).write_bytes(content)
    found = decode_files([str(here / name)], 8)
    assert not found.unreadable
    pixels = list(found.pixels)
    assert all(abs(value - colour[place % 3]) <= 3 for place, value in enumerate(pixels))


def test_odd_pictures_are_predicted_like_plain_ones(trained: Path, json_of: JsonOf) -> None:
    for name, (content, colour) in PICTURES.items():
        (trained / "odd" / name).parent.mkdir(exist_ok=True)
        (trained / "odd" / name).write_bytes(content)
        plain = trained / "plain" / f"{name}.png"
        plain.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), colour).save(plain)
    odd = json_of("predict", "run/student", "odd", "--quiet")
    plain_ones = json_of("predict", "run/student", "plain", "--quiet")
    assert odd["failed"] == []
    classes = {Path(row["path"]).name: row["class_name"] for row in odd["images"]}
    assert classes == {
        Path(row["path"]).name.removesuffix(".png"): row["class_name"]
        for row in plain_ones["images"]
    }


def test_a_path_may_begin_at_home(trained: Path, json_of: JsonOf) -> None:
    home = Path(os.environ["HOME"])
    (trained / "run").rename(home / "my run")
    found = json_of("evaluate", "~/my run/student", "--out", "~/seen", "--quiet")
    assert found["images"] > 0
    assert (home / "seen" / "evaluation.json").is_file()
    assert not (trained / "~").exists()


def test_a_bundle_may_lie_behind_a_dash_a_blank_and_a_link(trained: Path, json_of: JsonOf) -> None:
    (trained / "run").rename(trained / "-my\nrun 花")
    (trained / "link").symlink_to("-my\nrun 花/student")
    assert (
        json_of("profile", "link")["exits"] == json_of("profile", "./-my\nrun 花/student")["exits"]
    )
