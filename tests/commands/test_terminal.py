"""Progress bars on a terminal, lines elsewhere, warnings always."""

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from erde_cli.commands.views import terminal
from erde_cli.commands.views.tables import table
from erde_cli.core.events import EpochEvent, StepEvent
from erde_cli.core.figures import clock

from ..conftest import Cli

STEP = StepEvent(2, 5, 3, 10, 0.5, {"cross_entropy": 0.4, "teacher_wrong": 0.25}, 1234.0)
EPOCH = EpochEvent(2, 5, 0.5, {"cross_entropy": [0.3, 0.5]}, [0.5, 0.75], 1234.0, 100.0)


def screen(is_terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=is_terminal, width=160, highlight=False)


def text(console: Console) -> str:
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_lines_have_loss_terms_speed_and_time_left() -> None:
    console = screen(is_terminal=False)
    lines = terminal._Lines(console)
    lines.phase("Training the teacher")
    lines.epoch(EPOCH)
    shown = text(console)
    assert "Training the teacher\n" in shown
    assert "epoch 2/5  loss 0.500  CE 0.400" in shown
    assert "calibration 50.0 75.0 %  1,234 images/s  ETA 5:00" in shown


def test_a_loss_term_without_a_short_name_is_shown_by_its_full_name() -> None:
    console = screen(is_terminal=False)
    terms = {"cross_entropy": [0.3, 0.5], "pull": [0.1, 0.2], "teacher_wrong": [0.2, 0.4]}
    terminal._Lines(console).epoch(replace(EPOCH, terms=terms))
    assert "loss 0.500  CE 0.400  pull 0.150  teacher wrong 30.0 %  cal" in text(console)


def test_the_gap_in_entropy_is_shown_where_there_is_a_teacher() -> None:
    console = screen(is_terminal=False)
    lines = terminal._Lines(console)
    lines.epoch(replace(EPOCH, entropy_gaps=[0.4567, None]))
    lines.epoch(EPOCH)
    first, second = text(console).splitlines()
    assert "75.0 %  entropy gap 0.46 -  1,234 images/s" in first
    assert "gap" not in second


def test_the_time_left_includes_the_work_after_this_training() -> None:
    console = screen(is_terminal=False)
    lines = terminal._Lines(console)
    lines.ahead(3600.0)
    lines.epoch(EPOCH)
    assert "ETA 1:05:00" in text(console)
    console = screen(is_terminal=True)
    with Progress(*terminal.COLUMNS, console=console, transient=True, expand=True) as bars:
        shown = terminal._Bars(console, bars)
        shown.ahead(3600.0)
        shown.step(STEP)
        shown.step(replace(STEP, step=4))
        task = bars.tasks[0]
        assert task.time_remaining is not None
        left = terminal._TimeLeft().render(task).plain
        assert left == clock(task.time_remaining + 3600)


def test_the_time_left_includes_pauses_between_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((0.0, 150.0, 300.0))
    monkeypatch.setattr(terminal, "perf_counter", lambda: next(clock))
    console = screen(is_terminal=False)
    lines = terminal._Lines(console)
    lines.epoch(EPOCH)
    lines.epoch(replace(EPOCH, epoch=3))
    assert [line[-4:] for line in text(console).splitlines()] == ["5:00", "5:00"]
    lines.ahead(60.0)  # another training: its pauses are not known yet
    lines.epoch(replace(EPOCH, epoch=4))
    assert text(console).endswith("ETA 2:40\n")


def test_bars_show_terms_speed_and_time_left() -> None:
    console = screen(is_terminal=True)
    with Progress(*terminal.COLUMNS, console=console, transient=True, expand=True) as bars:
        shown = terminal._Bars(console, bars)
        shown.phase("Training the teacher")
        shown.progress("Decoding train images", 5, 10)
        shown.progress("Decoding train images", 10, 10)
        shown.step(STEP)
        bars.refresh()
        shown.epoch(EPOCH)
    seen = text(console)
    for part in ("Training", " 26%", "2/5", "CE 0.400", "teacher wrong 25.0 %", "1,234 im"):
        assert part in seen, part


def test_quiet_shows_warnings_only() -> None:
    console = screen(is_terminal=False)
    quiet = terminal._Quiet(console)
    quiet.phase("a phase")
    quiet.note("a note")
    quiet.epoch(EPOCH)
    quiet.warning("exit [1] has collapsed")
    assert text(console) == "Warning: exit [1] has collapsed\n"


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    console = screen(is_terminal=True)
    terminal._Quiet(console).warning("careful")
    assert "\x1b[33m" not in text(console)
    monkeypatch.delenv("NO_COLOR")
    console = screen(is_terminal=True)
    terminal._Quiet(console).warning("careful")
    assert "\x1b[33m" in text(console)


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown_on(out: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lines of a table of 120 columns, and of a sentence as long."""
    monkeypatch.setattr("sys.stdout", out)
    made = table("wide", *("accuracy %" for _ in range(12)))
    made.add_row(*("78.40 ± 0.31" for _ in range(12)))
    terminal.show({}, False, made, "x" * 120)
    return re.sub(r"\x1b\[\d*m", "", out.getvalue()).splitlines()


def test_a_table_is_as_wide_as_a_terminal_and_whole_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, shown_on(Screen(), monkeypatch)[:-1])) <= 80
    for name in ("", "FORCE_COLOR", "TTY_INTERACTIVE"):
        monkeypatch.setenv(name or "NO_COLOR", "1")
        lines = shown_on(io.StringIO(), monkeypatch)
        assert "\n".join(lines).count("accuracy %") == 12
        assert len(lines) == 7  # nothing is folded either


@pytest.mark.parametrize(
    "line",
    [
        "data", "recipes", "evaluate STUDENT", "profile STUDENT", "profile STUDENT --latency",
        "calibrate STUDENT --max-drop 1 --temperature", "calibrate STUDENT --max-risk 0.3",
        "predict STUDENT IMAGES", "export STUDENT --format torch-export --out OUT/x.pt2",
        "run RECIPE --out RUN",
    ],
)  # fmt: skip
def test_no_table_is_cut_in_a_pipe(
    line: str, run_copy: Path, tiny_recipe: Path, digit_files: Path, tmp_path: Path, cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("COLUMNS", "40")
    places = {
        "STUDENT": run_copy / "student", "RUN": run_copy, "RECIPE": tiny_recipe, "OUT": tmp_path,
        "IMAGES": digit_files / "0",
    }  # fmt: skip
    for name, path in places.items():
        line = line.replace(name, str(path))
    code, out, err = cli(*line.split())
    assert code == 0, err
    assert "┏" in out
    assert "…" not in out
    for top in (part for part in out.split("┏")[1:]):  # one line of names: none is folded
        assert top.splitlines()[2].startswith("┡")
