"""What `erde compare` shows: accuracy at equal cost, exits, savings, differences, verdicts."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from erde_cli.commands.views.tables import exit_name, picture_line, table
from erde_cli.core.comparison.differences import PLANNED
from erde_cli.core.comparison.document import Failed, PairedDifference, Results
from erde_cli.core.comparison.files import JSON, PICTURES
from erde_cli.core.comparison.report import (
    GAP_HEAD,
    GAPS,
    RIVAL_HEAD,
    gap_rows,
    one_theta,
    rival_rows,
    saved_factors,
    spread,
    statement,
    theta_head,
    theta_rows,
)
from erde_cli.core.figures import percent
from erde_cli.core.workflows.compare import Compared, ShardDone


def comparison_pieces(compared: Compared) -> list[RenderableType]:
    """Tables and sentences of a comparison."""
    found = compared.results
    primary = found.primary
    first = "[bold]The primary comparison, erde − kd, was not made.[/bold]"
    if primary is not None:
        first = f"[bold]{escape(statement(primary))}[/bold]"
    others = _together(one for one in found.differences if not one.primary)
    same = found.one_threshold.differences
    planned = [escape(statement(one)) for one in same if (one.a, one.b) == PLANNED]
    if planned:
        planned = ["The paper's protocol:", *planned]
    others += [*planned, *_together(one for one in same if (one.a, one.b) != PLANNED)]
    failed = [_failure(one) for one in found.failed]
    picture = compared.run / PICTURES[0]
    return [
        _teachers(found), _budgets(found), _exits(found), _savings(found),
        *_gaps(found), _one_theta(found), one_theta(found),
        *([_rivals(found)] if found.static_rivals else []),
        first, *others, "Everything else is descriptive.", *failed,
        *picture_line(picture if picture.is_file() else None),
        f"report:  {escape(str(compared.run / JSON))}",
        *([] if compared.page is None else [f"page:    {escape(str(compared.page))}"]),
    ]  # fmt: skip


def shard_pieces(done: ShardDone) -> list[RenderableType]:
    """Sentences about a shard that is trained, and how all shards are merged."""
    failed = [_failure(one) for one in done.failures]
    missing = {one.seed for one in done.failures}
    seeds = ", ".join(str(seed) for seed in done.of_seeds if seed not in missing) or "none"
    merge = (
        f"Shard {done.shard}: seeds done: {seeds}, of {len(done.all_seeds)} in "
        f"{escape(str(done.run))}. When all shards are done, type the same command without "
        f"--shard {done.shard}: it keeps all networks, trains only what is missing, and compares."
    )
    return [*failed, merge]


def _failure(one: Failed) -> str:
    return f"[red]failed[/red]: seed {one.seed}, {escape(one.label)}: {escape(one.reason)}"


def _together(differences: Iterable[PairedDifference]) -> list[str]:
    """Sentences about differences; the intervals of several seeds hold together."""
    shown = list(differences)
    over_seeds = any(one.found.interval is not None for one in shown)
    head = ["These intervals hold together (Bonferroni):"] if over_seeds else []
    return [*head, *(escape(statement(one)) for one in shown)]


def _teachers(found: Results) -> Table:
    """Where the entropy term can act: the share of images that each teacher gets wrong, by exit."""
    made = table(
        "Teachers: accuracy of the last exit, and % wrong at each exit", "seed", "accuracy %",
        "train, augmented", "calibration", "test",
    )  # fmt: skip
    for one in found.teachers:
        wrong = [one.wrong.train, one.wrong.calibration, one.wrong.test]
        cells = ["-" if w is None else " / ".join(percent(e, 1) for e in w) for w in wrong]
        made.add_row(str(one.seed), percent(one.accuracy), *cells)
    return made


def _budgets(found: Results) -> Table:
    """Accuracy of every student at equal cost."""
    places = [p for p, budget in enumerate(found.budgets) if budget in (0.4, 0.5, 0.7, 1.0)]
    made = table(
        f"Accuracy % on {found.test_images:,} test images, mean ± sd over seeds",
        "method", "seeds", "AUC",
        *(f"{percent(found.budgets[place], 0)} % MACs" for place in places),
    )  # fmt: skip
    for one in found.summary:
        cells = [spread(one.at_budgets[place]) for place in places]
        made.add_row(one.label, str(one.seeds), spread(one.auc), *cells)
    return made


def _exits(found: Results) -> Table:
    """Every exit on all test images."""
    made = table(
        "Exits, on all test images", "method", "exit", "accuracy %", "AUROC error",
        "repairable", "certain half %", "ECE %", "NLL",
    )  # fmt: skip
    for one in found.summary:
        for row in one.exits:
            made.add_row(
                one.label,
                exit_name(row.exit, len(one.exits)),
                spread(row.accuracy),
                spread(row.auroc_error, 1, 3),
                spread(row.auroc_repairable, 1, 3),
                spread(row.accuracy_certain),
                spread(row.ece),
                spread(row.nll, 1, 3),
            )
    return made


def _savings(found: Results) -> Table:
    """The cost of the teacher's accuracy."""
    made = table(
        "MACs for the teacher's accuracy minus points", "method", "minus", "reached",
        "accuracy %", "times fewer", "by size", "by exit",
    )  # fmt: skip
    for one in found.summary:
        for row in one.savings:
            made.add_row(
                one.label,
                f"{row.points:g}",
                f"{row.reached} of {row.seeds}",
                spread(row.accuracy),
                *saved_factors(row),
            )
    return made


def _gaps(found: Results) -> list[Table]:
    """Whether the entropy term acts; no table if no student has a teacher and an early exit."""
    made = table(GAPS, *GAP_HEAD)
    rows = gap_rows(found)
    for row in rows:
        made.add_row(*row)
    return [made] if rows else []


def _one_theta(found: Results) -> Table:
    """The paper's protocol: cost and accuracy at each value of one θ."""
    made = table("One θ for all exits, mean ± sd over seeds", *theta_head(found))
    for row in theta_rows(found):
        made.add_row(*row)
    return made


def _rivals(found: Results) -> Table:
    """Networks without early exits at the cost of the adaptive students."""
    made = table("Static rivals: no early exits, kd, at the same MACs", *RIVAL_HEAD)
    for row in rival_rows(found):
        made.add_row(*row)
    return made
