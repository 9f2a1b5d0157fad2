"""Keep the answers of the planned comparison by seed, and compute its results once all are there.

    python -m benchmarks.evidence keep RUN FOLDER
    python -m benchmarks.evidence show FOLDER [--seeds 10] [--json]

`keep` writes FOLDER/seed-N.safetensors for each seed of the `erde compare` folder RUN whose
networks are trained: scores and correctness of every exit on calibration and test images, and the
processor; so it runs where the seed was trained. `show` refuses before the last of the planned
seeds is there (docs/evidence.md, "planned"); --seeds is for a lack of time, and at least 6.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from benchmarks.measure import machine, print_results, print_table
from erde_cli.core.arrays import FloatArray
from erde_cli.core.calibration.estimate import calibrate
from erde_cli.core.comparison.curves import (
    Curve,
    cost_curve,
    one_threshold,
    resampled,
    with_ends,
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
from erde_cli.core.inference.observations import Observations
from erde_cli.core.thresholds.targets import MaxDrop, MaxMacs

FIRST, LEAST, MOST = 31, 6, 10  # the first seed, and how many
TEACHER, CLASSES = "teacher", 10
A, B = "erde", "kd"
_SPLITS = ("calibration", "test")

Arrays = dict[str, np.ndarray]


def main() -> None:
    """Keep answers, or show results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    keep = commands.add_parser("keep")
    keep.add_argument("run", type=Path)
    keep.add_argument("folder", type=Path)
    show = commands.add_parser("show")
    show.add_argument("folder", type=Path)
    show.add_argument("--seeds", type=int, default=MOST, choices=range(LEAST, MOST + 1))
    show.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.command == "keep":
        keep_seeds(given.run, given.folder)
    else:
        show_results(given.folder, range(FIRST, FIRST + given.seeds), given.json)


def keep_seeds(run: Path, folder: Path) -> None:
    """Write a file for each seed that has answers of the teacher and of both methods."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {name: str(value) for name, value in machine().items()}
    for seed in sorted(run.glob("seed-*")):
        paths = {path.parent.name: path for path in seed.glob("*/answers.safetensors")}
        target = folder / f"{seed.name}.safetensors"
        if not {A, B} <= paths.keys() or not (seed / "teacher.safetensors").is_file():
            print(f"{seed.name}: not complete")
        elif target.exists():
            print(f"{target}: kept before")
        else:
            paths[TEACHER] = seed / "teacher.safetensors"
            arrays = {
                f"{name}/{key}": array
                for name, path in paths.items()
                for key, array in _slim(load_file(path)).items()
            }
            save_file(arrays, target, about)
            print(f"{target}: {', '.join(sorted(paths))}")


def _slim(arrays: Arrays) -> Arrays:
    kept = {name: arrays[name] for name in ("costs", "static")}
    for split in _SPLITS:
        right = arrays[f"{split}.predictions"] == arrays[f"{split}.labels"][:, None]
        kept[f"{split}.correct"] = np.packbits(right, axis=0)
        kept[f"{split}.scores"] = arrays[f"{split}.scores"].astype(np.float32)
    return kept


@dataclass(frozen=True)
class Kept:
    """Answers of one network of a seed."""

    calibration: Observations
    test: Observations
    static: float

    @cached_property
    def thresholds(self) -> list[tuple[float, ...]]:
        """Vectors of the frontier on calibration images, and both ends, as in `erde compare`."""
        frontier = calibrate(self.calibration, MaxMacs(1.0)).frontier
        return with_ends([point.thresholds for point in frontier], len(self.test.scores[0]) - 1)

    @cached_property
    def per_exit(self) -> Curve:
        """With a threshold for each exit."""
        return cost_curve(self.test, self.thresholds)

    @property
    def one_theta(self) -> Curve:
        """With one θ for all exits."""
        early = self.test.scores.shape[1] - 1
        return cost_curve(self.test, [(theta,) * early for theta in one_threshold(CLASSES)])


def _read(path: Path) -> tuple[dict[str, Kept], dict[str, str]]:
    arrays = load_file(path)
    with safe_open(path, "np") as file:
        about = file.metadata()
    found = {}
    for name in {key.split("/")[0] for key in arrays}:
        own = {key.split("/")[1]: one for key, one in arrays.items() if key.startswith(f"{name}/")}
        calibration, test = (
            Observations(
                own[f"{split}.scores"].astype(np.float64),
                np.unpackbits(own[f"{split}.correct"], axis=0, count=len(own[f"{split}.scores"]))
                .astype(bool),
                own["costs"],
            )
            for split in _SPLITS
        )  # fmt: skip
        found[name] = Kept(calibration, test, float(own["static"][-1]))
    return found, about


def show_results(folder: Path, seeds: Sequence[int], as_json: bool) -> None:
    """Print the planned tables."""
    paths = {seed: folder / f"seed-{seed}.safetensors" for seed in seeds}
    missing = [str(seed) for seed, path in paths.items() if not path.is_file()]
    if missing:
        sys.exit(f"No result before all planned seeds are there; missing: {', '.join(missing)}.")
    found, processors = {}, []
    for seed, path in paths.items():
        found[seed], about = _read(path)
        processors.append(f"{about['processor']}, {about['arithmetic']}")
    pairs = [(networks[A], networks[B]) for networks in found.values()]
    rows = _primaries(pairs)
    columns = ["AUC, erde - kd, points", "mean", "interval", "level %", "p", "verdict", "seeds"]
    exits = _exits(pairs)
    ratios = [row for name in (TEACHER, A, B) for row in _ratios(name, found)]
    document: dict[str, Any] = {
        "seeds": list(seeds), "processors": processors, "primaries": rows, "exits": exits,
        "theta_share": _theta_share(pairs), "ratios": ratios,
    }  # fmt: skip
    print_results(f"{len(seeds)} seeds", columns, rows, as_json, document)
    if as_json:
        return
    print(f"\nprocessors: {', '.join(sorted(set(processors)))}")
    print(f"at least as accurate and no dearer: {document['theta_share']:.0%} of the values of θ")
    print_table(["exit, measure", A, B, "difference (95 % over seeds)"], exits)
    print_table(["network", "points below the teacher", "seeds", "accuracy", "ratio"], ratios)


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
        interval, p_value = simultaneous(one, tests), corrected(one.p_value, tests)
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
    """Share of the finite values of θ at which A is at least as accurate as B and no dearer."""
    a, b = (
        np.mean([[curve.cost, curve.accuracy] for curve in map(_one_theta, side)], axis=0)[:, :-1]
        for side in zip(*pairs, strict=True)
    )
    return float(np.mean((a[0] <= b[0]) & (a[1] >= b[1])))


def _one_theta(one: Kept) -> Curve:
    return one.one_theta


def _exits(pairs: Sequence[tuple[Kept, Kept]]) -> list[list[str]]:
    measures: Mapping[str, Callable[[Kept], Sequence[float]]] = {
        "AUROC of errors": lambda one: _aurocs(one, repairable=False),
        "AUROC of errors that the last exit repairs": lambda one: _aurocs(one, repairable=True),
        "right, but passed on, %": _passed_on,
    }
    rows = []
    for name, measure in measures.items():
        values = np.array([[measure(one) for one in pair] for pair in pairs])
        for exit_ in range(values.shape[2]):
            a, b = values[:, 0, exit_], values[:, 1, exit_]
            rows.append([
                f"{exit_ + 1}, {name}", f"{a.mean():.3f}", f"{b.mean():.3f}", _over_seeds(a - b)
            ])  # fmt: skip
    return rows


def _over_seeds(differences: FloatArray) -> str:
    """Mean with the 95 % interval over seeds; test images do not vary."""
    if not np.isfinite(differences).all():  # an exit without such errors in one seed
        return "-"
    found = difference(list(differences), np.zeros((len(differences), 2)))
    low, high = found.interval or (np.nan, np.nan)
    return f"{found.mean:+.3f} ({low:+.3f} to {high:+.3f})"


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


def _ratios(name: str, found: Mapping[int, Mapping[str, Kept]]) -> list[list[str]]:
    """Ratio of the teacher's static MACs to the expected ones, at points below the teacher."""
    of_seeds = [
        savings(
            networks[name].calibration, networks[name].test, networks[name].thresholds,
            networks[TEACHER].calibration.full_accuracy,
            (networks[TEACHER].static, networks[name].static),
        )
        for networks in found.values()
    ]  # fmt: skip
    rows = []
    for place, points in enumerate(POINTS):
        reached = [one[place] for one in of_seeds if one[place].reached]
        accuracy, ratio = (
            _mean([getattr(one, key) for one in reached]) for key in ("accuracy", "macs_ratio")
        )
        seeds = f"{len(reached)} of {len(of_seeds)}"
        rows.append([name, f"{points:g}", seeds, f"{100 * accuracy:.2f}", f"{ratio:.2f}"])
    return rows


def _mean(values: FloatArray | Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else np.nan


if __name__ == "__main__":
    main()
