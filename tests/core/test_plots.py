"""Pictures of results."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from erde_cli.core.errors import InputError
from erde_cli.core.plots import Point, TradeOff, draw_trade_off

SWEEP = [Point(1e6, 0.5), Point(2e6, 0.8), Point(3e6, 0.9)]
WIDE = [Point(1e5, 0.5), Point(2e6, 0.8), Point(3e7, 0.9)]  # so wide that the axis is logarithmic
FULL = TradeOff("title", SWEEP, SWEEP, chosen=SWEEP[1], teacher=Point(9e6, 0.95))


@pytest.mark.parametrize(
    "picture",
    [
        FULL,
        TradeOff("no teacher", SWEEP, SWEEP, chosen=SWEEP[1], teacher=None),
        TradeOff("no thresholds", SWEEP, SWEEP, chosen=None, teacher=SWEEP[2]),
        TradeOff("neither", WIDE, WIDE, chosen=None, teacher=None),
        TradeOff("one exit", SWEEP[:1], SWEEP[:1], chosen=None, teacher=None),
    ],
    ids=lambda picture: picture.title,
)
def test_a_picture_is_a_png_of_its_size_with_something_on_it(
    tmp_path: Path, picture: TradeOff
) -> None:
    draw_trade_off(tmp_path / "a.png", picture)
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"
        assert image.size == (1080, 690)
        colours = image.convert("RGB").getcolors(maxcolors=2**24)
    assert colours is not None
    assert len(colours) > 10


def test_a_picture_is_an_svg_by_its_ending(tmp_path: Path) -> None:
    draw_trade_off(tmp_path / "a.svg", FULL)
    root = ET.parse(tmp_path / "a.svg").getroot()  # noqa: S314 (our own file)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(list(root.iter())) > 50


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_same_picture_is_the_same_bytes(tmp_path: Path, ending: str) -> None:
    for name in ("one", "two"):
        draw_trade_off(tmp_path / f"{name}.{ending}", FULL)
    one, two = ((tmp_path / f"{name}.{ending}").read_bytes() for name in ("one", "two"))
    assert len(one) > 1000
    assert one == two


@pytest.mark.parametrize(
    "other",
    [
        TradeOff("another title", SWEEP, SWEEP, chosen=SWEEP[1], teacher=Point(9e6, 0.95)),
        TradeOff("title", SWEEP, SWEEP, chosen=SWEEP[0], teacher=Point(9e6, 0.95)),
        TradeOff("title", SWEEP, SWEEP, chosen=None, teacher=Point(9e6, 0.95)),
        TradeOff("title", SWEEP, SWEEP, chosen=SWEEP[1], teacher=None),
        TradeOff("title", SWEEP, SWEEP[:2], chosen=SWEEP[1], teacher=Point(9e6, 0.95)),
    ],
    ids=["title", "chosen", "no thresholds", "no teacher", "exits"],
)
def test_everything_told_is_seen(tmp_path: Path, other: TradeOff) -> None:
    draw_trade_off(tmp_path / "full.png", FULL)
    draw_trade_off(tmp_path / "other.png", other)
    assert (tmp_path / "full.png").read_bytes() != (tmp_path / "other.png").read_bytes()


def test_a_folder_is_made_and_nothing_but_the_picture_is_left_in_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.png"
    draw_trade_off(path, FULL)
    assert [left.name for left in path.parent.iterdir()] == ["a.png"]


def test_a_file_in_the_place_of_the_folder_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="Cannot make the folder"):
        draw_trade_off(tmp_path / "file" / "a.png", FULL)
