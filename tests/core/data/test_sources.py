"""Folders of images of every kind, and the digits."""

import io
import shutil
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from erde_cli.core.data.digits import DigitsSource
from erde_cli.core.data.folder_layout import folder_source
from erde_cli.core.data.folders import FolderSource
from erde_cli.core.errors import DataError
from erde_cli.core.events import Observer

from ..conftest import MakeFolder

RED, GREEN, BLUE, ORANGE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 100, 50)
WHITE = (255, 255, 255)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., np.ndarray]:
    """Save an image under a name, read it through a source, and return its pixels."""

    def save_and_read(
        image: Image.Image, name: str, size: int = 8, **options: object
    ) -> np.ndarray:
        (tmp_path / "c").mkdir()
        image.save(tmp_path / "c" / name, **options)
        source = FolderSource(tmp_path, ("c",), [str(tmp_path / "c" / name)], np.array([0]), None)
        source.decode(size, Observer())
        images, numbers = source.read(np.array([0]), size)
        assert numbers.tolist() == [0]
        assert images.shape == (1, size, size, 3)
        assert images.dtype == np.uint8
        return images[0]

    return save_and_read


def decoded(root: Path, size: int = 8, *, skip_unreadable: bool = False) -> FolderSource:
    source = folder_source(root, skip_unreadable=skip_unreadable)
    source.decode(size, Observer())
    return source


def palette_image() -> Image.Image:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([*GREEN, *ORANGE])
    return image


@pytest.mark.parametrize(
    ("image", "name", "options", "colour"),
    [
        (Image.new("RGB", (8, 8), ORANGE), "a.png", {}, ORANGE),
        (Image.new("RGB", (8, 8), ORANGE), "a.PNG", {}, ORANGE),
        (Image.new("RGB", (8, 8), ORANGE), "a.bmp", {}, ORANGE),
        (Image.new("RGB", (8, 8), ORANGE), "a.webp", {"lossless": True}, ORANGE),
        (Image.new("L", (8, 8), 77), "grey.png", {}, (77, 77, 77)),
        (Image.new("LA", (8, 8), (77, 0)), "grey-alpha.png", {}, WHITE),
        (Image.new("1", (8, 8), 1), "bits.png", {}, (255, 255, 255)),
        (Image.new("RGBA", (8, 8), (*ORANGE, 255)), "alpha.png", {}, ORANGE),
        (Image.new("RGBA", (8, 8), (*ORANGE, 0)), "clear.png", {}, WHITE),
        (palette_image(), "palette.png", {}, ORANGE),
        (palette_image(), "palette-index.png", {"transparency": 1}, WHITE),
        (palette_image(), "palette-bytes.png", {"transparency": bytes([0, 255])}, ORANGE),
        (palette_image(), "palette.gif", {"transparency": 0}, ORANGE),
        (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "print.tif", {}, RED),
        (Image.fromarray(np.full((8, 8), 32768, np.uint16)), "deep.png", {}, (128, 128, 128)),
        (Image.fromarray(np.full((8, 8), 32768, np.uint16)), "deep.tif", {}, (128, 128, 128)),
        (Image.fromarray(np.full((8, 8), 65535, np.uint16)), "deep.pgm", {}, (255, 255, 255)),
        (Image.fromarray(np.zeros((8, 8), np.uint16)), "deep.png", {}, (0, 0, 0)),
    ],
)
def test_every_kind_of_image_becomes_the_colours_that_are_seen(
    read: Callable[..., np.ndarray],
    image: Image.Image,
    name: str,
    options: dict[str, object],
    colour: tuple[int, int, int],
) -> None:
    pixels = read(image, name, **options)
    np.testing.assert_array_equal(pixels, np.broadcast_to(colour, (8, 8, 3)))


def test_a_cmyk_jpeg_becomes_rgb(read: Callable[..., np.ndarray]) -> None:
    pixels = read(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "print.jpg", quality=95)
    np.testing.assert_allclose(pixels, np.broadcast_to(RED, (8, 8, 3)), atol=12)


def test_sixteen_bits_keep_their_gradient(read: Callable[..., np.ndarray]) -> None:
    deep = np.broadcast_to(np.arange(8, dtype=np.uint16) * 8192, (8, 8))
    pixels = read(Image.fromarray(np.ascontiguousarray(deep)), "deep.png")
    assert pixels[0, :, 0].tolist() == [0, 32, 64, 96, 128, 160, 192, 224]


@pytest.mark.parametrize(
    ("orientation", "corners"),
    [(1, (RED, BLUE, RED)), (3, (BLUE, RED, BLUE)), (6, (RED, RED, BLUE)), (8, (BLUE, BLUE, RED))],
)
def test_a_photo_is_turned_as_its_camera_was_held(
    read: Callable[..., np.ndarray], orientation: int, corners: tuple[tuple[int, ...], ...]
) -> None:
    image = Image.new("RGB", (32, 32), RED)
    image.paste(BLUE, (16, 0, 32, 32))
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = read(image, "photo.jpg", size=32, exif=exif, quality=95).astype(int)
    seen = [pixels[0, 0], pixels[0, -1], pixels[-1, 0]]
    np.testing.assert_allclose(seen, corners, atol=5)


def test_the_first_frame_stands_for_an_animation(read: Callable[..., np.ndarray]) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    pixels = read(frames[0], "moving.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(pixels, np.broadcast_to(RED, (8, 8, 3)))


@pytest.mark.parametrize("given", [(1, 1), (3, 50), (64, 64), (8, 9)])
def test_an_image_of_another_size_fills_the_size_of_the_recipe(
    read: Callable[..., np.ndarray], given: tuple[int, int]
) -> None:
    pixels = read(Image.new("RGB", given, ORANGE), "a.png", size=8)
    np.testing.assert_array_equal(pixels, np.broadcast_to(ORANGE, (8, 8, 3)))


def test_a_resized_image_is_kept_whole(read: Callable[..., np.ndarray]) -> None:
    image = Image.new("RGB", (40, 20), RED)
    image.paste(BLUE, (20, 0, 40, 20))
    pixels = read(image, "wide.png", size=10)
    np.testing.assert_array_equal(pixels[:, :4], np.broadcast_to(RED, (10, 4, 3)))
    np.testing.assert_array_equal(pixels[:, 6:], np.broadcast_to(BLUE, (10, 4, 3)))


def truncated_png() -> bytes:
    whole = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(whole, "png")
    return whole.getvalue()[:1000]


BROKEN = {"truncated.png": truncated_png(), "text.png": b"no image at all", "empty.jpg": b""}


def test_files_that_cannot_be_read_are_left_out_and_told_once_where_that_is_wanted(
    make_images: MakeFolder,
) -> None:
    root = make_images({"train": {"a": 2, "b": 2}})
    whole, _ = decoded(root).read(np.arange(4), 8)
    for name, content in BROKEN.items():
        (root / "train" / "a" / name).write_bytes(content)
    source = decoded(root, skip_unreadable=True)
    assert source.skipped == []
    for _ in range(2):
        images, numbers = source.read(np.arange(7), 8)
        assert [source.files[number].name for number in numbers] == ["000.png", "001.png"] * 2
        np.testing.assert_array_equal(images, whole)
    assert sorted(path.name for path in source.skipped) == sorted(BROKEN)


def test_the_numbers_that_are_asked_for_are_read_in_their_order(make_images: MakeFolder) -> None:
    source = decoded(make_images({"train": {"a": 3, "b": 3}}), 6)
    everything, _ = source.read(np.arange(6), 6)
    images, numbers = source.read(np.array([4, 0, 3]), 6)
    assert numbers.tolist() == [4, 0, 3]
    np.testing.assert_array_equal(images, everything[[4, 0, 3]])


def test_pixels_and_labels_are_those_of_the_files(make_images: MakeFolder) -> None:
    source = decoded(make_images({"train": {"b": 2, "a": 3}, "test": {"b": 1}}), 6)
    images, _ = source.read(np.arange(6), 6)
    assert source.class_names == ("a", "b")
    assert source.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert source.is_test is not None
    assert source.is_test.tolist() == [False] * 5 + [True]
    for path, label, pixels in zip(source.files, source.labels, images, strict=True):
        assert path.parent.name == source.class_names[label]
        with Image.open(path) as image:
            np.testing.assert_array_equal(pixels, np.asarray(image))


def test_reading_leaves_the_warnings_of_the_process_alone(make_images: MakeFolder) -> None:
    root = make_images({"train": {"a": 20, "b": 20}})
    before = list(warnings.filters)
    decoded(root)
    assert warnings.filters == before


@pytest.mark.parametrize(
    "name",
    [".hidden.png", ".DS_Store", "notes.txt", "Thumbs.db", "labels.csv", "image", "a.png.part"],
)
def test_hidden_files_and_files_that_are_no_image_are_passed_over(
    make_images: MakeFolder, name: str
) -> None:
    root = make_images({"train": {"a": 2, "b": 2}})
    source = decoded(root)
    (root / "train" / "a" / name).write_bytes(b"anything")
    (root / "train" / name).write_bytes(b"anything")
    assert folder_source(root).files == source.files
    assert decoded(root).digest() == source.digest()


@pytest.mark.parametrize("folder", [".thumbnails", "a/.thumbnails", "a/deeper/.thumbnails"])
def test_hidden_folders_are_passed_over(make_images: MakeFolder, folder: str) -> None:
    root = make_images({"train": {"a": 2, "b": 2}})
    expected = folder_source(root).files
    (root / "train" / folder).mkdir(parents=True)
    shutil.copy(expected[0], root / "train" / folder / "copy.png")
    assert folder_source(root).class_names == ("a", "b")
    assert folder_source(root).files == expected


def test_images_in_folders_below_a_class_belong_to_it(make_images: MakeFolder) -> None:
    root = make_images({"train": {"a": 1, "b": 1, "a/deeper/still": 2}})
    source = folder_source(root)
    assert source.class_names == ("a", "b")
    assert source.labels.tolist() == [0, 0, 0, 1]
    assert [path.relative_to(root / "train").as_posix() for path in source.files] == [
        "a/000.png",
        "a/deeper/still/000.png",
        "a/deeper/still/001.png",
        "b/000.png",
    ]


@pytest.mark.parametrize(
    "names", [("кот", "собака"), ("猫", "犬"), ("chat noir", "œuf"), ("0", "a")]
)
def test_a_class_may_have_a_name_in_any_script(
    make_images: MakeFolder, names: tuple[str, str]
) -> None:
    source = decoded(make_images({"train": dict.fromkeys(names, 2)}))
    assert {unicodedata.normalize("NFC", name) for name in source.class_names} == set(names)
    assert source.class_names == tuple(sorted(source.class_names))
    assert len(source.read(np.arange(4), 8)[1]) == 4


def test_a_test_class_may_lack_images(make_images: MakeFolder) -> None:
    source = folder_source(make_images({"train": {"a": 2, "b": 2}, "test": {"b": 1}}))
    assert source.is_test is not None
    assert source.labels[source.is_test].tolist() == [1]


COUNTS = {"train": {"a": 2, "b": 2}, "test": {"a": 1, "b": 1}}


def test_the_digest_stays_where_the_whole_folder_moves(
    make_images: MakeFolder, tmp_path: Path
) -> None:
    root = make_images(COUNTS)
    digest = decoded(root).digest()
    assert decoded(root).digest() == digest
    shutil.copytree(root, tmp_path / "else" / "where")
    assert decoded(tmp_path / "else" / "where").digest() == digest


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "train/a/000.png").write_bytes(b"other bytes"),
        lambda root: (root / "train/a/000.png").rename(root / "train/a/zzz.png"),
        lambda root: (root / "train/a/000.png").rename(root / "train/b/zzz.png"),
        lambda root: (root / "train/a/000.png").rename(root / "test/a/zzz.png"),
        lambda root: (root / "train/a/000.png").unlink(),
        lambda root: shutil.copy(root / "train/a/000.png", root / "train/a/copy.png"),
        lambda root: [(root / split / "a").rename(root / split / "c") for split in COUNTS],
        lambda root: [
            (root / "train/a/000.png").rename(root / "swap"),
            (root / "train/b/000.png").rename(root / "train/a/000.png"),
            (root / "swap").rename(root / "train/b/000.png"),
        ],
    ],
    ids=["bytes", "name", "label", "split", "fewer", "more", "class", "swapped"],
)
def test_the_digest_changes_with_bytes_labels_and_paths(
    make_images: MakeFolder, change: Callable[[Path], object]
) -> None:
    root = make_images(COUNTS)
    before = decoded(root).digest()
    change(root)
    assert decoded(root).digest() != before


def test_a_file_that_goes_away_is_an_error_of_the_data(make_images: MakeFolder) -> None:
    source = folder_source(make_images(COUNTS))
    source.files[0].unlink()
    with pytest.raises(DataError, match="Cannot open"):
        source.decode(8, Observer())


def test_the_digits_are_their_grey_values_from_0_to_255() -> None:
    source = DigitsSource()
    images, numbers = source.read(np.array([5, 0]), 8)
    assert numbers.tolist() == [5, 0]
    assert source.labels[[5, 0]].tolist() == [5, 0]
    assert len(source.labels) == 1797
    assert source.is_test is None
    assert (images.min(), images.max()) == (0, 255)
    assert images[1, 0, :4].tolist() == [[0] * 3, [0] * 3, [80] * 3, [207] * 3]
    assert source.digest() == DigitsSource().digest()
