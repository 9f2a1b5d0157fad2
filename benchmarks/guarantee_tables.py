"""The tables of `benchmarks.guarantee`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.measure import print_table

if TYPE_CHECKING:
    from benchmarks.guarantee import Row


def condensed(rows: Sequence[Row], confidence: float) -> list[list[str]]:
    """One row per population, risk and size: violations and realised saving of each ε, in %."""
    lines: dict[tuple[str, str, int], list[str]] = {}
    for row in rows:
        if row.confidence == confidence:
            line = lines.setdefault((row.population, row.risk, row.images), [])
            line.append(f"{100 * row.violations:.1f} / {100 * row.realised:.0f}")
    return [
        [name, risk, f"{images:,}", *line]
        for (name, risk, images), line in sorted(lines.items(), key=_in_order)
    ]


def _in_order(item: tuple[tuple[str, str, int], list[str]]) -> tuple[int, int, int]:
    (name, risk, images), _ = item
    names = ("well calibrated", "badly calibrated", "least favourable")
    return names.index(name), ("disagreement", "accuracy-gap").index(risk), images


def worst(rows: Sequence[Row]) -> list[list[str]]:
    """For each confidence: most violations of any row, and fewest of the wrong rule."""
    lines = []
    for confidence in sorted({row.confidence for row in rows}):
        some = [row for row in rows if row.confidence == confidence]
        most = max(some, key=lambda row: row.violations)
        wrong = min(
            row.broken for row in some if row.population == "least favourable" and row.realised
        )
        lines.append([
            f"{confidence:g}", f"{100 * (1 - confidence):.0f}", f"{100 * most.allowed:.1f}",
            f"{100 * most.violations:.1f}", f"{100 * wrong:.1f}",
        ])  # fmt: skip
    return lines


def in_full(rows: Sequence[Row]) -> list[list[str]]:
    """Every row, in %."""
    return [
        [row.population, row.risk, f"{row.images:,}", f"{100 * row.epsilon:g}",
         f"{row.confidence:g}", f"{100 * row.violations:.1f}", f"{100 * row.allowed:.1f}",
         f"{100 * row.realised:.0f}", f"{100 * row.broken:.1f}"]
        for row in rows
    ]  # fmt: skip


def print_summaries(rows: Sequence[Row], chosen: Sequence[dict[str, Any]]) -> None:
    """Print the two short tables."""
    first = ["confidence", "promised, %", "allowed, %", "most violations of any row, %",
             "fewest of the wrong rule, %"]  # fmt: skip
    second = ["ε among 20, afterwards", "allowed, %", "by tests, %", "by bounds, %"]
    after = [
        [one["risk"], *(f"{100 * one[key]:.1f}" for key in ("allowed", "tests", "bounds"))]
        for one in chosen
    ]
    for columns, lines in ((first, worst(rows)), (second, after)):
        print_table(columns, lines)
        print()
