"""Measure training and routed inference on a busy machine, for each policy of waiting threads.

python -m benchmarks.busy [--policies default 2000 passive] [--competitors 0 1 2]
    [--work training] [--repeats 3]

A policy is a number for GOMP_SPINCOUNT, `passive` for OMP_WAIT_POLICY, `default` for libgomp's own
policy, or `erde` for that of the command line. Each policy has its own process and is measured in
each round. A competitor is a process that never pauses. Figures are shares of the speed by
`default` on the idle machine, in the same round.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from time import perf_counter

import torch

from benchmarks.measure import Measure, apart, arguments, interleave, print_results, ratios, show
from benchmarks.networks import SIZE, network, random_images
from benchmarks.training import our_loop
from erde_cli.core.device import make_context
from erde_cli.core.inference.answers import ready
from erde_cli.core.inference.routing import route
from erde_cli.core.platform.waiting import VARIABLES, spin_briefly

NETWORK, IMAGES, SECONDS = "ResNet-20", 1280, 2.0
POLICIES = ["default", "0", "1000", "2000", "4000", "16000", "passive", "erde"]


def training() -> Measure:
    """Images per second of an epoch of `train-teacher`."""
    wake, epoch = (our_loop(NETWORK, random_images(count)) for count in (256, IMAGES))
    wake()
    return epoch


def routed() -> Measure:
    """Images per second, routed in batches of 64; half of them leave at each early exit."""
    context = make_context("cpu", "float32", torch.get_num_threads(), "channels_last")
    model = ready(network(NETWORK), context)
    images = torch.randn(64, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        first = route(model, images, [float("inf")] * 2)
        thresholds = [float(first.score.median()), 1.0]

    def run() -> float:
        start, done = perf_counter(), 0
        with torch.inference_mode():
            while perf_counter() - start < SECONDS:
                route(model, images, thresholds)
                done += len(images)
        return done / (perf_counter() - start)

    run()
    return run


WORK: dict[str, Callable[[], Measure]] = {"training": training, "routing": routed}


@contextmanager
def environment(policy: str) -> Iterator[None]:
    """Set the policy of processes that are started in the block."""
    before = {name: os.environ.pop(name, None) for name in VARIABLES}
    if policy == "erde":
        spin_briefly()
    elif policy == "passive":
        os.environ["OMP_WAIT_POLICY"] = policy
    elif policy != "default":
        os.environ["GOMP_SPINCOUNT"] = policy
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def with_competitors(competitors: int, measure: Measure) -> float:
    """Measure while other processes of the same priority run without pause."""
    command = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(command) for _ in range(competitors)]
    try:
        return measure()
    finally:
        for other in others:
            other.kill()
            other.wait()


def main() -> None:
    """Measure every policy with every number of competitors."""
    given = arguments(
        __doc__ or "",
        policies={"nargs": "+", "default": POLICIES},
        competitors={"nargs": "+", "type": int, "default": [0, 1, 2]},
        work={"nargs": "+", "choices": list(WORK), "default": list(WORK)},
    )
    policies = list(dict.fromkeys(["default", *given.policies]))
    counts = list(dict.fromkeys([0, *given.competitors]))
    rows, document = [], []
    for work in given.work:
        make = WORK[work]
        with ExitStack() as stack:
            sides = {}
            for policy in policies:
                with environment(policy):
                    [measure] = stack.enter_context(apart({policy: make})).values()
                for count in counts:
                    sides[f"{policy}/{count}"] = partial(with_competitors, count, measure)
            found = interleave(sides, given.repeats)
        for policy in policies:
            shares = [ratios(found[f"{policy}/{count}"], found["default/0"]) for count in counts]
            rows.append([work, policy, *map(show, shares)])
            row = dict(zip(map(str, counts), shares, strict=True))
            document.append({"work": work, "policy": policy, "share_by_competitors": row})
    columns = ["work", "policy", *(f"{count} competitors" for count in counts)]
    title = f"{NETWORK}, share of the idle speed by libgomp's own policy"
    print_results(title, columns, rows, given.json, {"busy": document})


if __name__ == "__main__":
    main()
