"""Tables of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.markup import escape

from erde_cli.commands.views.tables import exit_name, table
from erde_cli.core.figures import counted, duration, percent

if TYPE_CHECKING:
    from erde_cli.core.workflows.train import Trained


def trained_pieces(trained: Trained, title: str) -> list[RenderableType]:
    """Accuracy of every exit on the tuning half of the calibration split, speed, and the bundle."""
    made = table(f"{title} on the tuning half of the calibration split", "exit", "accuracy %")
    for index, accuracy in enumerate(trained.accuracy_calibration):
        made.add_row(exit_name(index, len(trained.accuracy_calibration)), percent(accuracy))
    time = f"{counted(trained.epochs, 'epoch')} in {duration(trained.seconds)}"
    return [
        made,
        f"{time}, {trained.images_per_second:,.0f} images/s",
        f"bundle: {escape(str(trained.bundle.path))}",
    ]
