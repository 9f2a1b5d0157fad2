"""Images with intact pixels and odd metadata are decoded, and rotated by valid tags."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from erde_cli.core.data.given_images import pixels_of
from erde_cli.core.images.bare_images import without_metadata
from erde_cli.core.images.decoding import decode_files
from erde_cli.core.images.pixels import DEFAULT_RULES, to_rgb
from tests.core.images.odd_metadata import (
    BLOCKS,
    FILES,
    ORIENTATION,
    REFUSED,
    SIZE,
    app1,
    carried,
    exif,
    held,
    jpeg,
    saved,
)  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore")  # of Pillow, where a test opens a file itself

TURNED: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1), 6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1], 8: lambda a: a.swapaxes(0, 1)[::-1],
}  # fmt: skip


def decoded(path: Path, size: int = SIZE) -> NDArray[np.uint8]:
    found = decode_files([str(path)], size)
    assert (found.unreadable, found.unopened) == ({}, {})
    return np.frombuffer(found.pixels, np.uint8).reshape(size, size, 3)


def expected(kind: str, orientation: int) -> NDArray[np.uint8]:
    plain = jpeg() if kind.startswith("jpeg") else saved("PNG")
    return TURNED[orientation](np.asarray(Image.open(io.BytesIO(plain))))


@pytest.mark.parametrize(("block", "orientation"), BLOCKS.values(), ids=BLOCKS)
def test_an_odd_exif_block_hides_no_pixels_and_no_orientation(
    block: bytes, orientation: int, tmp_path: Path
) -> None:
    for kind, content in carried(block).items():
        (tmp_path / "a").write_bytes(content)
        right = expected(kind, orientation)
        np.testing.assert_array_equal(decoded(tmp_path / "a"), right, kind)
        with Image.open(tmp_path / "a") as image:
            info = image.info.copy()
            np.testing.assert_array_equal(next(pixels_of(image, SIZE, 1))[0], right, kind)
            assert all(image.info[key] == info[key] for key in ("exif", "xmp") if key in info)


@pytest.mark.parametrize(("name", "content", "orientation"), [(k, *v) for k, v in FILES.items()])
def test_other_odd_metadata_hides_neither(
    name: str, content: bytes, orientation: int, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(content)
    right = expected(name, orientation)
    np.testing.assert_array_equal(decoded(tmp_path / "a"), right)
    with Image.open(tmp_path / "a") as image:
        np.testing.assert_array_equal(next(pixels_of(image, SIZE, 1))[0], right)


@pytest.mark.parametrize(
    ("name", "content", "orientation"), [(k, *v) for k, v in REFUSED.items()], ids=REFUSED
)
def test_an_image_that_its_metadata_alone_keeps_shut_is_opened_without(
    name: str, content: bytes, orientation: int, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(content)
    np.testing.assert_array_equal(decoded(tmp_path / "a"), expected(name, orientation))
    with pytest.raises(Exception):  # noqa: B017, PT011 (of any kind; else the case shows nothing)
        Image.open(io.BytesIO(content)).load()


def given(image: Image.Image, size: int = SIZE) -> NDArray[np.uint8]:
    return next(pixels_of(image, size, 1))[0].numpy()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_ordinary_photo_is_turned_as_by_pillow(
    kind: str, orientation: int, tmp_path: Path
) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    tags[0x010F] = "a make"
    Image.fromarray(noise).save(tmp_path / "a", kind, exif=tags)
    with Image.open(tmp_path / "a") as image:
        right = np.asarray(to_rgb(ImageOps.exif_transpose(image), SIZE, DEFAULT_RULES)[0])
    np.testing.assert_array_equal(decoded(tmp_path / "a"), right)
    with Image.open(tmp_path / "a") as image:
        np.testing.assert_array_equal(given(image), right)
        np.testing.assert_array_equal(given(image.copy()), right)
        np.testing.assert_array_equal(given(image), right)  # it is as it was


@pytest.mark.parametrize("content", [jpeg(app1(exif(held()))), jpeg(app1(exif(held())), dpi=True)])
def test_an_orientation_set_by_hand_counts_more_than_that_of_the_file(content: bytes) -> None:
    for value in (1, 3, 8):
        image = Image.open(io.BytesIO(content))
        image.getexif()[ORIENTATION] = value
        np.testing.assert_array_equal(given(image), expected("jpeg", value))
    image = Image.open(io.BytesIO(content))
    del image.getexif()[ORIENTATION]
    np.testing.assert_array_equal(given(image), expected("jpeg", 1))
    image = Image.open(io.BytesIO(content))
    ImageOps.exif_transpose(image, in_place=True)
    np.testing.assert_array_equal(given(image), expected("jpeg", 6))
    made = Image.fromarray(expected("png", 1))
    made.getexif()[ORIENTATION] = 6
    np.testing.assert_array_equal(given(made), expected("png", 6))


def test_random_metadata_makes_no_sound_image_unreadable(tmp_path: Path) -> None:
    draw = np.random.default_rng(7)
    paths = []
    for number in range(400):
        block = bytearray(exif(held(), (0x011A, 10, 1, "L", 60), (0x8769, 4, 1, "L", 38)))
        block += draw.bytes(draw.integers(0, 60))
        for at in draw.integers(4, len(block), draw.integers(1, 12)):
            block[at] = draw.choice([0, 1, 2, 5, 8, 12, 255, draw.integers(256)])
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(jpeg(app1(bytes(block)), dpi=bool(number % 2)))
        paths.append(str(path))
    found = decode_files(paths, SIZE)
    assert found.unreadable == {}
    right = {turn(expected("jpeg", 1)).tobytes() for turn in TURNED.values()}
    length = 3 * SIZE * SIZE
    for start in range(0, len(found.pixels), length):
        assert found.pixels[start : start + length] in right


@pytest.mark.parametrize(
    "content", [jpeg(), saved("PNG"), saved("WEBP"), b"", b"\xff\xd8\xff", b"II*\0"]
)
def test_where_there_is_no_metadata_a_file_is_not_tried_again(content: bytes) -> None:
    assert without_metadata(content) is None


@pytest.mark.parametrize("name", list(REFUSED))
def test_pixels_that_are_broken_stay_so(name: str, tmp_path: Path) -> None:
    content = REFUSED[name][0]
    (tmp_path / "a").write_bytes(content[: len(content) // 2])
    assert list(decode_files([str(tmp_path / "a")], SIZE).unreadable) == [0]
