"""What a person sees: bars on a terminal, lines elsewhere, warnings always."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from erde_cli.commands import terminal
from erde_cli.core.observer import EpochEvent, StepEvent

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


@pytest.mark.parametrize(
    ("seconds", "clock"), [(5, "0:05"), (65, "1:05"), (3599.6, "1:00:00"), (7325, "2:02:05")]
)
def test_times_are_written_as_clocks(seconds: float, clock: str) -> None:
    assert terminal._clock(seconds) == clock


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    console = screen(is_terminal=True)
    terminal._Quiet(console).warning("careful")
    assert "\x1b[33m" not in text(console)
    monkeypatch.delenv("NO_COLOR")
    console = screen(is_terminal=True)
    terminal._Quiet(console).warning("careful")
    assert "\x1b[33m" in text(console)
