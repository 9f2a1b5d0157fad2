"""Compare routed inference with static networks: each exit alone, without early heads.

python -m benchmarks.routing [--repeats 7] [--json]

At a mix of exits, an ideal router takes the exit rates · times of the exits alone: early heads and
decisions take no time. `reached` is the ideal time over the measured time. The gain is over the
static network, the last exit alone. A prefix network runs stages and heads 0 to i and stops; it
shows how much of the loss is due to the heads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.earlyon_peer import earlyon_batched
from benchmarks.measure import arguments, interleave, print_results, ratios, show
from benchmarks.networks import NETWORKS, network
from erde_cli.core.device import make_context
from erde_cli.core.inference.answers import ready
from erde_cli.core.inference.routing import route
from erde_cli.core.measurement.latency import static_network
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.profile import Profile, profile_model
from erde_cli.core.thresholds.scores import ENTROPY

MIXES = {"50/30/20": (0.5, 0.3, 0.2), "80/15/5": (0.8, 0.15, 0.05), "10/20/70": (0.1, 0.2, 0.7)}
IMAGES = 2048
SINGLE = 256  # images routed one by one


class Prefix(nn.Module):
    """Stages and heads 0 to `last`, as a network without routing."""

    def __init__(self, model: EarlyExitNet, last: int) -> None:
        super().__init__()
        self.stages, self.heads = model.stages[: last + 1], model.heads[: last + 1]

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the last one."""
        features = images
        for stage, head in zip(self.stages, self.heads, strict=True):
            features = stage(features)
            logits: Tensor = head(features)
        return logits


@torch.inference_mode()
def thresholds_for(model: EarlyExitNet, images: Tensor, mix: Sequence[float]) -> list[float]:
    """Thresholds in nats under which the given shares of `images` leave at each exit."""
    scores = ENTROPY.value(model(images))
    waiting = torch.ones(len(images), dtype=torch.bool)
    limits = []
    for exit_, share in enumerate(mix[:-1]):
        count = round(share * len(images))
        ordered = scores[waiting, exit_].double().sort().values
        limits.append(float((ordered[count - 1] + ordered[count]) / 2))
        waiting &= scores[:, exit_].double() >= limits[-1]
    return limits


def timed(run: Callable[[Tensor], object], parts: Sequence[Tensor]) -> Callable[[], float]:
    """Function that measures the seconds of a pass over all parts."""

    @torch.inference_mode()
    def measure() -> float:
        start = perf_counter()
        for part in parts:
            run(part)
        return perf_counter() - start

    return measure


def sides_for(
    plain: EarlyExitNet, model: EarlyExitNet, images: Tensor, batch: int
) -> dict[str, Callable[[], float]]:
    """Measures of one network and batch size: prefixes, the router, earlyon."""
    parts = [part.contiguous() for part in torch.split(images, batch)]
    sides = {f"prefix {i}": timed(Prefix(model, i), parts) for i in range(model.exit_count)}
    for i in range(model.exit_count):
        sides[f"alone {i}"] = timed(static_network(model, i), parts)
    for mix, shares in MIXES.items():
        limits = thresholds_for(model, images, shares)
        sides[f"routed {mix}"] = timed(partial(route, model, thresholds=limits), parts)
        peer = earlyon_batched(plain, limits) if batch > 1 else None
        if peer is not None:
            sides[f"earlyon {mix}"] = timed(peer, parts)
    return sides


def row_of(times: dict[str, list[float]], mix: str, profile: Profile) -> dict[str, Any]:
    """Speed at a mix of exits, relative to the ideal, the static and full network and earlyon."""
    shares, exits = MIXES[mix], range(len(profile.exits))
    prefixes, alone = ([times[f"{name} {i}"] for i in exits] for name in ("prefix", "alone"))
    routed, peer = times[f"routed {mix}"], times.get(f"earlyon {mix}")
    expected = float(np.dot(shares, profile.cumulative_macs))
    return {
        "mix": mix,
        "reached": ratios(np.dot(shares, prefixes).tolist(), routed),
        "reached_of_exits_alone": ratios(np.dot(shares, alone).tolist(), routed),
        "last_over_static": ratios(prefixes[-1], alone[-1]),
        "gain": ratios(prefixes[-1], routed),
        "gain_over_static": ratios(alone[-1], routed),
        "gain_by_macs": profile.full_macs / expected,
        "gain_over_static_by_macs": profile.static_macs / expected,
        "over_earlyon": ratios(peer, routed) if peer else None,
    }


def main() -> None:
    """Measure every network, batch size and mix."""
    given = arguments(__doc__ or "")
    context = make_context("cpu", "float32", memory_format="channels_last")
    generator = torch.Generator().manual_seed(0)
    everything = torch.randn(IMAGES, 3, 32, 32, generator=generator)
    document = []
    for name in NETWORKS:
        plain = network(name).eval()
        model = ready(plain, context)
        profile = profile_model(plain, 32)
        for batch in (256, 1):
            images = everything if batch > 1 else everything[:SINGLE]
            times = interleave(sides_for(plain, model, images, batch), given.repeats)
            document += [
                {"network": name, "batch": batch, **row_of(times, mix, profile)} for mix in MIXES
            ]
    rows = [
        [row["network"], str(row["batch"]), row["mix"], show(row["reached_of_exits_alone"]),
         show(row["gain_over_static"]), f"{row['gain_over_static_by_macs']:.2f}",
         show(row["over_earlyon"]) if row["over_earlyon"] else "-"]
        for row in document
    ]  # fmt: skip
    columns = ["network", "batch", "mix, %", "reached of the ideal", "gain over the static network",
               "gain by MACs", "gain over earlyon"]  # fmt: skip
    print_results("Routed inference, float32", columns, rows, given.json, {"routing": document})


if __name__ == "__main__":
    main()
