"""Gradients of convolutions in channels last: `python -m tests.gradients` (minutes).

Emulate a processor without AVX512: ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter

import torch
from torch import nn

from erde_cli.core.platform.depthwise import speed_up_depthwise
from erde_cli.core.platform.narrow import guard_narrow
from erde_cli.core.platform.pointwise import guard_pointwise

from .cases import all_cases, answers, short_cases


def main() -> int:
    """Print the cases that are not right, and how many; 1 where there are some."""
    parser = argparse.ArgumentParser(prog="python -m tests.gradients", description=__doc__)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--short", action="store_true", help="a second's worth of cases")
    parser.add_argument("--unguarded", action="store_true", help="as torch computes them")
    wanted = parser.parse_args()
    guard = (lambda layer: layer) if wanted.unguarded else _guard
    cases = (short_cases if wanted.short else all_cases)(wanted.precision)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}", flush=True)
    found: Counter[str] = Counter()
    for case, said in answers(list(cases), guard):
        found[said.split(":")[0]] += 1
        if said != "right":
            print(f"{case}: {said}", flush=True)
    print(", ".join(f"{count:,} {kind}" for kind, count in found.most_common()))
    return int(set(found) != {"right"})


def _guard(layer: nn.Module) -> None:
    guard_pointwise(layer)
    speed_up_depthwise(layer)
    guard_narrow(layer)


if __name__ == "__main__":
    sys.exit(main())
