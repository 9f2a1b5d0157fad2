"""`python -m tests.fuzz recipe|bundle|images --minutes 10 [--seed N]`: look for findings."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from erde_cli.app import main as erde
from tests.conftest import TINY
from tests.fuzz.cases import Case, fuzz
from tests.fuzz.readers import bundles, images, recipes, remove_chain, temporary_folder


def case_of(reader: str, folder: Path) -> Case:
    """What makes cases for a reader; a bundle is trained first."""
    if reader == "recipe":
        return recipes(folder)
    if reader == "images":
        return images(folder)
    (folder / "tiny.yaml").write_text(TINY)
    run = folder / "run"
    if erde(["run", str(folder / "tiny.yaml"), "--out", str(run), "--quiet"]):
        sys.exit("the bundle to begin with cannot be made")
    return bundles(folder, run / "student")


def main() -> int:
    """Fuzz, and tell what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("reader", choices=("recipe", "bundle", "images"))
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--keep", type=Path, help="file that findings are written into as they come"
    )
    given = parser.parse_args()
    with temporary_folder() as folder:
        os.environ["ERDE_CACHE"] = str(Path(folder) / "cache")
        case = case_of(given.reader, Path(folder))
        tally = fuzz(case, given.seed, seconds=60 * given.minutes, keep=given.keep)
        remove_chain(Path(folder) / "images" / "train" / "dark" / "d")
    lines = [f"{given.reader}, seed {given.seed}: {tally}"]
    lines += [f"  {count:6,} x {kind}" for kind, count in tally.findings.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
