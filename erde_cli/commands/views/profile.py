"""Tables of measured times and memory, with units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from erde_cli.commands.views.tables import exit_name, table
from erde_cli.core.export.runtimes import NAMES
from erde_cli.core.figures import byte_size, milliseconds, percent

if TYPE_CHECKING:
    from erde_cli.core.models.profile import Profile
    from erde_cli.core.workflows.latency import MeasuredLatency


def latency_table(measured: MeasuredLatency) -> Table:
    """Latency of each exit in each batch size, the decisions on the way included."""
    made = table(
        f"Leaving at each exit, ms per image ({measured.where})",
        "batch", "exit", "median", "p5", "p95", "ms per batch", "exit alone", "% of static",
    )  # fmt: skip
    for one in measured.batches:
        latency = one.latency
        for index, timing in enumerate(latency.exits):
            made.add_row(
                "" if index else str(latency.batch),
                exit_name(index, len(latency.exits)),
                milliseconds(timing.median),
                milliseconds(timing.p5),
                milliseconds(timing.p95),
                milliseconds(timing.median * latency.batch),
                milliseconds(latency.static[index].median),
                percent(latency.over_static[index], 1),
            )
        made.add_section()
    return made


def mix_table(measured: MeasuredLatency, profile: Profile) -> Table:
    """Latency at the thresholds, expected and measured; its share in time and in MACs; memory."""
    made = table(
        "At the thresholds: ms per image, and % of the static network",
        "batch", "calibrated mix", "this mix", "exits alone", "measured", "this mix %",
        "measured %", "MACs %", "ratio", "peak",
    )  # fmt: skip
    for one in measured.batches:
        latency, calibrated = one.latency, measured.calibrated(one)
        shares = latency.static_shares(profile.cumulative_macs, profile.static_macs)
        row, alone = ["-"] * 8, latency.expected_alone
        if shares is not None and latency.end_to_end is not None and latency.expected is not None:
            row = [
                "-" if calibrated is None else milliseconds(calibrated),
                milliseconds(latency.expected),
                "-" if alone is None else milliseconds(alone),
                milliseconds(latency.end_to_end.mean),
                percent(shares.expected, 1),
                percent(shares.end_to_end, 1),
                percent(shares.macs, 1),
                f"{shares.ratio:.2f}",
            ]
        peak = "-" if one.peak_bytes is None else byte_size(one.peak_bytes)
        made.add_row(str(latency.batch), *row, peak)
    return made


def weights_line(measured: MeasuredLatency) -> str:
    """Size of the weights, and the meaning of the columns."""
    memory, peak = "norms folded", f"not known ({NAMES[measured.runtime]} does not report it)"
    if measured.weights_placed_bytes is not None:
        memory = f"{byte_size(measured.weights_placed_bytes)} in memory, norms folded"
        peak = "live tensors of a pass, without weights"
    return (
        f"weights: {byte_size(measured.weights_file_bytes)} in the bundle, {memory}. "
        f"{measured.repeats} rounds on calibration images; all times except those of an exit alone "
        "include the decisions. static network: the last exit alone, without early heads. "
        "calibrated mix: medians above, weighted by the exit rates of calibration; this mix: by "
        "those of the measured images; exits alone: medians of each exit alone, by those rates. "
        "ratio = this mix % / MACs %. "
        f"peak: {peak}"
    )
