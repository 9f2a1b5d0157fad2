"""Tables and sentences that compare an int8 export with the float network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from erde_cli.commands.views.tables import exit_name, table
from erde_cli.core.figures import (
    byte_size,
    macs,
    milliseconds,
    percent,
    signed,
    signed_interval,
    theta,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from erde_cli.core.calibration.thresholds_file import FiguresDocument
    from erde_cli.core.measurement.side_by_side import Pair, Times
    from erde_cli.core.workflows.export_int8_cost import Int8Cost, UnderThresholds


def int8_pieces(cost: Int8Cost) -> list[RenderableType]:
    """Accuracy, size and latency of float32 and int8: two tables, then sentences."""
    return [figures_table(cost), latency_pairs_table(cost), *_sentences(cost)]


def figures_table(cost: Int8Cost) -> Table:
    """Accuracy, exits and size: float32, int8 at the same thresholds, int8 at its own."""
    count, kind = len(cost.images.store), cost.images.kind
    made = table(
        f"float32 and int8 on {count:,} images ({kind})",
        "", "float32", "int8, float32 θ", "int8",
    )  # fmt: skip
    columns = [cost.float32, cost.kept, cost.int8]
    exits = range(len(cost.float32.exit_rates))
    measure = "agreement of" if cost.images.labels is None else "accuracy of"
    for index in exits:
        name = f"{measure} exit {exit_name(index, len(exits))} %"
        made.add_row(name, *(percent(_of_exits(one)[index]) for one in columns))
    made.add_section()
    for index in exits[:-1]:
        thetas = [theta(one.thresholds[index]) for one in columns]
        made.add_row(f"θ of exit {exit_name(index, len(exits))}, {cost.after.unit}", *thetas)
    for index in exits:
        name = f"leave at exit {exit_name(index, len(exits))} %"
        made.add_row(name, *(percent(one.exit_rates[index]) for one in columns))
    if cost.images.labels is not None:
        made.add_row("accuracy under θ %", *(percent(one.accuracy or 0) for one in columns))
    if cost.int8.balanced_accuracy is not None:
        balanced = [percent(one.balanced_accuracy or 0) for one in columns]
        made.add_row("balanced accuracy under θ %", *balanced)
    made.add_row("same as last exit %", *(percent(one.agreement) for one in columns))
    before, after = cost.held_out
    # After a guarantee about disagreement, agreement is what the thresholds were chosen by.
    what = "agreement" if after.accuracy is None else cost.after.metric
    name = f"{what.replace('_', ' ')}, held out %"
    made.add_row(name, _held(before, what), "-", _held(after, what))
    made.add_row("expected MACs", *(macs(one.expected_macs) for one in columns))
    made.add_section()
    made.add_row("files", byte_size(cost.sizes[0]), "", byte_size(cost.sizes[1]))
    return made


def latency_pairs_table(cost: Int8Cost) -> Table:
    """Latency of both networks at every exit and at their own thresholds, and the ratio."""
    made = table(
        "ms per image, one thread, on this machine",
        "batch", "exit", "float32", "p5–p95", "int8", "p5–p95", "ratio",
    )  # fmt: skip
    for batch in cost.latency:
        for index, pair in enumerate(batch.pairs):
            own = pair.exit is None
            made.add_row(
                "" if index else str(batch.batch),
                "own θ" if own else exit_name(index, len(batch.pairs) - 1),
                *_spread(pair.first, own),
                *_spread(pair.second, own),
                f"{pair.ratio:.2f}",
            )
        made.add_section()
    return made


def _sentences(cost: Int8Cost) -> list[str]:
    half = cost.differing_half_b
    differing = (
        f"The label differs from float32 for {percent(cost.differing.taken)} % of the images at "
        f"the exits they take and for {percent(cost.differing.exits[-1])} % at the last exit; in "
        "the half whose images set no quantisation range, for "
        f"{percent(half.taken)} and {percent(half.exits[-1])} %."
    )
    lines = [differing]
    if cost.drop is not None:
        points, low, high = cost.drop
        lines.append(
            f"Accuracy under θ, float32 minus int8: {signed(points)} points (95 % interval "
            f"{signed_interval(low, high)}), on the images that chose both sets of thresholds."
        )
    met = "is met" if cost.after.met else "is not met"
    lines.append(
        f"The thresholds were chosen again for the same target. It {met} on images that did not "
        "choose them (held out). This is an estimate, not a guarantee."
    )
    lines.append(
        "Times are medians of leaving at an exit; own θ is the mean over real images, each network "
        "at its own thresholds. ratio = int8 / float32, round by round."
    )
    lines.extend(_pace(batch.batch, batch.pairs[-1]) for batch in cost.latency)
    return lines


def _pace(batch: int, pair: Pair) -> str:
    if pair.ratio < 1:
        return f"At batch {batch} int8 takes {pair.ratio:.2f} of the time of float32 here."
    return f"At batch {batch} int8 is no faster here: {pair.ratio:.2f} times the time of float32."


def _of_exits(one: UnderThresholds) -> tuple[float, ...]:
    return one.exit_agreement if one.exit_accuracy is None else one.exit_accuracy


def _held(figures: FiguresDocument | None, what: str) -> str:
    share = None if figures is None else getattr(figures, what)
    return "-" if share is None else percent(share)


def _spread(times: Times, own: bool) -> tuple[str, str]:
    """Mean if images leave at several exits, else the median; and the 5th to 95th percentile."""
    middle = times.mean if own else times.timing.median
    low, high = milliseconds(times.timing.p5), milliseconds(times.timing.p95)
    return milliseconds(middle), f"{low}–{high}"
