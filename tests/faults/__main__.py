"""The long fault test: `python -m tests.faults` (half an hour; --kills and so on for less).

Runs of `erde run digits` are killed, their writes fail, their files are damaged; each goes on until
it ends, and is compared with an undisturbed one: the same files, the same bytes, but for seconds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from .damage import damage_at_random
from .errors import build, fail_at_random
from .kills import kill_at_random
from .runs import Line


def main() -> int:
    """Print the figures; 1 where anything differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    for name, default in (("kills", 30), ("failures", 30), ("damages", 30), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--recipe", default="digits", help="of `erde run`")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="erde-faults-") as name:
        folder = Path(name)
        cached = ("--set", "distillation.teacher_cache.views=2")
        line = Line(("run", wanted.recipe, *cached), folder / "cache")
        straight = folder / "straight"
        seconds = line.timed(straight)
        print(f"{' '.join(line.arguments)}, undisturbed: {seconds:.1f} s", flush=True)
        killed = kill_at_random(line, straight, seconds, folder, wanted.kills, wanted.seed)
        print(
            f"kills {len(killed.moments)} ({min(killed.moments):.1f} to "
            f"{max(killed.moments):.1f} s after a start), trainings taken up {killed.resumed}, "
            f"runs {killed.runs}, differences {len(killed.differences)}", flush=True,
        )  # fmt: skip
        failed = fail_at_random(line, straight, build(folder), folder, wanted.failures, wanted.seed)
        calls = ", ".join(f"{count} {name}" for name, count in sorted(failed.calls.items()))
        print(
            f"failed writes {sum(failed.calls.values())} ({calls}), runs ended by one "
            f"{failed.failures}, runs that did without {failed.survived}, whole runs "
            f"{failed.runs}, differences or unclear messages {len(failed.problems)}", flush=True,
        )  # fmt: skip
        hurt = damage_at_random(line, straight, seconds, folder, wanted.damages, wanted.seed)
        print(f"damaged files {dict(hurt.files)}: {dict(hurt.answers)}, "
              f"wrong in the end {len(hurt.problems)}")  # fmt: skip
    problems = [*killed.differences, *failed.problems, *hurt.problems]
    for one in problems:
        print(f"  {one}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
