"""Images that are not there, are none, or cannot be learned from."""

from __future__ import annotations

import io
import os
import socket
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from .case import Case, recipe, written
from .conftest import Refused
from .pictures import encoded, folder_of_images, giant, png

GOOD = folder_of_images()
BASE = recipe({
    "data": {"dataset": "imagefolder", "root": "images", "image_size": 8,
             "augmentation": {"crop": 1}},
    "training": {"teacher": {"epochs": 1}, "student": {"epochs": 1}},
})  # fmt: skip


def folder(
    name: str,
    *says: str,
    without: str = "\0",
    beside: Mapping[str, str | bytes] | None = None,
    prepare: Callable[[Path], object] | None = None,
    locked: str = "",
    line: str = "run mine.yaml --out out",
    **changes: Any,
) -> Case:
    """The good folder, without what begins in some way, and with something beside the rest."""
    files: dict[str, str | bytes] = {k: v for k, v in GOOD.items() if not k.startswith(without)}
    data = {f"data.{key}": value for key, value in changes.items()}
    files |= {"mine.yaml": written(recipe(data, BASE)), **(beside or {})}
    return Case(name, line, says, files, prepare, locked)


def broken(name: str, content: bytes, *says: str, file: str = "bad.png") -> Case:
    """One file among the good ones that is no image."""
    path = f"images/train/dark/{file}"
    return folder(name, path, "cannot be read", *says, beside={path: content})


def link(path: str, target: str) -> Callable[[Path], object]:
    def make(here: Path) -> None:
        (here / path).symlink_to(target)

    return make


def make_folder(path: str) -> Callable[[Path], object]:
    return lambda here: (here / path).mkdir(parents=True)


def make_bytes_folder(path: bytes) -> Callable[[Path], object]:
    return lambda here: os.mkdir(os.path.join(os.fsencode(here), path))  # noqa: PTH102, PTH118


def zipped() -> bytes:
    place = io.BytesIO()
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("train/dark/0.png", png())
    return place.getvalue()


def tall(here: Path) -> None:
    (here / "images/train/dark/bad.png").write_bytes(giant())


FLOATS = encoded(Image.new("F", (8, 8), 0.5), "TIFF")
GIF = encoded(Image.effect_noise((32, 32), 50), "GIF")
JPEG = encoded(Image.effect_noise((32, 32), 50), "JPEG")

FOLDERS = [
    folder("no such folder", "nowhere", "no such folder", "data.root", root="nowhere"),
    folder("a root that is a file", "mine.txt", "a file", root="mine.txt", beside={"mine.txt": ""}),
    folder("a zip as a root", "images.zip", "a file", "unpack",
           root="images.zip", beside={"images.zip": zipped()}),
    folder("an empty root", "data.root", root=""),
    folder("a root with a name of 300 letters", "nnn", root="n" * 300),
    folder("a root that is a link to itself", "round", root="round", prepare=link(
        "round", "round")),
    folder("a root that is a link to nowhere", "never", "no such folder", root="gone",
           prepare=link("gone", "never")),
    folder("nothing in the folder", "images", "train/<class>", without="images",
           prepare=make_folder("images")),
    folder("no train", "no folder", "images/train", without="images/train"),
    folder("train is a file", "images/train", without="images/train",
           beside={"images/train": "x"}),
    folder("classes next to a split", "train/<class>", "dark", "valid", without="images",
           beside={f"images/{c}/0.png": png() for c in ("dark", "light", "valid/dark")}),
    folder("images without classes", "not in class folders", "1 images", without="images",
           beside={"images/train/0.png": png()}),
    folder("images without classes and train", "not in class folders", "2 images", without="images",
           beside={"images/0.png": png(), "images/1.png": png()}),
    folder("one class", "two classes or more", "has 1", "'dark'", without="images/train/light"),
    folder("one class without train", "two classes or more", "has 1", without="images",
           beside={"images/dark/0.png": png()}),
    folder("a folder that holds the folder", "two classes or more", "name that folder",
           without="images",
           beside={f"images/inner/{c}/0.png": png() for c in ("dark", "light")}),
    folder("an empty class without train", "'empty'", "no images", without="images",
           beside={f"images/{c}/0.png": png() for c in ("dark", "light")},
           prepare=make_folder("images/empty")),
    folder("a class without images", "'empty'", "no images", prepare=make_folder(
        "images/train/empty")),
    folder("a class of texts", "'texts'", "no images", beside={"images/train/texts/a.txt": "x"}),
    folder("a class of hidden files", "'hidden'", beside={"images/train/hidden/.a.png": png()}),
    folder("one image a class", "Too few images", "'dark', 'light'", without="images/train",
           beside={"images/train/dark/0.png": png(), "images/train/light/0.png": png(1)}),
    folder("two images a class and no test", "Too few images", "calibration", without="images",
           beside={f"images/train/{c}/{n}.png": png(n + 50 * (c == "light"))
                   for c in ("dark", "light") for n in (0, 1)}),
    folder("one image in one class", "Too few images", "'single'",
           beside={"images/train/single/0.png": png()}),
    folder("a class in test that train lacks", "'medium'", "train lacks", "images/train",
           beside={"images/test/medium/0.png": png()}),
    folder("a test class in other letters", "'Dark'", "train lacks",
           beside={"images/test/Dark/0.png": png()}),
    folder("Train in other letters", "no training images", "mv ", without="images/train",
           beside={"images/Train/dark/0.png": png(), "images/Train/light/0.png": png(1)}),
    folder("Valid in other letters", "would be ignored", "mv ",
           beside={"images/Valid/dark/0.png": png()}),
    folder("a flat test folder", "not in class folders", "erde predict BUNDLE FOLDER",
           without="images/test", beside={"images/test/0.png": png(), "images/test/1.png": png(1)}),
    folder("two calibration folders", "valid, val", "one of",
           beside={"images/val/dark/0.png": png(), "images/valid/dark/0.png": png(1)}),
    folder("a class in valid that train lacks", "'medium'", "classes that train lacks",
           beside={"images/valid/medium/0.png": png()}),
    folder("valid is a file", "images/valid", "is not a folder", beside={"images/valid": "x"}),
    folder("a class of HEIC alone", "'phone'", ".heic 1", "heif-convert",
           beside={"images/train/phone/0.HEIC": b"x"}),
    folder("nothing in test", "images/test", "no images", without="images/test",
           prepare=make_folder("images/test/dark")),
    folder("test is a file", "images/test", without="images/test", beside={"images/test": "x"}),
    folder("a line break in a class", r"'a\nb'", "printable",
           beside={"images/train/a\nb/0.png": png()}),
    folder("a class that is no UTF-8", "printable", "images/train",
           prepare=make_bytes_folder(b"images/train/\xff\xfe")),
    folder("a class that is a link to itself", "round", "a link", prepare=link(
        "images/train/round", "round")),
    folder("a class that is a link upwards", "'above'", "a folder above it", prepare=link(
        "images/train/above", "..")),
    folder("a class that is a link to train", "'above'", "a folder above it", prepare=link(
        "images/train/above", ".")),
    folder("a class that is a link to nowhere", "gone", "a link", prepare=link(
        "images/train/gone", "../../../gone")),
    folder("a folder that cannot be opened", "images", "Permission denied", locked="images"),
    folder("a train that cannot be opened", "train", "Permission denied", locked="train"),
    folder("a class that cannot be opened", "light", "Permission denied", locked="light"),
    folder("a folder below a class that cannot be opened", "deep", "Permission denied",
           locked="deep", beside={"images/train/dark/deep/0.png": png()}),
    folder("an image that cannot be opened", "3.png", "Permission denied", locked="3.png"),
    folder("cifar10 that is not there", "cifar10", "erde data fetch cifar10", "missing",
           dataset="cifar10", image_size=32),
    folder("cifar10 in a file", "mine.txt", "is a file", dataset="cifar10", root="mine.txt",
           beside={"mine.txt": "x"}),
    folder("the teacher alone, no such folder", "nowhere", root="nowhere",
           line="train-teacher mine.yaml --out out"),
    folder("a comparison, no such folder", "nowhere", root="nowhere",
           line="compare mine.yaml --out out"),
    folder("--set data.root, no such folder", "nowhere",
           line="run mine.yaml --out out --set data.root=nowhere"),
    folder("--set data.root without a value", "data.root",
           line="run mine.yaml --out out --set data.root="),
]  # fmt: skip

ALONE = [
    folder(f"{command}: {name}", *says, line=f"{command} images", **changes)
    for command in ("run", "plan", "init")
    for name, says, changes in (
        ("one class", ("two classes or more", "has 1"), {
            "without": "images", "beside": {"images/a/0.png": png()}}),
        ("no class", ("no training images", "train/<class>"), {
            "without": "images", "prepare": make_folder("images")}),
        ("images without labels", ("not in class folders", "2 images"), {
            "without": "images", "beside": {"images/0.png": png(), "images/1.png": png()}}),
        ("an empty class", ("'empty'", "no images"), {
            "prepare": make_folder("images/train/empty")}),
        ("nothing that can be read", ("can be read", "18 files"), {
            "without": "images",
            "beside": {f"images/{c}/{n}.png": b"x" for c in "ab" for n in range(9)}}),
        ("one image a class", ("Too few images",), {
            "without": "images", "beside": {f"images/{c}/0.png": png(ord(c)) for c in "ab"}}),
    )
] + [
    folder("init: a file in the place", "images.yaml already exists", "--out other.yaml",
           line="init images", beside={"images.yaml": "x"}),
    folder("init: a path that is no text", "UTF-8", line="init odd",
           prepare=lambda here: (here / "images").rename(here / "\udcff")
           and (here / "odd").symlink_to("\udcff")),
    folder("init: a folder in the place", "mine", "already", line="init images --out mine",
           prepare=make_folder("mine")),
    folder("run: a wrong override", "frobnicate", line="run images --set frobnicate"),
    folder("run: an unknown key", "frobnicate", line="run images --set frobnicate=1"),
    folder("train-teacher: a folder", "images is a folder", "erde init images",
           line="train-teacher images"),
    folder("run: a broken recipe of the run folder", "epochs", line="run images",
           beside={"runs/images/recipe.yaml": "training: {teacher: {epochs: many}}"}),
]  # fmt: skip

FILES = [
    broken("an empty file", b""),
    broken("a text", b"no image at all"),
    broken("a page of the web", b"<!DOCTYPE html><html>404</html>", file="bad.jpg"),
    broken("zeros", b"\0" * 1000),
    broken("the beginning of a PNG", png()[:20]),
    broken("a PNG cut off", png(side=64)[:-30]),
    broken("a PNG with a bit turned", png()[:45] + bytes([png()[45] ^ 255]) + png()[46:]),
    broken("a PNG without pixels", png()[:33] + png()[-12:]),
    broken("a JPEG cut off", JPEG[: len(JPEG) // 2], file="bad.jpg"),
    broken("a JPEG of its first bytes", JPEG[:4], file="bad.jpg"),
    broken("a GIF cut off", GIF[:40], file="bad.gif"),
    broken("floats", FLOATS, "floating-point", file="bad.tif"),
    broken("a zip called PNG", zipped()),
    broken("a bad file in a folder of a class", b"x", file="deep/bad.png"),
    folder("20,000 x 20,000 pixels", "bad.png", "cannot be read", "400000000 pixels", prepare=tall),
    folder("a bad file in test", "images/test/dark/bad.png", "cannot be read",
           beside={"images/test/dark/bad.png": b"x"}),
    folder("bad files in both", "2 files", "test/dark/bad.png", "train/dark/bad.png",
           beside={"images/test/dark/bad.png": b"x", "images/train/dark/bad.png": b"x"}),
    folder("100 bad files", "100 files", "... and 90 more",
           beside={f"images/train/dark/bad{n}.png": b"x" for n in range(100)}),
    folder("a class of bad files, left out", "'third'", "no readable training image",
           beside={f"images/train/third/{n}.png": b"x" for n in range(4)}, unreadable="skip"),
    folder("bad files alone, left out", "readable", without="images", unreadable="skip",
           beside={f"images/train/{c}/{n}.png": b"x" for c in "ab" for n in range(9)}),
]  # fmt: skip


@pytest.mark.parametrize("case", [*FOLDERS, *ALONE, *FILES], ids=str)
def test_bad_training_images_are_refused(case: Case, refused: Refused) -> None:
    refused(case)


def pipe(here: Path) -> None:
    os.mkfifo(here / "pipe.png")


def plug(here: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("plug.png")


def round_link(here: Path) -> None:
    (here / "round.png").symlink_to("round.png")


def own(name: str, line: str, *says: str, prepare: Callable[[Path], object] | None = None,
        files: Mapping[str, str | bytes] | None = None, locked: str = "", stdin: bytes = b"",
        ) -> Case:  # fmt: skip
    """A user's own images for a model that is there."""
    return Case(name, line, says, {"a/0/0.png": png(), "a/1/0.png": png(9), **(files or {})},
                prepare, locked, stdin)  # fmt: skip


PREDICT = "predict run/student"
EVALUATE = "evaluate run/student --data"
CALIBRATE = "calibrate run/student --max-drop 1 --data"
EXPORT = "export run/student --format torch-export --out x.pt2 --data"

OWN = [
    own("predict no such file", f"{PREDICT} gone.png", "gone.png", "No such file"),
    own("predict an empty folder", f"{PREDICT} empty", "empty", "no images in this folder",
        prepare=make_folder("empty")),
    own("predict a folder of texts", f"{PREDICT} texts", "texts", files={"texts/a.txt": "x"}),
    own("predict a pattern of nothing", f"{PREDICT} 'x*.png'", "x*.png", "matches this pattern"),
    own("predict nothing", f"{PREDICT} ''", "''"),
    own("predict an empty list", f"{PREDICT} -", "an empty list"),
    own("predict an empty list, live", f"{PREDICT} - --live", "an empty list"),
    own("predict a list of find -print0, live", f"{PREDICT} - --live", "find -print instead",
        stdin=b"a.png\0b.png\0"),
    own("predict a list of nothing", f"{PREDICT} -", "gone.png", stdin=b"gone.png\n"),
    own("predict a list of bytes", f"{PREDICT} -", "No such file", stdin=b"\xfa\xfb\n"),
    own("predict a list in UTF-16", f"{PREDICT} -", "got:      UTF-16\n", "iconv -f UTF-16",
        stdin="a.png\n".encode("utf-16")),
    own("predict a list in UTF-16 without a mark", f"{PREDICT} -", "null characters, as UTF-16",
        stdin="a.png\n".encode("utf-16-le")),
    own("predict a list of find -print0", f"{PREDICT} -", "find -print instead of -print0",
        stdin=b"a.png\0b.png\0"),
    own("predict a pipe", f"{PREDICT} pipe.png", "pipe.png", "neither", prepare=pipe),
    own("predict a plug", f"{PREDICT} plug.png", "plug.png", "neither", prepare=plug),
    own("predict a device", f"{PREDICT} /dev/zero", "/dev/zero", "neither"),
    own("predict a link to itself", f"{PREDICT} round.png", "round.png", "links",
        prepare=round_link),
    own("predict a name of 5,000 letters", f"{PREDICT} {'n' * 5000}", "too long"),
    own("predict a closed folder", f"{PREDICT} closed", "closed", "Permission denied",
        prepare=make_folder("closed"), locked="closed"),
    own("predict --quite", f"{PREDICT} --quite a", "--quite", "--quiet"),
    own("evaluate no such folder", f"{EVALUATE} gone", "gone", "--data"),
    own("evaluate a file", f"{EVALUATE} mine.txt", "mine.txt", files={"mine.txt": "x"}),
    own("evaluate an empty folder", f"{EVALUATE} empty", "empty", "one folder per class",
        prepare=make_folder("empty")),
    own("evaluate images without classes", f"{EVALUATE} flat", "flat", "one folder per class",
        files={"flat/0.png": png()}),
    own("evaluate other classes", f"{EVALUATE} b", "'cat', 'dog'", "0, 1, 2",
        files={"b/cat/0.png": png(), "b/dog/0.png": png()}),
    own("evaluate empty classes", f"{EVALUATE} b", "b", "no images", prepare=make_folder("b/0")),
    own("evaluate a bad file", f"{EVALUATE} a", "a/0/bad.png", "cannot be read",
        files={"a/0/bad.png": b"x"}),
    own("evaluate a closed class", f"{EVALUATE} b", "b/9", "Permission denied",
        files={"b/9/0.png": png(), "b/8/0.png": png()}, locked="9"),
    own("calibrate on no such folder", f"{CALIBRATE} gone", "gone", "--data"),
    own("calibrate on a file", f"{CALIBRATE} mine.txt", "mine.txt", files={"mine.txt": "x"}),
    own("calibrate on other classes", f"{CALIBRATE} b", "cat", files={"b/cat/0.png": png()}),
    *(own(f"calibrate on one image: {target}", f"calibrate run/student {target} --data b",
          "one image", files={"b/0/0.png": png()})
      for target in ("--max-drop 1", "--max-drop 1 --temperature", "--max-risk 0.3")),
    own("calibrate on a bad file", f"{CALIBRATE} a", "bad.png", files={"a/0/bad.png": b"x"}),
    own("calibrate on no such folder of images",
        "calibrate run/student --max-macs 0.5 --images gone", "gone", "--images"),
    own("calibrate on an empty folder of images",
        "calibrate run/student --max-macs 0.5 --images empty", "empty", "no images",
        prepare=make_folder("empty")),
    own("export, no such folder", f"{EXPORT} gone", "gone", "--data"),
    own("export, an empty folder", f"{EXPORT} empty", "empty", "no images",
        prepare=make_folder("empty")),
    own("export, a bad file", f"{EXPORT} a", "bad.png", files={"a/0/bad.png": b"x"}),
]  # fmt: skip


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("case", OWN, ids=str)
def test_a_users_own_bad_images_are_refused(case: Case, refused: Refused) -> None:
    refused(case)
