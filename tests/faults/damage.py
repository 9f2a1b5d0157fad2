"""Bits flipped in, or ends cut off, the files of runs: checkpoints, caches and bundles."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from .runs import Line, differences, files_of


@dataclass
class Damaged:
    """What damage came to: files by kind, and how each was answered."""

    files: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def damage_at_random(
    line: Line, straight: Path, seconds: float, folder: Path, rounds: int, seed: int
) -> Damaged:
    """Damage one file of a run, or of its cache, and go on, until the run is as undisturbed.

    Half of the runs have been killed before, so that there are checkpoints.
    """
    draws = random.Random(seed)
    done = Damaged()
    for number in range(rounds):
        run = folder / f"damaged-{number}"
        if number % 2:
            _kill(line, run, draws.uniform(0.3, 0.95) * seconds)
        else:
            shutil.copytree(straight, run)
        path = _victim(line, run, draws, done)
        if path is not None:
            _go_on(line, run, path, straight, draws, done)
        shutil.rmtree(run, ignore_errors=True)
    return done


def _kill(line: Line, run: Path, moment: float) -> None:
    with line.start(run) as process:
        try:
            process.communicate(timeout=moment)
        except Exception:  # noqa: BLE001 (it still runs)
            process.kill()


def _victim(line: Line, run: Path, draws: random.Random, done: Damaged) -> Path | None:
    """A file of a random kind that the rest of the run reads."""
    kinds = {
        "checkpoint": [*run.glob("checkpoints/*/step-*.pt")],
        "bundle": [run / role / name for role in ("teacher", "student")
                   for name in ("bundle.json", "thresholds.json", "tests.json",
                                "model.safetensors")],
        "run": [run / "run.json", run / "report.json"],
        "cache": [path for name, path in files_of(line.cache).items() if "key.json" not in name],
    }  # fmt: skip
    kinds = {kind: [one for one in paths if one.is_file()] for kind, paths in kinds.items()}
    kinds = {kind: paths for kind, paths in kinds.items() if paths}
    if not kinds:
        return None
    kind = "checkpoint" if "checkpoint" in kinds else draws.choice(sorted(kinds))
    done.files[kind] += 1
    path = draws.choice(sorted(kinds[kind]))
    content = bytearray(path.read_bytes())
    place = draws.randrange(len(content))
    if draws.random() < 0.5:
        content = content[:place]
    else:
        content[place] ^= 1 << draws.randrange(8)
    path.write_bytes(content)
    return path


def _go_on(
    line: Line, run: Path, path: Path, straight: Path, draws: random.Random, done: Damaged
) -> None:
    """Type the same command, and then what its message tells."""
    with line.start(run) as process:
        _, said = process.communicate()
    answer = "kept or made again"
    if process.returncode == 2:
        answer = "refused, named"
        if path.name not in said or "  next:  " not in said or "Traceback" in said:
            done.problems.append(f"{path}: refused, but not named with a way on\n{said}")
        if path.name in ("run.json", "thresholds.json", "tests.json"):
            path.unlink()  # "remove it", "choose them again", "move it away"
    elif process.returncode != 0:
        done.problems.append(f"{path}: exit code {process.returncode}\n{said}")
    elif "is damaged" in said or "is ignored" in said:
        answer = "told, made again"
    done.answers[answer] += 1
    line.finish(run, "--force")
    done.problems += [f"{path}, then {one}" for one in differences(run, straight)]
