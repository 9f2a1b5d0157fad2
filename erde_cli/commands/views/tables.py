"""Tables of results, with units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from erde_cli.commands.views.printable import printable
from erde_cli.core.figures import counted, macs, percent, theta

if TYPE_CHECKING:
    from pathlib import Path

    from erde_cli.core.measurement.training_speed import Candidate
    from erde_cli.core.models.profile import Profile
    from erde_cli.core.workflows.datasets import Listed
    from erde_cli.core.workflows.evaluation import Evaluation
    from erde_cli.core.workflows.tune import RoleTuned

_WEAKEST = 5  # classes that are shown


def picture_line(*paths: Path | None) -> list[str]:
    """A line for each picture that was drawn."""
    return [f"picture: {escape(str(path))}" for path in paths if path is not None]


def table(title: str, *columns: str) -> Table:
    """An empty table: the first column flush left, the others flush right."""
    title = printable(title, keep="")
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    made.min_width = len(title)  # a table narrower than its title would fold it
    for index, column in enumerate(columns):
        made.add_column(column, justify="left" if index == 0 else "right")
    return made


def exit_name(index: int, count: int) -> str:
    """An exit for people, counted from 1: "2 of 3"."""
    return f"{index + 1} of {count}"


def evaluation_table(title: str, result: dict[str, Any], unit: str) -> Table:
    """Every exit of an evaluation (its JSON object), and all images under its thresholds."""
    made = table(title, "exit", "accuracy %", "leave here %", "cumulative MACs", f"θ, {unit}")
    exits: Sequence[dict[str, Any]] = result["exits"]
    thresholds = [*(result["thresholds"] or [None] * (len(exits) - 1)), None]
    for row, threshold in zip(exits, thresholds, strict=True):
        made.add_row(
            exit_name(row["exit"], len(exits)),
            percent(row["accuracy"]),
            percent(row["exit_rate"]),
            macs(row["cumulative_macs"]),
            theta(threshold),
        )
    made.add_section()
    label = "under θ" if result["thresholds"] else "no early exit"
    made.add_row(label, percent(result["accuracy"]), "", macs(result["expected_macs"]), "")
    if _uneven(result):
        made.add_row("balanced", percent(result["balanced_accuracy"]), "", "", "")
    return made


def weakest_table(result: dict[str, Any]) -> Table:
    """The classes of an evaluation with the lowest recall."""
    rows = [row for row in result["classes"] if row["images"]]
    title = f"The {_WEAKEST} weakest classes" if len(rows) > _WEAKEST else "Classes, weakest first"
    made = table(
        title, "class", "images", "recall %", "precision %", "leave at each exit %", "mean MACs"
    )
    for row in sorted(rows, key=lambda row: float(row["recall"]))[:_WEAKEST]:
        made.add_row(
            Text(printable(row["class_name"], keep="")),
            f"{row['images']:,}",
            percent(row["recall"]),
            "-" if row["precision"] is None else percent(row["precision"]),
            " / ".join(percent(share, 1) for share in row["exit_rates"]),
            macs(row["expected_macs"]),
        )
    return made


def gap_table(result: dict[str, Any]) -> list[Table]:
    """Mean entropies of a student where its teacher is wrong and where it is right."""
    rows = result["entropy_gaps"]
    if not rows:
        return []
    made = table(
        "Mean entropy of the early exits, nats",
        "exit", "teacher wrong %", "teacher wrong", "teacher right", "gap",
    )  # fmt: skip
    for row in rows:
        values = (row[name] for name in ("wrong", "right", "gap"))
        made.add_row(
            exit_name(row["exit"], len(result["exits"])),
            percent(row["share_wrong"]),
            *("-" if value is None else f"{value:.3f}" for value in values),
        )
    return [made]


def _uneven(*results: dict[str, Any]) -> bool:
    """Whether a class has more than twice the images of another: accuracy hides the smaller one."""
    rows = [row for result in results for row in result["classes"]]
    counts = [row["images"] for row in rows if row["images"]]
    return bool(counts) and max(counts) > 2 * min(counts)


def sweep_table(evaluation: Evaluation) -> Table:
    """Accuracy and cost at one θ for all exits, from never to always."""
    made = table(
        "One θ for all exits", f"θ, {evaluation.score.unit}", "accuracy %", "expected MACs",
        "of full %", "leave early %",
    )  # fmt: skip
    for row in evaluation.sweep:
        adaptive = row.adaptive
        made.add_row(
            theta(row.threshold),
            percent(adaptive.accuracy),
            macs(adaptive.expected_macs),
            percent(adaptive.expected_macs / evaluation.profile.full_macs, 1),
            percent(1 - adaptive.exit_rates[-1]),
        )
    return made


def profile_table(profile: Profile, expected: float | None, rates: list[float] | None) -> Table:
    """Parameters and multiply-adds of every exit; expected MACs and exit rates, if known."""
    made = table(
        f"One image of {'x'.join(map(str, profile.input_shape))}, "
        f"{profile.parameters:,} parameters",
        "exit", "params", "stage MACs", "head MACs", "cumulative", "of full %", "leave %",
    )  # fmt: skip
    shares = [percent(rate) for rate in rates] if rates else ["-"] * len(profile.exits)
    for row, share in zip(profile.exits, shares, strict=True):
        made.add_row(
            exit_name(row.exit, len(profile.exits)),
            f"{row.parameters:,}",
            macs(row.stage_macs),
            macs(row.head_macs),
            macs(row.cumulative_macs),
            percent(row.cumulative_macs / profile.full_macs, 1),
            share,
        )
    made.add_section()
    made.add_row("static", "", "", "", macs(profile.static_macs), "", "")
    if expected is not None:
        share = percent(expected / profile.full_macs, 1)
        made.add_row("expected", "", "", "", macs(expected), share, "")
    return made


def comparison_table(report: dict[str, Any], sides: tuple[int, int]) -> Table:
    """Accuracies and multiply-adds of teacher and student side by side.

    `sides` are those of their images in pixels; they are shown if they differ.
    """
    made = table("Teacher and student on the test split", "", "teacher", "student")
    if sides[0] != sides[1]:
        made.add_row("image, pixels", *(f"{side} x {side}" for side in sides))
    teacher, student = report["teacher"], report["student"]
    made.add_row("accuracy %", percent(teacher["accuracy"]), percent(student["accuracy"]))
    if _uneven(teacher, student):
        both = (percent(one["balanced_accuracy"]) for one in (teacher, student))
        made.add_row("balanced accuracy %", *both)
    made.add_row(
        "accuracy of the last exit %",
        percent(teacher["full_accuracy"]),
        percent(student["full_accuracy"]),
    )
    made.add_row(
        "MACs without early exits", macs(teacher["static_macs"]), macs(student["static_macs"])
    )
    made.add_row("expected MACs, leaving early", "-", macs(student["expected_macs"]))
    return made


def datasets_table(datasets: Sequence[Listed]) -> Table:
    """The published size of every data set, and its state on this machine."""
    made = table("Data sets", "name", "classes", "train images", "test images", "state")
    for one in datasets:
        test = "-" if one.test_images is None else f"{one.test_images:,}"
        made.add_row(one.name, str(one.classes), f"{one.train_images:,}", test, _state(one))
    return made


def _state(one: Listed) -> str:
    """State of a data set, with the number of missing or corrupt files."""
    if one.state not in ("missing", "corrupt"):
        return one.state
    return f"{one.state}: {counted(len(one.corrupt) or len(one.missing), 'file')}"


def tuning_table(title: str, found: RoleTuned) -> Table:
    """Speed of every candidate, fastest first, and its factor over the recipe's own settings.

    Candidates that could not be measured come last, each with the reason.
    """
    made = table(title, "candidate", "threads", "images/s (low to high)", "factor", "")
    speeds = found.speeds
    order = sorted(speeds.found, key=lambda one: speeds.spread(one).median, reverse=True)
    for one in order:
        speed, factor = speeds.spread(one), speeds.factor(one, found.now)
        best = one == speeds.fastest
        made.add_row(
            _candidate(one),
            str(one.threads),
            f"{speed.median:,.0f} ({speed.low:,.0f} to {speed.high:,.0f})",
            f"{factor.median:.2f}" if factor else "-",
            "best" if best else "now" if one == found.now else "",
            style="bold" if best else None,
        )
    for one, reason in speeds.skipped.items():
        now = "now" if one == found.now else ""
        made.add_row(_candidate(one), str(one.threads), escape(reason), "-", now)
    return made


def _candidate(one: Candidate) -> str:
    return f"{one.precision} {one.memory_format}{' compiled' if one.compile else ''}"
