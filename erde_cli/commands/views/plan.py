"""Tables of a plan: images, networks, phases and their time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from erde_cli.commands.views.printable import printable
from erde_cli.commands.views.tables import exit_name, macs, percent, table
from erde_cli.core.events import duration

if TYPE_CHECKING:
    from rich.console import RenderableType

    from erde_cli.core.workflows.plan import Plan
    from erde_cli.core.workflows.planned_training import PlannedTraining


def plan_pieces(plan: Plan) -> list[RenderableType]:
    """All that is shown of a plan but its images."""
    held = (
        f"memory: about {_megabytes(plan.memory_bytes)}; disk: about {_megabytes(plan.disk_bytes)}"
    )
    return [
        _networks_table(plan),
        _phases_table(plan),
        f"{held} in {escape(printable(str(plan.run)))}",
    ]


def _networks_table(plan: Plan) -> Table:
    made = table("Networks", "exit", "parameters", "MACs so far", "% of full")
    for role, one in plan.roles.items():
        profile, parameters = one.profile, 0
        for exit_ in profile.exits:
            parameters += exit_.parameters
            made.add_row(
                f"{role} {exit_name(exit_.exit, len(profile.exits))}",
                f"{parameters:,}",
                macs(exit_.cumulative_macs),
                percent(exit_.cumulative_macs / profile.full_macs),
            )
        made.add_section()
    return made


def _phases_table(plan: Plan) -> Table:
    where = f"{plan.context.device.type}, {plan.context.precision}"
    threads = f"{plan.context.threads} thread{'' if plan.context.threads == 1 else 's'}"
    where += f", {threads}" if plan.context.device.type == "cpu" else ""
    made = table(f"Plan ({where})", "phase", "what", "time")
    made.columns[1].justify = "left"
    for phase, seconds in plan.seconds.items():
        if phase in plan.kept:
            made.add_row(phase, "nothing has changed: kept", "-")
        else:
            made.add_row(phase, _work_of(plan, phase), duration(seconds))
    made.add_section()
    made.add_row("all", "", duration(plan.total))
    return made


def _work_of(plan: Plan, phase: str) -> str:
    splits = [one["class_name"] for one in plan.data["classes"]]
    for role, one in plan.roles.items():
        if role == phase:
            return _epochs(one)
    split = "calibration" if phase == "calibration" else "test"
    images = sum(one[split] for one in plan.data["classes"])
    return f"{images:,} images of {len(splits)} classes"


def _epochs(one: PlannedTraining) -> str:
    assert one.seconds_per_epoch is not None  # noqa: S101 (it is not kept)
    each = f"{one.steps_per_epoch:,} steps, {duration(one.seconds_per_epoch)} each"
    if one.epochs_left < one.epochs:
        return f"the last {one.epochs_left:.1f} of {one.epochs} epochs of {each}"
    return f"{one.epochs} epochs of {each}"


def _megabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"
