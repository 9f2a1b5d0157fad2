"""Bombs, giants and PostScript among images: unreadable files, and the rest goes on."""

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from erde_cli.core.images import decoding
from erde_cli.core.images.decoding import decode_files


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(width: int, height: int, *extra: bytes, rows: int = 0) -> bytes:
    """A grey PNG; of its rows, which are all black, as many as are asked for."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    lines = zlib.compress(bytes((width + 1) * rows))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + b"".join(extra)
        + chunk(b"IDAT", lines)
        + chunk(b"IEND", b"")
    )


def text_bomb(megabytes: int) -> bytes:
    return chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(megabytes * 10**6)))


def profile_bomb(megabytes: int) -> bytes:
    return chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(megabytes * 10**6)))


def saved_as(kind: str, width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (width, height)).save(stream, kind)
    return stream.getvalue()


BAD = chunk(b"pHYs", b"")  # dropped, and the image tried once more


def larger(content: bytes, kind: str) -> bytes:
    """An image whose header says that it has 60,000 x 60,000 pixels."""
    many = 60_000
    if kind == "GIF":
        return content[:6] + struct.pack("<HH", many, many) + content[10:]
    if kind == "BMP":
        return content[:18] + struct.pack("<ii", many, many) + content[26:]
    return content.replace(b"P5\n2 2", b"P5\n60000 60000")


@pytest.mark.parametrize(
    "content",
    [
        png(60_000, 60_000), png(2**31 - 1, 2**31 - 1), png(8, 8, text_bomb(80), rows=8),
        larger(saved_as("GIF", 2, 2), "GIF"), larger(saved_as("BMP", 2, 2), "BMP"),
        larger(saved_as("PPM", 2, 2), "PPM"),
        png(60_000, 60_000, BAD), png(8, 8, BAD, text_bomb(80), rows=8),
    ],
    ids=["png", "png of 4 exapixels", "zTXt", "gif", "bmp", "pgm", "png, bad", "zTXt, bad"],
)  # fmt: skip
def test_a_bomb_among_images_is_an_unreadable_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(content)
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "good.png")
    tracemalloc.start()
    found = decode_files([str(tmp_path / "bomb.png"), str(tmp_path / "good.png")], 8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert set(found.unreadable) == {0}
    assert found.pixels[192:195] == bytes((1, 2, 3))
    assert peak < 20_000_000


def test_an_image_of_a_hundred_megapixels_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(10_000, 10_000))
    assert "DecompressionBomb" in decode_files([str(tmp_path / "a.png")], 8).unreadable[0]


def test_a_colour_profile_that_unfolds_is_not_unfolded(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(8, 8, profile_bomb(80), rows=8))
    tracemalloc.start()
    decode_files([str(tmp_path / "a.png")], 8)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_many_frames_the_first_alone_is_decoded(kind: str, tmp_path: Path) -> None:
    frames = [Image.new("L", (64, 64), 40)] + [Image.new("L", (64, 64), n) for n in range(100)]
    frames[0].save(tmp_path / "a", kind, save_all=True, append_images=frames[1:])
    found = decode_files([str(tmp_path / "a")], 8)
    assert (found.unreadable, abs(found.pixels[0] - 40) < 3) == ({}, True)


def test_a_file_of_more_than_a_gigabyte_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "a.png").open("wb") as handle:
        handle.truncate(50 * decoding.LARGEST_FILE)
    found = decode_files([str(tmp_path / "a.png")], 8)
    assert "larger than" in found.unreadable[0]
    monkeypatch.setattr(decoding, "LARGEST_FILE", 200_000)
    assert "larger than" in decode_files(["/dev/zero"], 8).unreadable[0]


@pytest.mark.parametrize("name", ["a.eps", "a.png", "a.jpg"])
def test_postscript_is_never_handed_to_ghostscript(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_: pytest.fail("run"))
    text = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / name).write_text(text)
    assert "not a supported image format" in decode_files([str(tmp_path / name)], 8).unreadable[0]


def test_a_deep_image_takes_little_more_memory_than_itself(tmp_path: Path) -> None:
    deep = np.full((2000, 2000), 0x1234, np.uint16)
    deep[1500] = 0xFFFF
    Image.fromarray(deep).save(tmp_path / "a.png")
    tracemalloc.start()
    found = decode_files([str(tmp_path / "a.png")], 8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.pixels[0] == 0x12
    assert peak < 5 * deep.nbytes
