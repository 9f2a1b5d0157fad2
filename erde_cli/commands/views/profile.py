"""Tables of measured times and memory, with units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from erde_cli.commands.views.tables import exit_name, table
from erde_cli.core.export.runtimes import NAMES

if TYPE_CHECKING:
    from erde_cli.core.models.profile import Profile
    from erde_cli.core.workflows.latency import MeasuredLatency


def milliseconds(value: float) -> str:
    """A time in milliseconds, to three digits that matter."""
    digits = 4 if value < 0.1 else 3 if value < 1 else 2 if value < 10 else 1
    return f"{value:,.{digits}f}"


def size(count: int | None) -> str:
    """A number of bytes in kB or MB; "-" where it is not known."""
    if count is None:
        return "-"
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.0f} kB"


def latency_table(measured: MeasuredLatency) -> Table:
    """What leaving at each exit takes in each batch size, deciding included."""
    made = table(
        f"Leaving at each exit, ms per image ({measured.where})",
        "batch", "exit", "median", "p5", "p95", "ms a batch", "exit alone",
    )  # fmt: skip
    for one in measured.batches:
        found = one.latency
        for index, timing in enumerate(found.exits):
            made.add_row(
                "" if index else str(found.batch),
                exit_name(index, len(found.exits)),
                milliseconds(timing.median),
                milliseconds(timing.p5),
                milliseconds(timing.p95),
                milliseconds(timing.median * found.batch),
                milliseconds(found.static[index].median),
            )
        made.add_section()
    return made


def mix_table(measured: MeasuredLatency, profile: Profile) -> Table:
    """What the calibrated mix of exits takes: expected, end to end, as MACs have it; memory."""
    made = table(
        "At the thresholds, ms per image, and in % of leaving at the last exit",
        "batch", "calibrated mix", "this mix", "measured", "this mix %", "measured %", "MACs %",
        "ratio", "peak",
    )  # fmt: skip
    for one in measured.batches:
        found, shares = one.latency, one.latency.shares(profile.cumulative_macs)
        row, calibrated = ["-"] * 7, measured.calibrated(one)
        if shares is not None and found.end_to_end is not None and found.expected is not None:
            row = [
                "-" if calibrated is None else milliseconds(calibrated),
                milliseconds(found.expected),
                milliseconds(found.end_to_end.mean),
                f"{100 * shares.expected:.1f}",
                f"{100 * shares.end_to_end:.1f}",
                f"{100 * shares.macs:.1f}",
                f"{shares.ratio:.2f}",
            ]
        made.add_row(str(found.batch), *row, size(one.peak_bytes))
    return made


def weights_line(measured: MeasuredLatency) -> str:
    """Bytes of the weights, as stored and as used; what the tables were measured with."""
    memory = f"{size(measured.weights_placed_bytes)} in memory, norms folded"
    peak = "live tensors of a pass, without weights"
    if measured.weights_placed_bytes is None:
        memory = "norms folded"
        peak = f"{NAMES[measured.runtime]} does not tell what its tensors take"
    return (
        f"weights: {size(measured.weights_file_bytes)} in the bundle, {memory}; "
        f"{measured.repeats} rounds on calibration images, deciding included except for an exit "
        "alone; calibrated mix, this mix: exit rates of calibration, and of the images measured, "
        "times the medians above; ratio = this mix % / MACs %; peak: "
        f"{peak}"
    )
