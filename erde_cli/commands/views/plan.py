"""Tables of a plan: networks, phases and their time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from erde_cli.commands.views.printable import printable
from erde_cli.commands.views.tables import exit_name, table
from erde_cli.core.figures import byte_size, counted, duration, macs, percent

if TYPE_CHECKING:
    from rich.console import RenderableType

    from erde_cli.core.workflows.plan import Plan
    from erde_cli.core.workflows.planned_training import PlannedTraining


def plan_pieces(plan: Plan) -> list[RenderableType]:
    """Tables of networks and phases, and the memory and disk that a run takes."""
    memory, disk = byte_size(plan.memory_bytes), byte_size(plan.disk_bytes)
    folder = escape(printable(str(plan.run)))
    return [
        _networks_table(plan),
        _phases_table(plan),
        f"memory: about {memory}; disk: about {disk} in {folder}",
    ]


def _networks_table(plan: Plan) -> Table:
    sides = {role: one.profile.input_shape[-1] for role, one in plan.roles.items()}
    differ = ", ".join(f"{role} {side} x {side} pixels" for role, side in sides.items())
    title = f"Networks ({differ})" if len(set(sides.values())) > 1 else "Networks"
    made = table(title, "exit", "parameters", "cumulative MACs", "of full %")
    for role, one in plan.roles.items():
        profile, parameters = one.profile, 0
        for exit_ in profile.exits:
            parameters += exit_.parameters
            made.add_row(
                f"{role} {exit_name(exit_.exit, len(profile.exits))}",
                f"{parameters:,}",
                macs(exit_.cumulative_macs),
                percent(exit_.cumulative_macs / profile.full_macs, 1),
            )
        made.add_section()
    return made


def _phases_table(plan: Plan) -> Table:
    context = plan.context
    threads = f", {counted(context.threads, 'thread')}" if context.device.type == "cpu" else ""
    title = f"Plan ({context.device.type}, {context.precision}{threads})"
    made = table(title, "phase", "work", "time")
    made.columns[1].justify = "left"
    for phase, seconds in plan.seconds.items():
        if phase in plan.kept:
            made.add_row(phase, "kept: nothing has changed", "-")
        else:
            made.add_row(phase, _work_of(plan, phase), duration(seconds))
    made.add_section()
    made.add_row("total", "", duration(plan.total))
    return made


def _work_of(plan: Plan, phase: str) -> str:
    for role, training in plan.roles.items():
        if role == phase:
            return _epochs(training)
    classes = plan.data["classes"]
    split = "calibration" if phase == "calibration" else "test"
    return f"{sum(one[split] for one in classes):,} images of {len(classes)} classes"


def _epochs(training: PlannedTraining) -> str:
    assert training.seconds_per_epoch is not None  # noqa: S101 (the phase is not kept)
    steps = f"{training.steps_per_epoch:,} steps, {duration(training.seconds_per_epoch)} each"
    if training.seconds_of_features:
        steps += f", after features in {duration(training.seconds_of_features)}"
    if training.epochs_left < training.epochs:
        return f"the last {training.epochs_left:.1f} of {training.epochs} epochs of {steps}"
    return f"{training.epochs} epochs of {steps}"
