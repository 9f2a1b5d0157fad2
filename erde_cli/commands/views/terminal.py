"""Progress and warnings on stderr while a command works; results on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
)
from rich.table import Column
from rich.table import Table as RichTable
from rich.text import Text

from erde_cli.commands.processes import engine
from erde_cli.commands.views.printable import printable
from erde_cli.core.events import EpochEvent, Listeners, Observer, StepEvent, Table, named_listeners
from erde_cli.core.figures import clock, percent
from erde_cli.core.tracking.trackers import Tracking

if TYPE_CHECKING:
    from erde_cli.core.workflows.options import Device, Options

_NO_TRACKERS = Tracking()
_WIDE = 10_000  # columns, more than any table needs


class _TimeLeft(ProgressColumn):
    """Time left for a task and for the work after it."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        left = task.time_remaining
        shown = "-:--" if left is None else clock(left + task.fields["ahead"])
        return Text(shown, style="progress.remaining")


COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(bar_width=10),
    TaskProgressColumn(text_format_no_percentage=""),
    TextColumn("ETA"),
    _TimeLeft(),
    # This text is cut if it does not fit, so that the bar and the time left are always visible.
    TextColumn("{task.fields[detail]}", table_column=Column(ratio=1, no_wrap=True)),
)


class _Quiet(Observer):
    """Warnings only."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._warned: set[str] = set()

    def warning(self, message: str, *, again: bool = False) -> None:
        if message in self._warned:
            return
        if not again:
            self._warned.add(message)
        text = escape(printable(message))
        self._console.print(f"[yellow]Warning:[/yellow] {text}", soft_wrap=True)


class _Lines(_Quiet):
    """One line per phase and epoch, for files, pipes and CI."""

    shows_progress = True
    _ahead = 0.0
    _last_epoch_end: float | None = None  # of perf_counter

    def ahead(self, seconds: float) -> None:
        self._ahead, self._last_epoch_end = seconds, None

    def phase(self, title: str) -> None:
        self._console.print(f"[bold]{escape(printable(title))}[/bold]", soft_wrap=True)

    def note(self, message: str) -> None:
        self._console.print(escape(printable(message)), soft_wrap=True, highlight=False)

    def table(self, table: Table) -> None:
        shown = RichTable(title=table.title, title_justify="left", show_footer=True)
        for place, (name, total) in enumerate(zip(table.header, table.rows[-1], strict=True)):
            side: Literal["left", "right"] = "right" if place else "left"
            shown.add_column(name, escape(total), justify=side, overflow="fold")
        for row in table.rows[:-1]:
            shown.add_row(*(escape(printable(cell, keep="")) for cell in row))
        self._console.print(shown)
        for note in table.notes:
            self.note(f"  {note}")

    def epoch(self, event: EpochEvent) -> None:
        self._line(event, self._left(event))

    def _left(self, event: EpochEvent) -> float:
        """Seconds left of this training, with pauses between epochs, and of the work after it."""
        now = perf_counter()
        last = self._last_epoch_end
        seconds = event.seconds if last is None else now - last
        self._last_epoch_end = now
        return (event.epochs - event.epoch) * seconds + self._ahead

    def _line(self, event: EpochEvent, left: float) -> None:
        means = {name: sum(values) / len(values) for name, values in event.terms.items()}
        accuracy = " ".join(percent(share, 1) for share in event.accuracy_calibration)
        line = (
            f"epoch {event.epoch}/{event.epochs}  loss {event.loss:.3f}  {_terms(means)}  "
            f"calibration {accuracy} %  {_gaps(event)}{event.images_per_second:,.0f} images/s  "
            f"ETA {clock(left)}"
        )
        self._console.print(line, soft_wrap=True, highlight=False)


class _Bars(_Lines):
    """Live progress bars on a terminal."""

    def __init__(self, console: Console, bars: Progress) -> None:
        super().__init__(console)
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def phase(self, title: str) -> None:
        self._clear()
        super().phase(title)

    def progress(self, title: str, done: int, total: int) -> None:
        self._show(title, done, total, "")
        if done == total:
            self._bars.remove_task(self._tasks.pop(title))

    def count(self, title: str, done: int) -> None:
        self._show(title, done, None, f"{done:,} so far")

    def step(self, event: StepEvent) -> None:
        done = (event.epoch - 1) * event.steps + event.step
        detail = (
            f"{event.epoch}/{event.epochs}  {event.images_per_second:,.0f} images/s  "
            f"loss {event.loss:.3f}  {_terms(event.terms)}"
        )
        self._show("Training", done, event.epochs * event.steps, detail, self._ahead)

    def epoch(self, event: EpochEvent) -> None:
        left = self._left(event)
        if event.epoch % max(1, event.epochs // 10) == 0:
            self._line(event, left)

    def _show(
        self, title: str, done: int, total: int | None, detail: str, ahead: float = 0.0
    ) -> None:
        if title not in self._tasks:
            shown = escape(printable(title, keep=""))
            self._tasks[title] = self._bars.add_task(shown, total=total, detail=detail, ahead=ahead)
        self._bars.update(self._tasks[title], completed=done, total=total, detail=detail)

    def _clear(self) -> None:
        for task in self._tasks.values():
            self._bars.remove_task(task)
        self._tasks.clear()


@contextmanager
def working(
    quiet: bool,
    device: Device,
    threads: int | None,
    *,
    bars: bool = True,
    resume: bool | None = None,
    tracking: Tracking = _NO_TRACKERS,
) -> Iterator[Options]:
    """Options of a command, with a display that suits stderr and the listeners of the environment.

    Args:
        quiet: show warnings only.
        device: where the network runs.
        threads: of the CPU.
        bars: False if results are printed to the same terminal meanwhile.
        resume: whether to resume a training that was stopped.
        tracking: trackers that receive the events as well.
    """
    from erde_cli.core.workflows.options import Options

    if not engine().leads:  # rank 0 shows the progress of all, and sends it to trackers
        yield _applied(Options(device, threads, Observer(), resume, engine=engine()))
        return
    others = named_listeners()
    console = Console(stderr=True, highlight=False)
    if quiet or not bars or not console.is_terminal:
        lines = _Quiet(console) if quiet else _Lines(console)
        with tracking.listeners(lines) as trackers:
            heard = Listeners(lines, *others, *trackers)
            yield _applied(Options(device, threads, heard, resume, engine=engine()))
        return
    with Progress(*COLUMNS, console=console, transient=True, expand=True) as shown:
        bars_shown = _Bars(console, shown)
        with tracking.listeners(bars_shown) as trackers:
            heard = Listeners(bars_shown, *others, *trackers)
            yield _applied(Options(device, threads, heard, resume, engine=engine()))


def _applied(options: Options) -> Options:
    """Apply options to this process (memory, threads, kernels), and return them."""
    from erde_cli.core.platform.allocator import keep_freed_memory

    keep_freed_memory()
    options.context("float32").apply()
    return options


def show(
    document: dict[str, Any], as_json: bool, *pieces: RenderableType, stderr: bool = False
) -> None:
    """Print a result on stdout: one JSON object, or the pieces below each other.

    Of several processes, only rank 0 prints.
    With `stderr`, pieces are printed there, since stdout has other output.
    """
    if not engine().leads:
        return
    if as_json:
        sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")
        return
    # Rich treats a pipe or file as a screen of 80 columns, and cuts wider tables.
    on_screen = (sys.stderr if stderr else sys.stdout).isatty()
    console = Console(stderr=stderr, highlight=False, width=None if on_screen else _WIDE)
    for piece in pieces:
        text = printable(piece) if isinstance(piece, str) else piece
        console.print(text, soft_wrap=isinstance(piece, str))


def _terms(means: dict[str, float]) -> str:
    from erde_cli.core.recipe.sections.distillation import LABELS

    terms = {name: value for name, value in means.items() if name != "teacher_wrong"}
    parts = [f"{LABELS.get(name, name)} {value:.3f}" for name, value in terms.items()]
    if "teacher_wrong" in means:
        parts.append(f"teacher wrong {percent(means['teacher_wrong'], 1)} %")
    return "  ".join(parts)


def _gaps(event: EpochEvent) -> str:
    """Entropy of each early exit where the teacher is wrong, minus where it is right."""
    if not event.entropy_gaps:
        return ""
    shown = " ".join("-" if gap is None else f"{gap:.2f}" for gap in event.entropy_gaps)
    return f"entropy gap {shown}  "
