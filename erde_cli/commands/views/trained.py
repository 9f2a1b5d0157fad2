"""How a freshly trained network is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.markup import escape

from erde_cli.commands.views.tables import exit_name, percent, table

if TYPE_CHECKING:
    from erde_cli.core.workflows.train import Trained


def trained_pieces(trained: Trained, title: str) -> list[RenderableType]:
    """Accuracy of every exit on half A of the calibration split, speed, and where the bundle is."""
    made = table(f"{title} on half A of the calibration split", "exit", "accuracy %")
    for index, accuracy in enumerate(trained.accuracy_calibration):
        made.add_row(exit_name(index, len(trained.accuracy_calibration)), percent(accuracy))
    speed = (
        f"{trained.epochs} epoch{'s' * (trained.epochs != 1)} in {trained.seconds:.0f} s, "
        f"{trained.images_per_second:,.0f} images/s"
    )
    return [
        made,
        speed,
        f"bundle: {escape(str(trained.bundle.path))}",
    ]
