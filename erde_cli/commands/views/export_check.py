"""Table of `erde export FILE --check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from erde_cli.commands.views.tables import exit_name, table

if TYPE_CHECKING:
    from erde_cli.core.export.check_vector import ExitAnswer
    from erde_cli.core.workflows.export_check import CheckedExport


def check_table(checked: CheckedExport) -> Table:
    """Expected and found answer of every exit: label, probability, score."""
    unit = checked.record.score.unit
    made = table(
        f"Check vector, tolerance {checked.vector.tolerance:g}",
        "exit", f"expected: label, probability, {unit}", "found", "difference", "",
    )  # fmt: skip
    for one in checked.exits:
        made.add_row(
            exit_name(one.expected.exit, checked.record.exit_count),
            _written(one.expected),
            _written(one.found),
            f"{one.difference:.1e}",
            "equal" if one.is_right else "differs",
        )
    return made


def _written(answer: ExitAnswer) -> str:
    return f"{answer.label}, {answer.probability:.4f}, {answer.score:.4f}"
