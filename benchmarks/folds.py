"""Cross-validate teacher and students on a folder of few images: every image is tested once.

    python -m benchmarks.folds RECIPE FOLDER --out OUT [--folds 5] [--seeds 3] [--methods erde,kd]

FOLDER holds one subfolder per class. For each fold and seed, `erde compare` trains on the other
folds; its calibration split, taken from them, chooses thresholds for a drop of --drop points, and
for expected MACs of at most each of --shares of the teacher's. Accuracies are over all images,
means over seeds; differences are paired by image and seed, with the intervals of `erde compare`.
Finished networks are kept: the same call continues. --teachers takes the teachers of another OUT;
--jobs runs several folds and seeds at once.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from benchmarks.measure import print_results
from erde_cli.core.calibration.estimate import calibrate
from erde_cli.core.comparison.paired import difference
from erde_cli.core.inference.observations import Observations
from erde_cli.core.thresholds.target import Target
from erde_cli.core.thresholds.targets import MaxDrop, MaxMacs

_DRAWS = 2000  # of the bootstrap over images


@dataclass(frozen=True)
class Pooled:
    """One network and seed on all images, in the order of the folds.

    correct: bool [images, exits]. under: for each target, whether the answer is right at the exit
    at which each image leaves, and the MACs of that exit, [2, images]; targets that the network
    cannot meet are missing.
    """

    correct: np.ndarray
    under: dict[str, np.ndarray]


def main() -> None:
    """Train and test all folds, and print accuracies, costs and differences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", default="erde,kd,cross_entropy")
    parser.add_argument("--teachers", type=Path, help="another OUT with the same folds and seeds")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--threads", type=int, help="of each job")
    parser.add_argument("--drop", type=float, default=1.0, help="points")
    parser.add_argument("--shares", type=float, nargs="*", default=[0.1], help="of MACs")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    places = [(fold, seed) for seed in range(1, given.seeds + 1) for fold in range(given.folds)]
    for fold in range(given.folds):
        _link(given.folder, given.out / f"fold-{fold}" / "images", fold, given.folds)
    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(lambda place: _compare(given, *place), places))
    names = ("teacher", *given.methods.split(","))
    seeds = range(1, given.seeds + 1)
    networks = {name: [_pooled(given, seed, name) for seed in seeds] for name in names}
    teachers = networks["teacher"]
    full = _static(given, 0, 1)
    rows = [
        [name, target, *_row(pooled, teachers, target, full)]
        for name, pooled in networks.items()
        for target in (f"drop {given.drop:g}", *map(_share, given.shares))
        if target in pooled[0].under
    ]
    columns = ["network", "target", "accuracy % of each exit", "under θ %", "M MACs under θ",
               "teacher's static MACs over these", "drop from the teacher's last exit"]  # fmt: skip
    title = f"{len(teachers[0].correct):,} images, {given.folds} folds, {given.seeds} seeds"
    document = {"rows": [dict(zip(columns, row, strict=True)) for row in rows]}
    print_results(title, columns, rows, given.json, document)
    for a, b in combinations(names[1:], 2):
        for target in [one for one in networks[a][0].under if one in networks[b][0].under]:
            pairs = zip(networks[a], networks[b], strict=True)
            gap = _paired([one.under[target][0] - other.under[target][0] for one, other in pairs])
            print(f"{a} - {b}, {target}: {gap} points")


def _share(share: float) -> str:
    return f"{share:g} of the MACs"


def _link(folder: Path, images: Path, fold: int, folds: int) -> None:
    """Link each image into train/ or test/; a hash of its name decides the order of the folds."""
    for kind in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(kind.iterdir(), key=lambda file: hashlib.sha256(file.name.encode()).digest())
        for place, file in enumerate(files):
            target = images / ("test" if place % folds == fold else "train") / kind.name / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                os.link(file, target)


def _compare(given: argparse.Namespace, fold: int, seed: int) -> None:
    """Train the teacher and the students of one fold and seed, and keep their answers."""
    root = (given.out / f"fold-{fold}" / "images").resolve()
    teacher = given.teachers and _run(given.teachers, fold, seed) / "teacher"
    command = [
        sys.executable, "-m", "erde_cli", "compare", given.recipe, "--seeds", "1",
        "--methods", given.methods, "--out", str(_run(given.out, fold, seed).parent),
        *(("--teacher", str(teacher)) if teacher else ()),
        *(("--threads", str(given.threads)) if given.threads else ()),
        "--set", f"seed={seed}", "--set", f"data.root={root}",
        *(word for text in given.overrides for word in ("--set", text)),
    ]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _run(out: Path, fold: int, seed: int) -> Path:
    return out / f"fold-{fold}" / f"run-{seed}" / f"seed-{seed}"


def _answers(given: argparse.Namespace, fold: int, seed: int, name: str) -> dict[str, np.ndarray]:
    run = _run(given.out, fold, seed)
    path = run / ("teacher.safetensors" if name == "teacher" else f"{name}/answers.safetensors")
    arrays: dict[str, np.ndarray] = load_file(path)
    return arrays


def _static(given: argparse.Namespace, fold: int, seed: int) -> float:
    """MACs of the teacher without early heads."""
    return float(_answers(given, fold, seed, "teacher")["static"][-1])


def _pooled(given: argparse.Namespace, seed: int, name: str) -> Pooled:
    corrects, unders = [], []
    for fold in range(given.folds):
        arrays = _answers(given, fold, seed, name)
        costs = arrays["costs"]
        chosen, tested = (
            Observations(
                arrays[f"{split}.scores"],
                arrays[f"{split}.predictions"] == arrays[f"{split}.labels"][:, None],
                costs,
            )
            for split in ("calibration", "test")
        )
        targets: dict[str, Target] = {f"drop {given.drop:g}": MaxDrop(given.drop)}
        for share in given.shares:
            own = share * _static(given, fold, seed) / costs[-1]
            if own > costs[0] / costs[-1]:
                targets[_share(share)] = MaxMacs(min(1.0, own))
        corrects.append(tested.correct)
        images = np.arange(len(tested.correct))
        unders.append({
            target: np.stack([tested.correct[images, exits], costs[exits]])
            for target, exits in (
                (target, tested.exits(calibrate(chosen, wanted).thresholds))
                for target, wanted in targets.items()
            )
        })  # fmt: skip
    joined = {
        target: np.concatenate([under[target] for under in unders], axis=1) for target in unders[0]
    }
    return Pooled(np.concatenate(corrects), joined)


def _row(pooled: list[Pooled], teachers: list[Pooled], target: str, full: float) -> list[str]:
    exits = np.mean([one.correct.mean(axis=0) for one in pooled], axis=0)
    right, macs = np.mean([one.under[target].mean(axis=1) for one in pooled], axis=0)
    drops = [a.correct[:, -1] - b.under[target][0] for a, b in zip(teachers, pooled, strict=True)]
    return [
        " ".join(f"{100 * share:.2f}" for share in exits),
        f"{100 * right:.2f}",
        f"{macs / 1e6:.1f}",
        f"{full / macs:.1f}",
        _paired(drops),
    ]


def _paired(per_image: list[np.ndarray]) -> str:
    """Mean over seeds of a difference per image [images], in points, with its 95 % interval."""
    generator = np.random.default_rng(0)
    images = len(per_image[0])
    values = np.stack(per_image)
    drawn = np.stack(
        [values[:, generator.integers(images, size=images)].mean(axis=1) for _ in range(_DRAWS)],
        axis=1,
    )
    found = difference([float(one.mean()) for one in values], drawn)
    low, high = found.interval or found.interval_images
    return f"{100 * found.mean:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"


if __name__ == "__main__":
    main()
