"""Convolutions in channels last, each in a process of its own, compared with exact gradients.

Exact: float64 and contiguous, which takes torch's own kernels and none of oneDNN's.
"""

from __future__ import annotations

import copy
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from multiprocessing.connection import Connection

import torch
from torch import Tensor, nn

REPEATS = 4  # memory written outside shows after some steps only
SECONDS = 20.0  # a step takes milliseconds
_PARTS = ("output", "images", "weight", "bias")
_ROUNDING = {"float32": 2e-5, "bfloat16": 3e-2, "float16": 6e-3}  # of the largest number

Guard = Callable[[nn.Module], object]


@dataclass(frozen=True)
class Case:
    """One convolution on square images, and how it is run."""

    inputs: int
    outputs: int
    kernel: int
    stride: int | tuple[int, int]
    groups: int
    side: int
    batch: int
    threads: int
    precision: str

    def __str__(self) -> str:
        return (
            f"Conv2d({self.inputs}, {self.outputs}, {self.kernel}, stride={self.stride}, "
            f"groups={self.groups}), batch {self.batch}, {self.side}x{self.side}, "
            f"{self.threads} threads, {self.precision}"
        )


def all_cases(precision: str) -> Iterator[Case]:
    """The whole range, depthwise convolutions and images narrower than the stride included."""
    inputs = [*range(1, 18), 24, 32, 64]
    strides = [(1, 1), (1, 2), (1, 3), (1, (1, 2)), (1, (2, 1)), (3, 1), (3, 2), (5, 2)]
    for one, outputs, (kernel, stride) in product(inputs, (4, 8, 20), strides):
        for groups in sorted({1, 2, one}):
            if one % groups or outputs % groups:
                continue
            for side, batch, threads in product((1, 5, 12, 36), (1, 3, 16), (1, 2)):
                yield Case(one, outputs, kernel, stride, groups, side, batch, threads, precision)


def short_cases(precision: str) -> list[Case]:
    """Those that fail soonest where nothing guards them."""
    narrow = [
        Case(inputs, inputs, kernel, 2, groups, 1, 16, threads, precision)
        for inputs, groups in ((16, 16), (72, 72), (64, 4), (64, 1))
        for kernel in (3, 5)
        for threads in (1, 2)
    ]
    pointwise = [
        Case(inputs, 8, 1, stride, 1, 36, batch, threads, precision)
        for inputs in (3, 4, 7, 8, 12, 15, 16)
        for stride in (2, (1, 2), 3)
        for batch, threads in ((16, 1), (3, 2), (1, 2))
    ]
    return narrow + pointwise


def answers(cases: Sequence[Case], guard: Guard) -> Iterator[tuple[Case, str]]:
    """Each case with "right", "wrong: ...", "crashed: signal ..." or "no answer".

    Cases run in turn in one child; after a crash a new child begins with the next case.
    """
    rest = list(cases)
    while rest:
        done = 0
        for said in _child(rest, guard):
            yield rest[done], said
            done += 1
        rest = rest[done:]


def _child(cases: Sequence[Case], guard: Guard) -> Iterator[str]:
    """Answers of one child, until it crashes or has said all."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_compare_all, args=(cases, guard, theirs))
    child.start()
    theirs.close()
    try:
        for _ in cases:
            if not ours.poll(SECONDS):
                yield "no answer"
                return
            yield str(ours.recv())
    except EOFError:
        child.join(SECONDS)
        yield f"crashed: signal {-(child.exitcode or 0)}"
    finally:
        child.kill()
        child.join()
        ours.close()


def _compare_all(cases: Sequence[Case], guard: Guard, pipe: Connection) -> None:
    for case in cases:
        pipe.send(compare(case, guard))


def compare(case: Case, guard: Guard) -> str:
    """ "right", or "wrong" and in what by how much; in this process, which may crash."""
    torch.set_num_threads(case.threads)
    torch.manual_seed(1)
    layer = nn.Conv2d(
        case.inputs, case.outputs, case.kernel, case.stride, case.kernel // 2, groups=case.groups
    )
    images = torch.randn(case.batch, case.inputs, case.side, case.side)
    exact = copy.deepcopy(layer).double()
    gradient = torch.randn(exact(images.double()).shape)
    wanted = _passes(exact, images.double(), gradient.double())
    last = torch.channels_last
    layer.to(memory_format=last)
    guard(layer)
    images, gradient = (part.contiguous(memory_format=last) for part in (images, gradient))
    wrong: dict[str, float] = {}
    for _ in range(REPEATS):
        spoil_freed_memory()
        with torch.autocast("cpu", getattr(torch, case.precision), case.precision != "float32"):
            found = _passes(layer, images, gradient)
        for name, one, other in zip(_PARTS, found, wanted, strict=True):
            error = float((one - other).abs().max() / other.abs().max())
            if not error <= _ROUNDING[case.precision]:
                wrong[name] = max(error, wrong.get(name, 0.0))
    return f"wrong: {wrong}" if wrong else "right"


def spoil_freed_memory() -> None:
    """Fill freed memory with NaN, which a gradient contains if its kernel did not write it."""
    blocks = [torch.full((2**size,), torch.nan) for size in range(4, 17) for _ in range(2)]
    del blocks


def _passes(layer: nn.Conv2d, images: Tensor, gradient: Tensor) -> list[Tensor]:
    images = images.detach().requires_grad_()
    output = layer(images)
    sought = [images, layer.weight, layer.bias]
    return [output, *torch.autograd.grad(output, sought, gradient.to(output.dtype))]
