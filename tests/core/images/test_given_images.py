"""Images in every form that a caller may hold: the same pixels, or one error of erde's own."""

from __future__ import annotations

import io
import mmap
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from erde_cli import Bundle, ErdeError, load
from erde_cli.core.data.given_images import pixels_of
from erde_cli.core.errors import DataError
from erde_cli.core.images import decoding, given_images
from erde_cli.core.images.pixels import PixelRules

SIZE = 8
RULES = [
    PixelRules(), PixelRules("black", 12, None, 0.875, "bicubic"), PixelRules("ignore", 0),
    PixelRules(crop_share=0.7),
]  # fmt: skip


@pytest.fixture(scope="module")
def bundle(finished_run: Path) -> Bundle:
    return load(finished_run / "student")


def photo(mode: str = "RGB", size: tuple[int, int] = (19, 13)) -> Image.Image:
    bands = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    return Image.fromarray(bands).convert(mode)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


PNG, JPEG = encoded(photo()), encoded(photo(size=(64, 64)), "JPEG")


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


class Reads:
    """A file object with the given `read`."""

    def __init__(self, read: Callable[..., Any]) -> None:
        self.read = read


def raises(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object) -> Any:
        raise error

    return fail


async def awaited(_: int) -> bytes:
    return PNG


def test_bytes_and_file_objects_are_what_the_file_is(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(PNG)
    behind = io.BytesIO(b"before" + PNG)
    behind.seek(6)
    few = io.BytesIO(PNG)
    with (
        path.open("rb") as file, path.open("rb", buffering=0) as raw, path.open("rb") as mapped,
        tempfile.NamedTemporaryFile() as named, tempfile.SpooledTemporaryFile() as spooled,
        mmap.mmap(mapped.fileno(), 0, access=mmap.ACCESS_READ) as mapping,
    ):  # fmt: skip
        for temporary in (named, spooled):
            temporary.write(PNG)
            temporary.seek(0)
        forms = [
            path, PNG, bytearray(PNG), memoryview(PNG), memoryview(b"x" + PNG)[1:], file, raw,
            named, spooled, mapping, io.BytesIO(PNG), behind, Reads(io.BytesIO(PNG).read),
            Reads(lambda: PNG), Reads(lambda size: few.read(7)), io.BufferedReader(io.BytesIO(PNG)),
        ]  # fmt: skip
        found = bundle.predict(forms)
        assert len(found) == len(forms)
        assert len(set(found)) == 1
        assert not file.closed
    for alone in (PNG, bytearray(PNG), memoryview(PNG), io.BytesIO(PNG)):
        assert [one.label for one in bundle.predict(alone)] == [found[0].label]


ORIENTED = Image.Exif()
ORIENTED[0x0112] = 6


@pytest.mark.parametrize(
    "content",
    [
        encoded(photo(), exif=ORIENTED), encoded(photo("RGBA")), encoded(photo("P")),
        encoded(photo("L")), encoded(photo("1")), encoded(photo("CMYK"), "TIFF"), JPEG,
        encoded(photo(), "JPEG", exif=ORIENTED), encoded(photo(), "WEBP"), encoded(photo(), "BMP"),
        encoded(Image.fromarray(np.arange(0, 65535, 655, dtype=np.uint16)[:96].reshape(8, 12))),
        encoded(photo(), "GIF", save_all=True, append_images=[Image.new("RGB", (19, 13))]),
        encoded(photo(), "TGA"),
        # Metadata that keep a file shut: it is opened without them.
        PNG[:33] + b"\0\0\0\0pHYs" + struct.pack(">I", zlib.crc32(b"pHYs")) + PNG[33:],
    ],
    ids=[
        "held sideways", "transparent", "palette", "grey", "one bit", "CMYK", "JPEG",
        "JPEG held sideways", "WebP", "BMP", "16 bit", "GIF of two", "TGA", "bad metadata",
    ],
)  # fmt: skip
@pytest.mark.parametrize("rules", RULES)
def test_pixels_are_those_of_the_file(content: bytes, rules: PixelRules, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    forms = [tmp_path / "file", content, io.BytesIO(content)]
    pixels = next(pixels_of(forms, SIZE, 3, rules))
    assert torch.equal(pixels[1], pixels[0])
    assert torch.equal(pixels[2], pixels[0])
    assert pixels[0].any()


@pytest.mark.parametrize("size", [(8, 8), (19, 13)])
@pytest.mark.parametrize("rules", RULES)
def test_an_array_is_resized_as_its_file(size: tuple[int, int], rules: PixelRules) -> None:
    image = photo(size=size)
    forms = [encoded(image), image, np.array(image), torch.from_numpy(np.array(image))]
    pixels = next(pixels_of(forms, SIZE, 4, rules))
    assert (pixels == pixels[0]).all()


def bomb() -> bytes:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(9))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


BAD_BYTES = {
    "no byte": (b"", "0 bytes"),
    "a text": (b"no image", "not a supported image format"),
    "a path": (b"photos/a.png", "not a supported image format"),
    "half a PNG": (PNG[: len(PNG) // 2], "cannot be read"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], "truncated"),
    "a head without a PNG": (PNG[:8], "cannot be read"),
    "a head without a JPEG": (JPEG[:3], "cannot be read"),
    "a JPEG with a broken table": (JPEG[:160] + b"\xff" * 200 + JPEG[360:], "cannot be read"),
    "a bomb": (bomb(), "DecompressionBomb"),
    "zeros": (bytes(1000), "not a supported image format"),
    "PostScript": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n",
        "not a supported image format",
    ),
}


@pytest.mark.parametrize("name", BAD_BYTES)
def test_bytes_that_are_no_image_are_refused_however_they_come(bundle: Bundle, name: str) -> None:
    content, reason = BAD_BYTES[name]
    forms: list[Any] = [
        content, bytearray(content), memoryview(content), io.BytesIO(content),
        [content], [io.BytesIO(PNG), io.BytesIO(content)],
    ]  # fmt: skip
    for form in forms:
        with pytest.raises(DataError, match="cannot be read as an image") as caught:
            bundle.predict(form)
        assert reason in str(caught.value)
        assert caught.value.got.endswith(" bytes")
        assert caught.value.hint
    assert "number 1, from 0" in caught.value.message


def closed_file() -> io.BytesIO:
    file = io.BytesIO(PNG)
    file.close()
    return file


def text_file() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(PNG), encoding="utf-8")


def closed_picture() -> Image.Image:
    picture = opened(PNG)
    picture.close()
    return picture


def released() -> memoryview:
    view = memoryview(PNG)
    view.release()
    return view


class Nowhere:
    def __fspath__(self) -> str:
        raise OSError("nowhere")


def pixels(kind: object) -> Any:
    return np.ones((SIZE, SIZE, 3), kind)  # type: ignore[call-overload]


def tensor(*shape: int, **options: Any) -> torch.Tensor:
    return torch.ones(*shape, **options)


# Each is made anew, so that none is spoilt by another.
BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "a closed file": (closed_file, "closed file"),
    "a file of text": (text_file, "'rb'"),
    "a file of text in Latin-1": (lambda: io.StringIO("no image"), "read() returns str, not bytes"),
    "an empty file of text": (lambda: io.StringIO(""), "0 bytes"),
    "a file that fails": (lambda: Reads(raises(OSError(5, "Input/output error"))), "Input/output"),
    "a file that is out of memory": (lambda: Reads(raises(MemoryError())), "MemoryError"),
    "a file that gives numbers": (lambda: Reads(lambda size: 7), "read() returns int, not bytes"),
    "a file that gives lists": (lambda: Reads(lambda size: [1]), "read() returns list, not bytes"),
    "a file that gives nothing": (lambda: Reads(lambda size: None), "0 bytes"),
    "a file that takes a name": (lambda: Reads(lambda name, more: PNG), "TypeError"),
    "a file that is awaited": (lambda: Reads(awaited), "awaited"),
    "a class of files": (lambda: io.BytesIO, "TypeError"),
    "a file at its end": (lambda: Reads(lambda size: b""), "file.seek(0)"),
    "a file open for writing": (lambda: io.BufferedWriter(io.BytesIO()), "UnsupportedOperation"),
    "a released view": (released, "released"),
    "a view of numbers": (lambda: memoryview(np.zeros((4, 4), np.float32)), "64 bytes"),
    "a closed picture": (closed_picture, "closed"),
    "half a PNG, opened": (lambda: opened(PNG[: len(PNG) // 2]), "cannot be used"),
    "half a JPEG, opened": (lambda: opened(JPEG[: len(JPEG) // 2]), "truncated"),
    "a picture of floats": (lambda: Image.new("F", (SIZE, SIZE)), "floating-point"),
    "a picture of no width": (lambda: Image.new("RGB", (0, SIZE)), "no pixels"),
    "a picture of no pixels": (lambda: Image.new("L", (0, 0)), "no pixels"),
    "a deep picture of no pixels": (lambda: Image.new("I", (0, 0)), "no pixels"),
    "float64": (lambda: pixels(np.float64), "float64"),
    "float16": (lambda: pixels(np.float16), "float16"),
    "int64": (lambda: pixels(np.int64), "int64"),
    "uint16": (lambda: pixels(np.uint16), "uint16"),
    "bool": (lambda: pixels(np.bool_), "bool"),
    "objects": (lambda: pixels(object), "object"),
    "complex numbers": (lambda: pixels(np.complex64), "complex64"),
    "an array of texts": (lambda: np.array(["a.png"]), "<U5"),
    "an array of bytes": (lambda: np.array([PNG]), "|S"),
    "a record": (lambda: np.zeros((8, 8), [("r", np.uint8)]), "[('r', 'u1')]"),
    "dates": (lambda: np.zeros((8, 8), "datetime64[s]"), "datetime64"),
    "a number as an array": (lambda: np.array(3, np.uint8), "uint8, []"),
    "one row": (lambda: np.zeros(SIZE, np.uint8), "[8]"),
    "channels first": (lambda: np.zeros((3, SIZE, SIZE), np.uint8), "[3, 8, 8]"),
    "four channels": (lambda: np.zeros((SIZE, SIZE, 4), np.uint8), "[8, 8, 4]"),
    "one channel": (lambda: np.zeros((SIZE, SIZE, 1), np.uint8), "[8, 8, 1]"),
    "no height": (lambda: np.zeros((0, SIZE, 3), np.uint8), "[0, 8, 3]"),
    "no channel": (lambda: np.zeros((SIZE, SIZE, 0), np.uint8), "[8, 8, 0]"),
    "a stack of no width": (lambda: np.zeros((2, SIZE, 0, 3), np.uint8), "[8, 0, 3]"),
    "a stack of floats": (lambda: np.zeros((2, SIZE, SIZE, 3)), "float64"),
    "five dimensions": (lambda: np.zeros((2, 2, SIZE, SIZE, 3), np.uint8), "[2, 8, 8, 3]"),
    "a tensor of floats": (lambda: tensor(SIZE, SIZE, 3), "torch.float32"),
    "a tensor of bfloat16": (lambda: tensor(SIZE, SIZE, 3, dtype=torch.bfloat16), "bfloat16"),
    "a stack of bfloat16": (lambda: tensor(2, SIZE, SIZE, 3, dtype=torch.bfloat16), "bfloat16"),
    "a tensor of bools": (lambda: tensor(SIZE, SIZE, 3, dtype=torch.bool), "torch.bool"),
    "a tensor with a gradient": (lambda: tensor(8, 8, 3, requires_grad=True), "torch.float32"),
    "a tensor without values": (
        lambda: tensor(SIZE, SIZE, 3, dtype=torch.uint8, device="meta"), "torch.uint8"),
    "a stack without values": (
        lambda: tensor(2, SIZE, SIZE, 3, dtype=torch.uint8, device="meta"), "torch.uint8"),
    "a sparse tensor": (lambda: tensor(SIZE, SIZE, dtype=torch.uint8).to_sparse(), "torch.uint8"),
    "a sparse stack": (
        lambda: tensor(2, SIZE, SIZE, 3, dtype=torch.uint8).to_sparse(), "torch.uint8"),
    "a number as a tensor": (lambda: torch.tensor(3, dtype=torch.uint8), "torch.uint8, []"),
    "a tensor of nothing": (lambda: torch.zeros(0, dtype=torch.uint8), "[0]"),
    "channels first, a tensor": (lambda: torch.zeros(3, 8, 8, dtype=torch.uint8), "[3, 8, 8]"),
    "None": (lambda: None, "NoneType"),
    "an int": (lambda: 7, "int"),
    "a float": (lambda: 0.5, "float"),
    "a list of None": (lambda: [None], "NoneType"),
    "a list of ints": (lambda: [1, 2], "int"),
    "a nested list": (lambda: [[PNG]], "list"),
    "a picture as lists": (lambda: [[[0, 0, 0]] * 8] * 8, "list"),
    "a dictionary": (lambda: {"image": PNG}, "No such file"),
    "an object": (object, "object"),
    "a function": (lambda: print, "builtin_function"),
    "no path": (lambda: "", "No such file"),
    "a path with a null": (lambda: "a\0b", "null"),
    "half a character in a path": (lambda: "\ud800.png", "ud800"),
    "a path of 5,000 letters": (lambda: "n" * 5000, "too long"),
    "a folder": (lambda: Path("/"), "directory"),
    "a path that fails": (Nowhere, "Nowhere"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_any_problem_with_an_image_is_a_data_error(bundle: Bundle, name: str) -> None:
    make, reason = BAD[name]
    for given, expected in ((make, reason), (lambda: [PNG, make()], "")):
        with pytest.raises(ErdeError) as caught:
            bundle.predict(given())
        assert expected in str(caught.value)
        assert caught.value.expected
        assert caught.value.hint
        assert len(str(caught.value)) < 6000


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_nested_tensor_is_the_images_in_it(bundle: Bundle) -> None:
    images = [torch.ones(8, 8, 3, dtype=torch.uint8), torch.ones(9, 7, 3, dtype=torch.uint8)]
    nested = torch.nested.nested_tensor(images)
    assert bundle.predict(nested) == bundle.predict(images)
    with pytest.raises(DataError, match="not an image"):
        bundle.predict([nested])


def test_what_a_generator_raises_is_its_own(bundle: Bundle) -> None:
    def images(error: BaseException) -> Iterator[bytes]:
        yield PNG
        raise error

    for error in (ValueError("mine"), OSError("mine"), KeyboardInterrupt("mine")):
        with pytest.raises(type(error), match="mine") as caught:
            bundle.predict(images(error))
        assert caught.value is error
    with pytest.raises(KeyboardInterrupt):
        bundle.predict(Reads(raises(KeyboardInterrupt())))


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("deep"), SystemError("odd")])
def test_what_libraries_raise_does_not_get_out(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    for home, name in ((decoding, "to_rgb"), (given_images, "to_rgb")):
        monkeypatch.setattr(home, name, raises(error))
    for image in (PNG, io.BytesIO(PNG), opened(PNG), np.zeros((9, 9), np.uint8)):
        with pytest.raises(DataError, match=type(error).__name__):
            bundle.predict(image)


def test_a_file_object_is_not_read_beyond_the_largest_file(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given_images, "LARGEST_FILE", len(PNG))
    monkeypatch.setattr(given_images, "_BLOCK", 100)
    assert len(bundle.predict([PNG, io.BytesIO(PNG)])) == 2
    endless = io.BytesIO(PNG + bytes(10_000))
    for image in (endless, PNG + b"\0", memoryview(PNG + b"\0"), Reads(lambda: PNG + b"\0")):
        with pytest.raises(DataError, match="larger than"):
            bundle.predict(image)
    assert endless.tell() <= len(PNG) + 100
    with Path("/dev/zero").open("rb") as zeros, pytest.raises(DataError, match="larger than"):
        bundle.predict(zeros)


def test_threads_may_decode_bytes_at_once(bundle: Bundle) -> None:
    expected = bundle.predict([PNG, JPEG])

    def ask(number: int) -> None:
        if number % 2:
            assert bundle.predict([io.BytesIO(PNG), JPEG]) == expected
        else:
            with pytest.raises(DataError):
                bundle.predict(JPEG[:500])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(32)))
