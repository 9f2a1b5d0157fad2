"""Predictions on stdout and in files: rows as they are computed, then the totals."""

from __future__ import annotations

import codecs
import csv
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from rich.cells import cell_len
from rich.console import RenderableType

from erde_cli.commands.options import STDOUT
from erde_cli.commands.views.json_stream import JsonStream
from erde_cli.commands.views.printable import printable
from erde_cli.commands.views.tables import exit_name, table
from erde_cli.core.figures import macs, percent, theta
from erde_cli.core.inference.rows import Prediction
from erde_cli.core.storage.files import replaced_file, reporting_write_errors
from erde_cli.core.workflows.predict import Rows

COLUMNS = ("path", "class_name", "label", "confidence", "entropy", "exit", "macs")
_LISTED = 1000  # failed files in JSON; any number of them would fill the memory


class Printed:
    """Writers of rows: JSON, CSV or a table on stdout, and a CSV file. CSV replaces the table.

    live: a CSV file grows row by row, and keeps its rows if the command is stopped.
    """

    def __init__(
        self, out: TextIO, as_json: bool, file: Path | None, *, live: bool = False
    ) -> None:
        self._file, self._open, self._live = file, ExitStack(), live
        self._csv: CsvRows | CsvFile | None = None
        self._json = JsonRows(out) if as_json else None
        self._table = None if as_json or file is not None else TableRows(out)
        if file == STDOUT:
            self._csv = CsvRows(out.buffer, on_screen=out.isatty())

    def __enter__(self) -> Printed:
        """Prepare the CSV file; unless it is live, it replaces an older one only at the end."""
        if self._file is not None and self._file != STDOUT:
            place = self._file
            if not self._live:
                place = self._open.enter_context(replaced_file(self._file))
            self._csv = self._open.enter_context(CsvFile(self._file, place))
        return self

    def __exit__(self, *error: Any) -> None:
        """Move the CSV file into place; after an error or Ctrl-C, remove it."""
        self._open.__exit__(*error)

    def write(self, rows: Rows) -> None:
        """Write rows."""
        for writer in (self._csv, self._table, self._json):
            if writer is not None:
                writer.write(rows)

    def end(self, totals: dict[str, Any]) -> None:
        """Write the totals, which only JSON contains."""
        if self._json is not None:
            self._json.end(totals)


class JsonRows:
    """One JSON object: `images`, row by row, then `failed` and `totals`."""

    def __init__(self, out: TextIO) -> None:
        self._stream = JsonStream("images", out)
        self._failed: list[dict[str, str]] = []
        self._stream.more = {"failed": self._failed}

    def write(self, rows: Rows) -> None:
        """Write rows; failed files are kept for the end."""
        self._failed += [asdict(one) for one in rows.failed[: _LISTED - len(self._failed)]]
        self._stream.rows(map(_values, rows.paths, rows.predictions))

    def end(self, totals: dict[str, Any]) -> None:
        """Close the object."""
        self._stream.end({"totals": totals})


class CsvRows:
    """Lines of CSV. Paths keep bytes that are not UTF-8, except on a screen."""

    def __init__(self, out: BinaryIO, *, on_screen: bool = False) -> None:
        self._out, self._on_screen = out, on_screen
        lines = codecs.getwriter("utf-8")(out, "surrogateescape")
        self._writer = csv.DictWriter(lines, COLUMNS, lineterminator="\n")
        self._begun = False

    def write(self, rows: Rows) -> None:
        """Write rows, and the column names before the first ones."""
        if not self._begun:
            self._writer.writeheader()
            self._begun = True
        paths = [_plain(path) for path in rows.paths] if self._on_screen else rows.paths
        self._writer.writerows(map(_values, paths, rows.predictions))
        self._out.flush()


class CsvFile:
    """CSV in a file, which is opened when the first rows come."""

    def __init__(self, name: Path, place: Path) -> None:
        self._name, self._place, self._open = name, place, ExitStack()
        self._rows: CsvRows | None = None

    def __enter__(self) -> CsvFile:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        with reporting_write_errors(self._name):
            self._open.close()

    def write(self, rows: Rows) -> None:
        """Write rows."""
        with reporting_write_errors(self._name):
            if self._rows is None:
                self._rows = CsvRows(self._open.enter_context(self._place.open("wb")))
            self._rows.write(rows)


class TableRows:
    """A table in plain text; the first rows decide the widths of its columns."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._widths: tuple[int, int] | None = None

    def write(self, rows: Rows) -> None:
        """Write rows, and the column names before the first ones."""
        if not rows.paths:
            return
        shown = [_plain(path) for path in rows.paths]
        if self._widths is None:
            names = max(cell_len(_plain(name)) for name in ("class", *rows.class_names))
            self._widths = max(cell_len(path) for path in ("path", *shown)), names
            self._line("path", "class", "confidence %", "exit", "entropy, nats")
        for path, prediction in zip(shown, rows.predictions, strict=True):
            self._line(
                path,
                _plain(prediction.class_name),
                percent(prediction.confidence),
                exit_name(prediction.exit, rows.exit_count),
                f"{prediction.entropy:z.4f}",
            )
        self._out.flush()

    def _line(self, path: str, name: str, confidence: str, exit_: str, entropy: str) -> None:
        assert self._widths is not None  # noqa: S101
        first, second = self._widths
        left = f"{_padded(path, first)}  {_padded(name, second)}"
        self._out.write(f"{left}  {confidence:>12}  {exit_:>8}  {entropy:>13}\n")


def totals_pieces(totals: dict[str, Any], unit: str) -> list[RenderableType]:
    """Table of the exits, and the MACs saved; `unit` is that of the thresholds."""
    rates, thresholds = totals["exit_rates"], [*totals["thresholds"], None]
    failed = f", {totals['failed']:,} failed" if totals["failed"] else ""
    title = f"{totals['images']:,} images{failed}, {totals['images_per_second']:,.0f} images/s"
    if rates is None:
        return [title]
    made = table(title, "exit", "leave here %", "cumulative MACs", f"θ, {unit}")
    for index, cost in enumerate(totals["cumulative_macs"]):
        made.add_row(
            exit_name(index, len(rates)), percent(rates[index]), macs(cost),
            theta(thresholds[index]),
        )  # fmt: skip
    made.add_section()
    made.add_row("mean", "", macs(totals["expected_macs"]), "")
    saved = f"{percent(totals['macs_saved'], 1)} % of the full network's MACs saved"
    certified = "certified" if totals["certified"] else "not certified: nothing is guaranteed"
    return [made, f"{saved}; these thresholds are {certified}."]


def _values(path: str, prediction: Prediction) -> dict[str, Any]:
    return {"path": path, **{name: getattr(prediction, name) for name in COLUMNS[1:]}}


def _plain(text: str) -> str:
    return printable(text, keep="")


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))
