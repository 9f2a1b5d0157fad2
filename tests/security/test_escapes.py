"""Names from data are shown and never obeyed: on terminals, in tables, pictures and reports."""

import csv
import io
import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from erde_cli.commands.views.printable import printable
from erde_cli.commands.views.tables import table
from erde_cli.commands.views.terminal import COLUMNS, _Bars, _Lines, show
from erde_cli.core.comparison.report import _plain
from erde_cli.core.errors import DataError
from erde_cli.core.events import Observer
from erde_cli.core.storage.pictures import Point
from erde_cli.core.workflows.evaluation_plot import TradeOff, draw_trade_off

from ..conftest import Cli

OBEYED = [
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\r",
    "\x08",
    "\x9b31m",
    "\u202e",
    "\u2066",
    "\u200b",
    "\x7f",
    "\ufeff",
]
SHOWN = [
    "[bold]",
    "[/bold]",
    "[link=http://x]",
    "$\\frac{x}{",
    "=1+1",
    "@x",
    "<b>",
    "`x`",
    "%s",
    "{x}",
]


@pytest.mark.parametrize("text", OBEYED)
def test_what_a_terminal_obeys_has_no_printable_form(text: str) -> None:
    assert not text.isprintable()
    assert printable(f"a{text}b").isprintable()


@pytest.mark.parametrize("text", OBEYED)
def test_a_class_folder_that_a_terminal_would_obey_is_refused(
    text: str, folder: Path, folder_recipe: Path, cli: Cli
) -> None:
    shutil.copytree(folder / "train" / "dark", folder / "train" / f"x{text}")
    code, out, err = cli("run", folder_recipe, "--out", folder.parent / "run")
    assert code == 2
    assert "The class name" in err
    assert not any(bad in out + err for bad in OBEYED)


@pytest.fixture
def odd_folder(folder: Path) -> Path:
    """Classes and files with names that are markup somewhere, and a file that is no image."""
    for split in ("train", "test"):
        (folder / split / "dark").rename(folder / split / "[bold]$x^{$<b>|=1+1")
        (folder / split / "light").rename(folder / split / "@[link]`%s{0}")
    first = folder / "train" / "[bold]$x^{$<b>|=1+1"
    for name in (
        "[red]a.png",
        "\x1b[31mb.png",
        "new\nline.png",
        "\u202ec.png",
        "$y$.png",
        "=cmd|x.png",
    ):
        shutil.copy(first / "01.png", first / name)
    (first / "\x1b[2J[bold]no.png").write_text("no image")
    return folder


def test_odd_names_go_through_every_command_as_they_are(
    odd_folder: Path, folder_recipe: Path, cli: Cli, tmp_path: Path
) -> None:
    run, said = tmp_path / "run", ""
    code, out, err = cli("run", folder_recipe, "--out", run)
    assert (code, r"\x1b[2J[bold]no.png" in err.replace("\n", "")) == (2, True)
    said += out + err
    train = odd_folder / "train" / "[bold]$x^{$<b>|=1+1"
    student = run / "student"
    for command in (
        ["run", folder_recipe, "--out", run, "--set", "data.unreadable=skip"],
        ["evaluate", student], ["evaluate", student, "--data", odd_folder],
        ["profile", student], ["calibrate", student, "--max-drop", "5"],
        ["predict", student, train, "--csv", tmp_path / "rows.csv"], ["predict", student, train],
    ):  # fmt: skip
        code, out, err = cli(*command)
        assert code == (1 if command[0] == "predict" else 0), (command, err)
        assert "Traceback" not in err
        said += out + err
    assert not any(bad in said for bad in OBEYED)
    assert "Cannot draw" not in said
    assert "[bold]$x^{$<b>|=1+1" in said
    assert r"\x1b[31mb.png" in said
    with (tmp_path / "rows.csv").open(newline="") as handle:
        paths = {row["path"].rpartition("/")[2] for row in csv.DictReader(handle)}
    assert {"=cmd|x.png", "new\nline.png", "\x1b[31mb.png"} <= paths  # data, as it is
    code, out, _ = cli("predict", student, train, "--json")
    assert out.isascii()
    assert {"\u202ec.png", "=cmd|x.png"} <= {
        r["path"].rpartition("/")[2] for r in json.loads(out)["images"]
    }


def lines_of(said: io.StringIO) -> str:
    return said.getvalue()


@pytest.mark.parametrize("text", [*OBEYED, *SHOWN])
def test_an_observer_shows_what_it_is_told(text: str) -> None:
    said = io.StringIO()
    console = Console(file=said, width=200, highlight=False)
    lines = _Lines(console)
    for tell in (lines.phase, lines.note, lines.warning):
        tell(f"before {text} after")
    bars = Progress(*COLUMNS, console=Console(file=said, width=200, force_terminal=True))
    with bars:
        _Bars(bars.console, bars).progress(f"title {text}", 1, 3)
    told = lines_of(said).partition("\x1b")[0]
    assert not any(bad in told for bad in OBEYED)
    assert told.count(printable(text)) == 3
    assert all(
        bad not in lines_of(said) for bad in OBEYED if bad == text and not bad.startswith("\r")
    )


def test_pieces_and_titles_of_tables_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    made = table("a\x1b[2J\u202e title", "x")
    made.add_row("1")
    show({}, False, made, "piece \x1b[2J\u202e")
    out = capsys.readouterr().out
    assert r"a\x1b[2J\u202e title" in out
    assert r"piece \x1b[2J\u202e" in out


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_a_title_is_no_formula_and_no_markup(kind: str, tmp_path: Path) -> None:
    points = [Point(1.0, 0.5), Point(2.0, 0.6)]
    title = r"$\frac{x}{ <script> & % _^ [bold]"
    draw_trade_off(tmp_path / f"a.{kind}", TradeOff(title, points, points, None, None), Observer())
    if kind == "svg":
        ElementTree.parse(tmp_path / "a.svg")  # noqa: S314
    else:
        Image.open(tmp_path / "a.png").verify()


@pytest.mark.parametrize("text", [*OBEYED, "<img src=x>", "a\n# b", "[x](y)", "a|b", "`c`", "\\"])
def test_a_reason_in_a_report_is_text(text: str) -> None:
    written = _plain(f"x{text}y")
    assert written.isprintable()
    for sign in "<>[]|`#":
        assert written.count(sign) == written.count(f"\\{sign}")


def test_an_error_shows_the_names_in_it(folder: Path) -> None:
    error = DataError("x", got="\x1b[2J")
    assert "\x1b" not in printable(str(error))
