"""How far losses of several processes are from those of one, to print: by hand.

python -m tests.core.processes
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from tests.core.processes.test_several import NETWORKS, difference
from tests.core.processes.training import STEPS, steps
from tests.ranks import results


def main() -> None:
    print(f"largest difference of losses in {STEPS} steps")
    for name, network in NETWORKS.items():
        for norms_learn in (False, True):
            with TemporaryDirectory() as folder:
                [one] = results(Path(folder) / "1", 1, steps, *network, norms_learn)
                for world_size in (2, 3):
                    shared = results(Path(folder) / "2", world_size, steps, *network, norms_learn)
                    off = difference(one["losses"], shared[0]["losses"])
                    mode = "training" if norms_learn else "evaluation"
                    print(
                        f"{name}, norms in {mode} mode, {world_size} processes: {off:.2g} "
                        f"(last losses {one['losses'][-1]:.4f}, {shared[0]['losses'][-1]:.4f})",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
