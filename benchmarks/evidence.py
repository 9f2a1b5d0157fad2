"""Keep the answers of the planned comparison, and compute its results once all are there.

    python -m benchmarks.evidence keep RUN FOLDER [--as NAME]
    python -m benchmarks.evidence show FOLDER [--seeds 10] [--json]

`keep` writes FOLDER/SEED/NETWORK.safetensors for each trained network of the `erde compare` folder
RUN: scores and correctness of every exit on calibration and test images, and the processor; so it
runs where the networks were trained. --as NAME is for a run with a student of another size, and
keeps that one only. `show` refuses before the last of the planned seeds is there
(docs/evidence.md); --seeds is for a lack of time, and at least 6. Other networks are described on
the seeds that have them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence_answers import TEACHER, A, B, Kept, keep_networks, read_network
from benchmarks.measure import print_results, print_table
from erde_cli.core.arrays import FloatArray
from erde_cli.core.calibration.estimate import calibrate
from erde_cli.core.comparison.curves import (
    Curve,
    resampled,
)
from erde_cli.core.comparison.exit_quality import POINTS, auroc, savings
from erde_cli.core.comparison.paired import (
    LEVEL,
    Difference,
    corrected,
    difference,
    simultaneous,
    verdict,
)
from erde_cli.core.thresholds.targets import MaxDrop

FIRST, LEAST, MOST = 31, 6, 10  # the first seed, and how many


def main() -> None:
    """Keep answers, or show results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    keep = commands.add_parser("keep")
    keep.add_argument("run", type=Path)
    keep.add_argument("folder", type=Path)
    keep.add_argument("--as", dest="name")
    show = commands.add_parser("show")
    show.add_argument("folder", type=Path)
    show.add_argument("--seeds", type=int, default=MOST, choices=range(LEAST, MOST + 1))
    show.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.command == "keep":
        keep_networks(given.run, given.folder, given.name)
    else:
        show_results(given.folder, range(FIRST, FIRST + given.seeds), given.json)


def show_results(folder: Path, seeds: Sequence[int], as_json: bool) -> None:
    """Print the planned tables."""
    paths = {(seed, path.stem): path for seed in seeds for path in folder.glob(f"{seed}/*")}
    missing = [
        f"{seed}/{name}" for seed in seeds for name in (TEACHER, A, B) if (seed, name) not in paths
    ]
    if missing:
        sys.exit(f"No result before all planned seeds are there; missing: {', '.join(missing)}.")
    found: dict[str, dict[int, Kept]] = {}
    processors = set()
    for (seed, name), path in sorted(paths.items()):
        found.setdefault(name, {})[seed], processor = read_network(path)
        processors.add(processor)
    pairs = [(found[A][seed], found[B][seed]) for seed in seeds]
    rows = _primaries(pairs)
    columns = ["AUC, erde - kd, points", "mean", "interval", "level %", "p", "verdict", "seeds"]
    exits = _exits(pairs)
    ratios = [row for name in found for row in _ratios(name, found)]
    others = [row for name in found for row in _against(name, found)]
    document: dict[str, Any] = {
        "seeds": list(seeds), "processors": sorted(processors), "primaries": rows, "exits": exits,
        "theta_share": [_theta_share(pairs), _theta_share([(b, a) for a, b in pairs])],
        "others": others, "ratios": ratios,
    }  # fmt: skip
    print_results(f"{len(seeds)} seeds", columns, rows, as_json, document)
    if as_json:
        return
    print(f"\nprocessors: {'; '.join(sorted(processors))}")
    for share, one, other in zip(document["theta_share"], (A, B), (B, A), strict=True):
        print(f"{one} no worse than {other} and no dearer: {share:.0%} of the values of θ")
    print_table(["exit, measure", A, B, "difference (95 % over seeds)"], exits)
    print_table(
        ["network", "seeds", "MACs, millions", "last exit", "AUC", f"- {A}", f"- {B}"], others
    )
    print_table(["network", "target", "seeds", "points below the teacher", "ratio"], ratios)


def _primaries(pairs: Sequence[tuple[Kept, Kept]]) -> list[list[str]]:
    """Both primary differences with Holm's correction, the intervals at the level of the test."""
    curves: Mapping[str, Callable[[Kept], Curve]] = {
        "a threshold for each exit": lambda one: one.per_exit,
        "one θ for all exits": lambda one: one.one_theta,
    }
    found: dict[str, Difference] = {}
    for name, curve in curves.items():
        both = [(curve(a), curve(b)) for a, b in pairs]
        drawn = [resampled([a, b], budgets=())[:, :, 0] for a, b in both]
        of_seeds = [a.auc - b.auc for a, b in both]
        found[name] = difference(of_seeds, np.stack([a - b for a, b in drawn]))
    rows, tests, least = [], len(found), 0.0
    for name, one in sorted(found.items(), key=lambda item: item[1].p_value or 1.0):
        interval, p_value = simultaneous(one, tests), corrected(one.p_value, len(found) - len(rows))
        if interval is None or p_value is None:
            sys.exit("One seed has no interval.")
        least = max(least, p_value)
        rows.append([
            name, f"{100 * one.mean:+.2f}",
            f"{100 * interval[0]:+.2f} to {100 * interval[1]:+.2f}",
            f"{100 * (1 - LEVEL / tests):g}", f"{least:.3f}", str(verdict(interval)),
            " ".join(f"{100 * value:+.2f}" for value in one.of_seeds),
        ])  # fmt: skip
        if least < LEVEL:
            tests -= 1
    return rows


def _theta_share(pairs: Sequence[tuple[Kept, Kept]]) -> float:
    """Share of the finite values of θ at which the first of each pair is as good and no dearer."""
    a, b = (
        np.mean([[curve.cost, curve.accuracy] for curve in map(_one_theta, side)], axis=0)[:, :-1]
        for side in zip(*pairs, strict=True)
    )
    return float(np.mean((a[0] <= b[0]) & (a[1] >= b[1])))


def _one_theta(one: Kept) -> Curve:
    return one.one_theta


def _exits(pairs: Sequence[tuple[Kept, Kept]]) -> list[list[str]]:
    measures: Mapping[str, Callable[[Kept], Sequence[float]]] = {
        "AUROC of all errors": lambda one: _aurocs(one, repairable=False),
        "AUROC of errors that the last exit repairs": lambda one: _aurocs(one, repairable=True),
        "right images that pass on, %": _passed_on,
    }
    rows = []
    for name, measure in measures.items():
        digits = 1 if name.endswith("%") else 3
        values = np.array([[measure(one) for one in pair] for pair in pairs])
        for exit_ in range(values.shape[2]):
            a, b = values[:, 0, exit_], values[:, 1, exit_]
            rows.append([
                f"{exit_ + 1}, {name}", f"{a.mean():.{digits}f}", f"{b.mean():.{digits}f}",
                _over_seeds(a - b, digits),
            ])  # fmt: skip
    return rows


def _over_seeds(differences: FloatArray, digits: int) -> str:
    """Mean with the 95 % interval over seeds; test images do not vary."""
    if not np.isfinite(differences).all():  # an exit without such errors in one seed
        return "-"
    found = difference(list(differences), np.zeros((len(differences), 2)))
    low, high = found.interval or (np.nan, np.nan)
    return f"{found.mean:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def _aurocs(one: Kept, *, repairable: bool) -> list[float]:
    correct, last = one.test.correct, one.test.correct[:, -1]
    early = range(correct.shape[1] - 1)
    wanted = [~correct[:, exit_] & (last if repairable else True) for exit_ in early]
    found = [auroc(one.test.scores[:, exit_], wanted[exit_]) for exit_ in early]
    return [np.nan if value is None else value for value in found]


def _passed_on(one: Kept) -> list[float]:
    """Of the images that reach an early exit and are right there, the share that passes on, %."""
    taken = one.test.exits(calibrate(one.calibration, MaxDrop(1.0)).thresholds)
    shares = []
    for exit_ in range(one.test.correct.shape[1] - 1):
        right = (taken >= exit_) & one.test.correct[:, exit_]
        shares.append(100 * float(np.mean(taken[right] > exit_)))
    return shares


def _against(name: str, found: Mapping[str, Mapping[int, Kept]]) -> list[list[str]]:
    """Compare a network with A and B at equal cost; one without early exits at its own MACs."""
    own = found[name]
    macs = next(iter(own.values())).test.cumulative_macs[-1]
    accuracies = [one.test.full_accuracy for one in own.values()]
    single = next(iter(own.values())).test.correct.shape[1] == 1
    row = [name, str(len(own)), f"{macs / 1e6:.2f}", _spread(accuracies)]
    row.append("-" if single else _spread([one.per_exit.auc for one in own.values()]))
    for reference in (A, B):
        others = [found[reference][seed] for seed in own]
        if single:
            shares = [(macs / one.test.cumulative_macs[-1],) for one in others]
            at = [one.per_exit.at(share)[0] for one, share in zip(others, shares, strict=True)]
            differences = [
                mean - (other or np.nan) for mean, other in zip(accuracies, at, strict=True)
            ]
            drawn = []
            for one, other, share in zip(own.values(), others, shares, strict=True):
                mine, theirs = resampled([one.per_exit, other.per_exit], share)
                drawn.append(mine[:, 0] - theirs[:, 1])
            row.append(_points(difference(differences, np.stack(drawn))))
        elif name in (A, B, TEACHER) or macs != others[0].test.cumulative_macs[-1]:
            row.append("-")
        else:
            both = [(a.per_exit, b.per_exit) for a, b in zip(own.values(), others, strict=True)]
            drawn = [np.subtract(*resampled([a, b], ())[:, :, 0]) for a, b in both]
            row.append(_points(difference([a.auc - b.auc for a, b in both], np.stack(drawn))))
    return [row]


def _spread(shares: Sequence[float]) -> str:
    return f"{100 * np.mean(shares):.2f} ± {100 * np.std(shares, ddof=min(1, len(shares) - 1)):.2f}"


def _points(one: Difference) -> str:
    low, high = one.interval or (np.nan, np.nan)
    return f"{100 * one.mean:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"


def _ratios(name: str, found: Mapping[str, Mapping[int, Kept]]) -> list[list[str]]:
    """Ratio of the teacher's static MACs to the expected ones, at points below the teacher.

    For a point that all seeds reach: the ratio and the points below the teacher on test images,
    each with its 95 % interval over seeds.
    """
    of_seeds = {
        seed: savings(
            one.calibration, one.test, one.thresholds,
            found[TEACHER][seed].calibration.full_accuracy,
            (found[TEACHER][seed].static, one.static),
        )
        for seed, one in found[name].items()
    }  # fmt: skip
    rows = []
    for place, points in enumerate(POINTS):
        reached = {seed: one[place] for seed, one in of_seeds.items() if one[place].reached}
        row = [name, f"{points:g}", f"{len(reached)} of {len(of_seeds)}"]
        if len(reached) == len(of_seeds):
            below = [
                100 * (found[TEACHER][seed].test.full_accuracy - (one.accuracy or np.nan))
                for seed, one in reached.items()
            ]
            ratios = [one.macs_ratio or np.nan for one in reached.values()]
            row += [_interval(below), _interval(ratios)]
        rows.append(row + ["-"] * (5 - len(row)))
    return [*rows, _at_a_tenth(name, found)]


def _at_a_tenth(name: str, found: Mapping[str, Mapping[int, Kept]]) -> list[str]:
    """Points below the teacher with the best thresholds of calibration at a tenth of its MACs."""
    below, ratios = [], []
    for seed, one in found[name].items():
        teacher = found[TEACHER][seed]
        known = [one.calibration.figures(one.calibration.exits(v)) for v in one.thresholds]
        fitting = [
            (figures.accuracy or 0, -figures.expected_macs, vector)
            for figures, vector in zip(known, one.thresholds, strict=True)
            if figures.expected_macs <= teacher.static / 10
        ]
        if fitting:
            figures = one.test.figures(one.test.exits(max(fitting)[2]))
            below.append(100 * (teacher.test.full_accuracy - (figures.accuracy or np.nan)))
            ratios.append(teacher.static / figures.expected_macs)
    row = [name, "a tenth", f"{len(below)} of {len(found[name])}"]
    if len(below) < len(found[name]):
        return [*row, "-", "-"]
    return [*row, _interval(below), _interval(ratios)]


def _interval(values: Sequence[float]) -> str:
    """Mean with the 95 % interval over seeds."""
    found = difference(values, np.zeros((len(values), 2)))
    low, high = found.interval or (np.nan, np.nan)
    return f"{found.mean:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
