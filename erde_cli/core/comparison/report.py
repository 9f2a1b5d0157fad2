"""The report of a comparison: a sentence for each difference, and Markdown tables for a paper."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from erde_cli.core.comparison.document import PairedDifference, Results
from erde_cli.core.comparison.summary import SavingSummary, Spread, Summary
from erde_cli.core.figures import counted, macs, percent, signed, signed_interval, theta
from erde_cli.core.recipe.sections.comparison import REFERENCES
from erde_cli.core.storage.json_files import Json

RIVALS = (
    "Networks without early exits, distilled by kd, next to the students at the same MACs. "
    "Descriptive."
)
GAPS = "Entropy at early exits where the teacher is wrong / right, nats"
GAP_HEAD = (
    "method", "exit", "teacher wrong %", "wrong", "right", "gap", "accuracy %, wrong",
    "accuracy %, right",
)  # fmt: skip
_PAIRED = (
    "Paired differences in AUC, points. The primary one was fixed beforehand. The intervals of "
    "the others hold together (Bonferroni), and their p is corrected in the same way."
)
_SAME_THETA = (
    "The same with one θ for all exits, the paper's protocol, from never early to all at the "
    "first exit. Nothing is chosen on any image. erde − kd has an interval and p of its own. "
    "The intervals of the others hold together, and their p is corrected in the same way."
)
_NEEDED = (
    "Expected MACs for the accuracy of the teacher's last exit, minus points. Thresholds are "
    "chosen on calibration images, figures are from test images."
)
_SAVING_HEAD = (
    "method", "minus", "reached", "accuracy %", "MACs", "times fewer", "size", "exit",
)  # fmt: skip
_SHOWN = 10  # every tenth θ and both ends are shown
RIVAL_HEAD = ("rival", "MACs", "accuracy %", "method", "there %", "points", "95 % interval")


def statement(one: PairedDifference) -> str:
    """One sentence about a difference: its size, its interval and the verdict."""
    how = ", one θ for all exits" if one.measure == "auc_one_threshold" else ""
    size = f"{points(one.found.mean)} points of mean accuracy over budgets"
    text = f"{one.a} − {one.b}{how}: {size}"
    if one.found.interval is None:
        low, high = one.found.interval_images
        return (
            f"{text}; one seed says nothing about others (over its test images alone: 95 % "
            f"interval {_interval(low, high)})"
        )
    seeds = len(one.seeds)
    given = ", given this teacher" if one.conditional_on_teacher else ""
    kind = "95 % interval" if _alone(one) else "simultaneous 95 % interval"
    return f"{text} ({kind} {_deciding(one)}, {seeds} seeds{given}): {one.decision.verdict}"


def _alone(one: PairedDifference) -> bool:
    """Whether the difference was planned, so that its own interval decides."""
    return one.decision.interval_corrected is None


def _deciding(one: PairedDifference) -> str:
    """The interval that decides the verdict: simultaneous, except for the planned difference."""
    found = one.found.interval if _alone(one) else one.decision.interval_corrected
    return "-" if found is None else _interval(*found)


def _interval(low: float, high: float) -> str:
    """An interval of shares in points."""
    return signed_interval(100 * low, 100 * high)


def points(share: float) -> str:
    """A difference of shares in points, with its sign."""
    return signed(100 * share)


def spread(found: Spread | None, scale: float = 100, digits: int = 2) -> str:
    """Mean ± standard deviation over seeds; of shares, in percent."""
    if found is None:
        return "-"
    mean = f"{scale * found.mean:z.{digits}f}"
    return mean if found.sd is None else f"{mean} ± {scale * found.sd:.{digits}f}"


@dataclass(frozen=True)
class ResultTable:
    """A table of a comparison, with the sentences above it."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def markdown(found: Results) -> str:
    """Tables for a paper: accuracy at equal cost, paired differences, cost of an accuracy."""
    parts = []
    for one in result_tables(found, _plain):
        parts += [one.caption, _table(one.head, one.rows)]
    missing = [f"- seed {one.seed}, {one.label}: {_plain(one.reason)}" for one in found.failed]
    parts += ["Failed:", "\n".join(missing)] if missing else []
    return "\n\n".join(parts) + "\n"


def result_tables(found: Results, plain: Callable[[str], str] = str) -> list[ResultTable]:
    """Every table of a comparison.

    Args:
        found: the results.
        plain: escapes settings of a recipe in captions.
    """
    equal_cost = (
        f"Accuracy in % on {found.test_images:,} test images at a share of the full MACs; "
        f"mean ± standard deviation over {counted(len(found.seeds), 'seed')}. AUC is the mean "
        "over all shares from the cost of the first exit to 1."
    )
    settings = [f"{name}: {plain(in_words(one))}" for name, one in found.settings.items()]
    equal_cost += f" Differing from the recipe: {'; '.join(settings)}." if settings else ""
    difference = ["difference", "mean", "95 % interval", "p", "verdict"]
    gaps = gap_rows(found)
    tables = [
        ResultTable(equal_cost, *_budgets(found)),
        ResultTable(_PAIRED, difference, _differences(found.differences)),
        ResultTable(_SAME_THETA, difference, _differences(found.one_threshold.differences)),
        ResultTable(one_theta(found), theta_head(found), theta_rows(found)),
        ResultTable(_NEEDED, _SAVING_HEAD, _savings(found)),
    ]
    tables += [ResultTable(f"{GAPS}.", GAP_HEAD, gaps)] if gaps else []
    tables += [ResultTable(RIVALS, RIVAL_HEAD, rival_rows(found))] if found.static_rivals else []
    return tables


def in_words(settings: Json, prefix: str = "") -> str:
    """Settings in one line, such as `distillation.weights.entropy=0, training.student.epochs=5`."""
    parts = []
    for key, value in settings.items():
        nested = isinstance(value, dict)
        parts.append(in_words(value, f"{prefix}{key}.") if nested else f"{prefix}{key}={value}")
    return ", ".join(parts)


def _budgets(found: Results) -> tuple[list[str], list[list[str]]]:
    head = ["method", "AUC", *(f"{percent(budget, 0)} %" for budget in found.budgets)]
    rows = [[one.label, spread(one.auc), *map(spread, one.at_budgets)] for one in found.summary]
    return head, rows


def _differences(found: Sequence[PairedDifference]) -> list[list[str]]:
    return [_difference_cells(one) for one in found]


def _difference_cells(one: PairedDifference) -> list[str]:
    p_value = one.found.p_value if _alone(one) else one.decision.p_corrected
    name = f"{one.a} − {one.b}" + (" (primary)" if one.primary else "")
    p_cell = "-" if p_value is None else f"{p_value:.3f}"
    verdict = one.decision.verdict or "one seed"
    return [name, points(one.found.mean), _deciding(one), p_cell, verdict]


def _savings(found: Results) -> list[list[str]]:
    return [
        [
            one.label,
            f"{saved.points:g}",
            f"{saved.reached} of {saved.seeds}",
            spread(saved.accuracy),
            spread(saved.expected_macs, 1, 0),
            *saved_factors(saved),
        ]
        for one in found.summary
        for saved in one.savings
    ]


def saved_factors(saved: SavingSummary) -> list[str]:
    """Times fewer MACs: in all, by size, and by leaving early."""
    return [spread(one, 1) for one in (saved.macs_ratio, saved.size_ratio, saved.exit_ratio)]


def one_theta(found: Results) -> str:
    """Caption of the table of one θ."""
    full = found.students[0].network.full_macs
    return (
        "One θ for all exits, the same for every method, the paper's protocol: accuracy, and "
        f"expected MACs in % of the full MACs ({full:,.0f}). Descriptive: E shifts entropies, so "
        "the same θ has another cost for another method."
    )


def theta_head(found: Results) -> list[str]:
    """Columns of the sweep of one θ."""
    names = [one.label for one in _references(found)]
    return ["θ, nats", *(f"{name} {what}" for name in names for what in ("%", "MACs %"))]


def theta_rows(found: Results) -> list[list[str]]:
    """Accuracy and cost of the references at some values of one θ, both ends included."""
    thetas = found.one_threshold.thresholds
    sweeps = [one.one_threshold for one in _references(found)]
    rows = []
    for place in [*range(0, len(thetas) - 1, _SHOWN), len(thetas) - 1]:
        cells = [spread(one[place]) for sweep in sweeps for one in (sweep.accuracy, sweep.cost)]
        rows.append([theta(thetas[place]), *cells])
    return rows


def _references(found: Results) -> list[Summary]:
    """Students named after a method, or the first one: a dozen columns would be unreadable."""
    made = [one for one in found.summary if one.seeds]
    return [one for one in made if one.label in REFERENCES] or made[:1]


def gap_rows(found: Results) -> list[list[str]]:
    """Entropy and accuracy of every early exit where its teacher is wrong, and where right."""
    return [
        [
            one.label,
            f"{row.exit + 1} of {len(one.exits)}",
            spread(row.share_wrong, digits=1),
            *(spread(nats, 1, 3) for nats in (row.wrong, row.right, row.gap)),
            *map(spread, (row.accuracy_wrong, row.accuracy_right)),
        ]
        for one in found.summary
        for row in one.entropy_gaps
    ]


def rival_rows(found: Results) -> list[list[str]]:
    """Each static rival next to every reference student at the rival's cost."""
    rows = []
    for rival in found.static_rivals:
        for one in rival.against:
            cells = ["-", "-", "not reachable"]
            if one.difference is not None and one.accuracy is not None:
                interval = one.difference.interval
                cells = [
                    _mean(one.accuracy), points(one.difference.mean),
                    "one seed" if interval is None else _interval(*interval),
                ]  # fmt: skip
            rows.append([rival.label, macs(rival.macs), _mean(rival.accuracy), one.method, *cells])
    return rows


def _plain(text: str) -> str:
    """Text that may name files and classes, escaped for Markdown."""
    printable = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", printable)


def _mean(shares: Sequence[float]) -> str:
    """Mean ± standard deviation over seeds, in percent."""
    mean = percent(fmean(shares))
    return mean if len(shares) < 2 else f"{mean} ± {percent(stdev(shares))}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
