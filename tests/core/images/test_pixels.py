"""What files leave open: transparency, more than 8 bits, several images."""

import io
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from erde_cli.core.data.given_images import pixels_of
from erde_cli.core.errors import DataError
from erde_cli.core.images import decoders
from erde_cli.core.images.decoders import decode_in_order
from erde_cli.core.images.decoding import Decoded, decode_files
from erde_cli.core.images.pixels import PixelRules, Traits, pixel_warnings
from erde_cli.core.platform.torchvision_import import torchvision_models

SIZE = 8
CROPS = [None, 0.875, 0.9, 1.0]  # None: squash
RED, GREEN, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (255, 255, 255), (0, 0, 0)


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def decoded(path: Path, rules: PixelRules) -> tuple[NDArray[np.uint8], Decoded]:
    found = decode_files([str(path)], SIZE, rules)
    return np.frombuffer(found.pixels, np.uint8).reshape(SIZE, SIZE, 3), found


def noise(height: int, width: int, channels: int = 3) -> NDArray[np.uint8]:
    seed = height * 1000 + width
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def palette(*colours: tuple[int, int, int]) -> Image.Image:
    image = Image.new("P", (SIZE, SIZE), 1)
    image.putpalette([value for colour in colours for value in colour])
    return image


CLEAR = {
    "RGBA": (Image.new("RGBA", (SIZE, SIZE), (*RED, 0)), "png", {}, RED),
    "grey and alpha": (Image.new("LA", (SIZE, SIZE), (77, 0)), "png", {}, (77, 77, 77)),
    "palette, one entry": (palette(GREEN, RED), "png", {"transparency": 1}, RED),
    "palette, alphas": (palette(GREEN, RED), "png", {"transparency": b"\xff\0"}, RED),
    "GIF": (palette(GREEN, RED), "gif", {"transparency": 1}, RED),
    "WebP": (Image.new("RGBA", (SIZE, SIZE), (*RED, 0)), "webp", {"lossless": True, "exact": True},
             RED),
    "TIFF": (Image.new("RGBA", (SIZE, SIZE), (*RED, 0)), "tif", {}, RED),
    "grey, one level": (Image.new("L", (SIZE, SIZE), 77), "png", {"transparency": 77}, (77,) * 3),
    "RGB, one colour": (Image.new("RGB", (SIZE, SIZE), RED), "png", {"transparency": RED}, RED),
}  # fmt: skip


@pytest.mark.parametrize("name", CLEAR)
def test_transparent_pixels_are_laid_on_what_the_recipe_says(name: str, tmp_path: Path) -> None:
    image, kind, options, below = CLEAR[name]
    path = saved(tmp_path / f"a.{kind}", image, **options)
    for rules, colour in (
        (PixelRules(), WHITE),
        (PixelRules("black"), BLACK),
        (PixelRules("ignore"), below),
    ):
        pixels, found = decoded(path, rules)
        assert (pixels == colour).all(), rules
        assert found.traits == Traits(transparent=1)
        with Image.open(path) as opened:
            assert (next(pixels_of(opened, SIZE, 1, rules)).numpy() == colour).all()
        assert (next(pixels_of(str(path), SIZE, 1, rules)).numpy() == colour).all()


def test_half_transparent_pixels_are_mixed_before_the_image_is_resized(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("RGBA", (20, 14), (*RED, 51)))
    assert (decoded(path, PixelRules())[0] == (255, 204, 204)).all()
    assert (decoded(path, PixelRules("black"))[0] == (51, 0, 0)).all()


def test_an_opaque_alpha_channel_changes_nothing_and_is_not_counted(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (13, 9, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    plain, _ = decoded(saved(tmp_path / "a.png", image), PixelRules())
    image.putalpha(255)
    for rules in (PixelRules(), PixelRules("black"), PixelRules("ignore")):
        pixels, found = decoded(saved(tmp_path / "b.png", image), rules)
        assert (pixels == plain).all()
        assert found.traits == Traits()


@pytest.mark.parametrize(
    ("value", "rules", "grey"),
    [
        (0x0FF0, PixelRules(), 0x0F),
        (0x0FF0, PixelRules(bit_depth=16), 0x0F),
        (0x0FF0, PixelRules(bit_depth=12), 0xFF),
        (0x0FF0, PixelRules(bit_depth=14), 0x3F),
        (0xFFFF, PixelRules(bit_depth=12), 255),  # clipped, with a warning
        (0xFFFF, PixelRules(), 255),
        (0x00AA, PixelRules(bit_depth=8), 0xAA),
        (0x00AA, PixelRules(), 0),
    ],
)
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_deep_grey_images_are_read_as_the_recipe_says_and_never_guessed(
    kind: str, value: int, rules: PixelRules, grey: int, tmp_path: Path
) -> None:
    image = Image.fromarray(np.full((SIZE, SIZE), value, np.uint16))
    pixels, found = decoded(saved(tmp_path / f"a.{kind}", image), rules)
    assert (pixels == grey).all()
    assert found.traits == Traits(deep=1, largest=value)


def test_the_depth_of_a_32_bit_image_is_never_guessed(tmp_path: Path) -> None:
    image = Image.fromarray(np.full((SIZE, SIZE), 200, np.int32))
    path = saved(tmp_path / "a.tif", image)
    assert (decoded(path, PixelRules())[0] == 0).all()
    assert (decoded(path, PixelRules(bit_depth=8))[0] == 200).all()


def wide_png(value: int) -> bytes:
    """Colour in 16 bits, which Pillow reads but does not write."""
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    row = b"\0" + struct.pack(">H", value) * 3 * SIZE
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", SIZE, SIZE, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(row * SIZE))
        + chunk(b"IEND", b"")
    )


def test_deep_colour_is_read_by_its_upper_8_bits_counted_and_never_scaled(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(wide_png(0x0FFF))
    pixels, found = decoded(tmp_path / "a.png", PixelRules())
    assert (pixels == 0x0F).all()
    assert found.traits == Traits(deep=1, largest=0x0FFF)
    _, found = decoded(tmp_path / "a.png", PixelRules(bit_depth=12))
    assert "bit_depth applies only to grey images" in found.unreadable[0]


@pytest.mark.parametrize("depth", [None, 12, 16])
def test_a_pgm_says_itself_how_many_bits_it_has(depth: int | None, tmp_path: Path) -> None:
    values = np.full((SIZE, SIZE), 0x0800, ">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 8 8 4095\n" + values.tobytes())
    pixels, found = decoded(tmp_path / "a.pgm", PixelRules(bit_depth=depth))
    assert (pixels == 0x80).all()
    assert found.traits == Traits()


def test_an_image_that_is_given_is_refused_as_its_file_is(tmp_path: Path) -> None:
    (tmp_path / "moving.gif").write_bytes(frames("GIF"))
    (tmp_path / "wide.png").write_bytes(wide_png(0x0FFF))
    for name, rules in (
        ("moving.gif", PixelRules(frames="refuse")), ("wide.png", PixelRules(bit_depth=12))
    ):  # fmt: skip
        with Image.open(tmp_path / name) as opened:
            for given in (tmp_path / name, opened):
                with pytest.raises(DataError, match=r"several images|only to grey images"):
                    next(pixels_of(given, SIZE, 1, rules))


def frames(kind: str) -> bytes:
    first, second = (Image.new("RGB", (SIZE, SIZE), colour) for colour in (RED, GREEN))
    options = {"lossless": True} if kind == "WEBP" else {}
    content = io.BytesIO()
    first.save(content, kind, save_all=True, append_images=[second], **options)
    return content.getvalue()


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP"])
def test_of_several_images_the_first_is_taken_or_the_file_is_refused(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(frames(kind))
    for rules in (PixelRules(), PixelRules(frames="first")):
        pixels, found = decoded(path, rules)
        assert (pixels == RED).all()
        assert found.traits == Traits(frames=1)
    _, found = decoded(path, PixelRules(frames="refuse"))
    assert "contains several images" in found.unreadable[0]
    assert found.traits == Traits()


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP", "JPEG", "BMP"])
def test_a_file_with_one_image_is_taken_wherever_several_are_refused(
    kind: str, tmp_path: Path
) -> None:
    path = saved(tmp_path / "a", Image.new("RGB", (SIZE, SIZE), RED), format=kind)
    _, found = decoded(path, PixelRules(frames="refuse"))
    assert (found.unreadable, found.traits) == ({}, Traits())


def test_a_photo_with_what_a_phone_adds_to_it_is_one_image(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(frames("MPO"))
    _, found = decoded(tmp_path / "a.jpg", PixelRules(frames="refuse"))
    assert (found.unreadable, found.traits) == ({}, Traits())


def test_processes_that_decode_go_by_the_same_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [str(saved(tmp_path / f"{i}.png", CLEAR["RGBA"][0])) for i in range(3)]
    (tmp_path / "moving.gif").write_bytes(frames("GIF"))
    deep = Image.fromarray(np.full((SIZE, SIZE), 0x0FF0, np.uint16))
    paths += [str(tmp_path / "moving.gif"), str(saved(tmp_path / "deep.png", deep))]
    monkeypatch.setattr(decoders, "_PAYS_FROM", 0)
    monkeypatch.setattr(decoders, "_length", lambda size: 1)
    Image.fromarray(noise(9, 23)).save(tmp_path / "noise.png")
    paths.append(str(tmp_path / "noise.png"))
    rules = PixelRules("black", 12, "refuse", 0.9, "bicubic")
    started: list[Any] = []
    real = decoders.Popen
    monkeypatch.setattr(decoders, "Popen", lambda *a, **k: started.append(a) or real(*a, **k))
    chunks = [found for _, found in decode_in_order(paths, (SIZE, rules), 1)]
    monkeypatch.undo()
    here = [decode_files([path], SIZE, rules) for path in paths]
    assert started
    assert [bytes(found.pixels) for found in chunks] == [bytes(one.pixels) for one in here]
    assert [found.traits for found in chunks] == [one.traits for one in here]
    assert [found.unreadable for found in chunks] == [one.unreadable for one in here]


@pytest.mark.parametrize(
    ("traits", "rules", "said"),
    [
        (Traits(), PixelRules(), None),
        (Traits(transparent=5), PixelRules(), None),
        (Traits(deep=2, largest=4095), PixelRules(), "bit_depth: 12"),
        (Traits(deep=2, largest=4096), PixelRules(), "bit_depth: 14"),
        (Traits(deep=2, largest=255), PixelRules(), "bit_depth: 8"),
        (Traits(deep=2, largest=65535), PixelRules(), None),
        (Traits(deep=2, largest=4095), PixelRules(bit_depth=16), None),
        (Traits(deep=2, largest=4095), PixelRules(bit_depth=12), None),
        (Traits(deep=2, largest=4096), PixelRules(bit_depth=12), "clips"),
        (Traits(frames=3), PixelRules(), "several images"),
        (Traits(frames=3), PixelRules(frames="first"), None),
    ],
)
def test_a_warning_is_shown_where_the_recipe_leaves_it_open(
    traits: Traits, rules: PixelRules, said: str | None
) -> None:
    found = pixel_warnings(traits, rules)
    assert [said in line for line in found] == ([] if said is None else [True])


def with_torchvision(image: Image.Image, size: int, rules: PixelRules) -> NDArray[np.uint8]:
    """What torchvision makes of an RGB image."""
    torchvision_models()  # makes torchvision importable
    transforms: Any = import_module("torchvision.transforms")
    mode = transforms.InterpolationMode(rules.interpolation)
    steps = [transforms.Resize((size, size), mode)]
    if rules.crop_share is not None:
        short = round(size / rules.crop_share)
        steps = [transforms.Resize(short, mode), transforms.CenterCrop(size)]
    return np.asarray(transforms.Compose(steps)(image))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("share", CROPS)
def test_the_pixels_are_those_of_torchvision(
    share: float | None, interpolation: Any, tmp_path: Path
) -> None:
    rules = PixelRules(crop_share=share, interpolation=interpolation)
    sizes = [(40, 40), (61, 41), (41, 60), (199, 33), (31, 200), (9, 5), (5, 8), (32, 32), (37, 37)]
    paths = [tmp_path / f"{width}.{height}.png" for width, height in sizes]
    for path, (width, height) in zip(paths, sizes, strict=True):
        Image.fromarray(noise(height, width)).save(path)
    for size in (32, 33):
        found = decode_files([str(path) for path in paths], size, rules)
        pixels = np.frombuffer(found.pixels, np.uint8).reshape(-1, size, size, 3)
        for path, image in zip(paths, pixels, strict=True):
            np.testing.assert_array_equal(image, with_torchvision(Image.open(path), size, rules))


def odd_files(folder: Path) -> dict[Path, Image.Image]:
    """Odd files, and the upright RGB image that each contains."""
    turned = Image.Exif()
    turned[0x0112] = 6
    files: dict[Path, Image.Image] = {}
    photo = Image.fromarray(noise(47, 31))
    photo.save(folder / "turned.jpg", exif=turned)
    files[folder / "turned.jpg"] = Image.open(folder / "turned.jpg").transpose(
        Image.Transpose.ROTATE_270
    )
    deep = noise(21, 43, 1)[..., 0].astype(np.uint16) << 8
    Image.fromarray(deep).save(folder / "deep.png")
    files[folder / "deep.png"] = Image.fromarray((deep >> 8).astype(np.uint8)).convert("RGB")
    some = photo.quantize(7)
    some.save(folder / "some.png", transparency=3)
    clear = Image.open(folder / "some.png").convert("RGBA")
    files[folder / "some.png"] = Image.alpha_composite(
        Image.new("RGBA", clear.size, "white"), clear
    ).convert("RGB")
    grey = Image.fromarray(noise(90, 22, 1)[..., 0])
    grey.save(folder / "grey.png")
    files[folder / "grey.png"] = grey.convert("RGB")
    return files


@pytest.mark.parametrize("share", [None, 0.875])
def test_a_file_becomes_upright_rgb_before_it_is_resized(
    share: float | None, tmp_path: Path
) -> None:
    rules = PixelRules(crop_share=share, interpolation="bicubic")
    for path, image in odd_files(tmp_path).items():
        pixels, _ = decoded(path, rules)
        np.testing.assert_array_equal(pixels, with_torchvision(image, SIZE, rules), path.name)
        given = next(pixels_of([path, Image.open(path)], SIZE, 2, rules)).numpy()
        np.testing.assert_array_equal(given, np.stack([pixels, pixels]), path.name)


def test_a_long_image_is_not_made_huge_to_be_cropped(tmp_path: Path) -> None:
    path = saved(tmp_path / "long.png", Image.new("L", (60_000, 1)))
    _, found = decoded(path, PixelRules(crop_share=0.1))
    assert "before the crop, it would be resized to 4,800,000 x 80 pixels;" in found.unreadable[0]
    _, found = decoded(path, PixelRules())
    assert found.unreadable == {}


def test_the_default_rules_keep_the_key_of_existing_caches() -> None:
    assert PixelRules().decisive() == ["white", 16, False]
    others = [PixelRules(crop_share=0.875), PixelRules(crop_share=0.9), PixelRules()]
    others += [one._replace(interpolation="bicubic") for one in others]
    assert len({str(one.decisive()) for one in others}) == 6
