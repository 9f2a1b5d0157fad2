"""Pictures of results."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from erde_cli.core.errors import ErdeError, InputError
from erde_cli.core.events import Observer
from erde_cli.core.storage import pictures as plots
from erde_cli.core.storage.cache import user_cache
from erde_cli.core.storage.pictures import Point
from erde_cli.core.workflows.evaluation_plot import TradeOff, draw_trade_off

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
    draw_trade_off(tmp_path / "a.png", picture, Observer())
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"
        assert image.size == (1080, 750)
        colours = image.convert("RGB").getcolors(maxcolors=2**24)
    assert colours is not None
    assert len(colours) > 10


def test_a_picture_is_an_svg_by_its_ending(tmp_path: Path) -> None:
    draw_trade_off(tmp_path / "a.svg", FULL, Observer())
    root = ET.parse(tmp_path / "a.svg").getroot()  # noqa: S314 (our own file)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(list(root.iter())) > 50


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_same_picture_is_the_same_bytes(tmp_path: Path, ending: str) -> None:
    for name in ("one", "two"):
        draw_trade_off(tmp_path / f"{name}.{ending}", FULL, Observer())
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
    draw_trade_off(tmp_path / "full.png", FULL, Observer())
    draw_trade_off(tmp_path / "other.png", other, Observer())
    assert (tmp_path / "full.png").read_bytes() != (tmp_path / "other.png").read_bytes()


def test_a_folder_is_made_and_nothing_but_the_picture_is_left_in_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.png"
    draw_trade_off(path, FULL, Observer())
    assert [left.name for left in path.parent.iterdir()] == ["a.png"]


def test_a_file_in_the_place_of_the_folder_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="Cannot create the folder"):
        draw_trade_off(tmp_path / "file" / "a.png", FULL, Observer())


class Listener(Observer):
    """Keeps its warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, message: str) -> None:
        self.warnings.append(message)


def test_settings_for_matplotlib_change_no_picture(tmp_path: Path) -> None:
    """In the current folder, at home, and in the environment, and a backend that is not there."""
    script = (
        "from tests.core.workflows.test_evaluation_plot import FULL, Listener, draw_trade_off; "
        "listener = Listener();"
        "from pathlib import Path; draw_trade_off(Path('a.png'), FULL, listener);"
        "print(listener.warnings)"
    )
    home = tmp_path / "home"
    for folder in (tmp_path, home, home / ".config/matplotlib"):
        folder.mkdir(parents=True, exist_ok=True)
        settings = b"text.usetex: True\nfont.size: 20\nno.such.key: 1\nfont.family: \xe4\n"
        (folder / "matplotlibrc").write_bytes(settings)  # matplotlib cannot even read it
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[3]), "HOME": str(home),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MATPLOTLIBRC": str(home), "XDG_CACHE_HOME": str(user_cache()),  # its list of fonts
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("[]\n", "")
    draw_trade_off(tmp_path / "here.png", FULL, Observer())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "here.png").read_bytes()


def test_settings_made_in_the_process_change_no_picture_and_stay(tmp_path: Path) -> None:
    import matplotlib  # not above: another test imports this file to see how it is imported

    draw_trade_off(tmp_path / "a.png", FULL, Observer())
    with matplotlib.rc_context({"font.size": 20, "figure.facecolor": "red"}):
        draw_trade_off(tmp_path / "b.png", FULL, Observer())
        assert matplotlib.rcParams["font.size"] == 20
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    "error", [ImportError("no libpng\n in here"), RuntimeError("no latex"), OSError(28, "full")]
)
def test_a_picture_that_cannot_be_drawn_is_a_warning_and_no_old_one_stays(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    path, listener = tmp_path / "a.png", Listener()
    assert draw_trade_off(path, FULL, listener) == path
    monkeypatch.setattr(plots, "_import_matplotlib", fail)
    assert draw_trade_off(path, FULL, listener) is None
    [warning] = listener.warnings
    assert str(path) in warning
    assert f"{type(error).__name__}: {' '.join(str(error).split())}" in warning
    assert not list(tmp_path.iterdir())


def test_a_picture_that_cannot_be_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ErdeError, match=r"Cannot write .*a\.png: No space left"):
        draw_trade_off(tmp_path / "a.png", FULL, Observer())
