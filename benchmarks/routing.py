"""Routed inference against what the times of the static prefix networks promise.

python -m benchmarks.routing [--repeats 7] [--json]

A prefix network runs stages and heads 0 to i and stops. At a mix of exits, an ideal router takes
the mix times those times; `reached` is that ideal over the measured time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

import torch
from torch import Tensor, nn

from benchmarks.measure import arguments, interleave, ratios, show, spread, tell
from benchmarks.networks import NETWORKS, network
from benchmarks.peers import earlyon_batched
from erde_cli.core.context import make_context
from erde_cli.core.entropy import softmax_entropy
from erde_cli.core.exits import route
from erde_cli.core.models import EarlyExitNet, folded
from erde_cli.core.profiling import profile_model

MIXES = {"50/30/20": (0.5, 0.3, 0.2), "80/15/5": (0.8, 0.15, 0.05), "10/20/70": (0.1, 0.2, 0.7)}
IMAGES = 2048
SINGLE = 256  # images routed one by one


class Prefix(nn.Module):
    """Stages and heads 0 to `last`, all heads on the way computed, as a network without routing."""

    def __init__(self, model: EarlyExitNet, last: int) -> None:
        super().__init__()
        self.stages, self.heads = model.stages[: last + 1], model.heads[: last + 1]

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the last of these exits."""
        features = images
        for stage, head in zip(self.stages, self.heads, strict=True):
            features = stage(features)
            logits: Tensor = head(features)
        return logits


@torch.inference_mode()
def thresholds_for(model: EarlyExitNet, images: Tensor, mix: Sequence[float]) -> list[float]:
    """Quantiles of the scores, in nats, that send the given shares of `images` to each exit."""
    scores = softmax_entropy(model(images))
    waiting = torch.ones(len(images), dtype=torch.bool)
    limits = []
    for exit_, share in enumerate(mix[:-1]):
        count = round(share * len(images))
        ordered = scores[waiting, exit_].double().sort().values
        limits.append(float((ordered[count - 1] + ordered[count]) / 2))
        waiting &= scores[:, exit_].double() >= limits[-1]
    return limits


def timed(run: Callable[[Tensor], object], parts: Sequence[Tensor]) -> Callable[[], float]:
    """Seconds that a pass over all parts takes."""

    @torch.inference_mode()
    def measure() -> float:
        start = perf_counter()
        for part in parts:
            run(part)
        return perf_counter() - start

    return measure


def main() -> None:
    """Measure every network, batch size and mix."""
    given = arguments(__doc__ or "")
    context = make_context("cpu", "float32", torch.get_num_threads())
    generator = torch.Generator().manual_seed(0)
    everything = torch.randn(IMAGES, 3, 32, 32, generator=generator)
    rows, document = [], []
    for name in NETWORKS:
        plain = network(name).eval()
        model = folded(plain)
        context.place(model)
        macs = torch.tensor(profile_model(plain, 32).cumulative_macs, dtype=torch.float64)
        for batch in (256, 1):
            images = everything if batch > 1 else everything[:SINGLE]
            parts = [part.contiguous() for part in torch.split(images, batch)]
            sides = {f"prefix {i}": timed(Prefix(model, i), parts) for i in range(len(macs))}
            limits = {mix: thresholds_for(model, images, shares) for mix, shares in MIXES.items()}
            for mix, theta in limits.items():
                sides[f"routed {mix}"] = timed(lambda part, t=theta: route(model, part, t), parts)
                if batch > 1:
                    peer = earlyon_batched(plain, theta)
                    if peer is not None:
                        sides[f"earlyon {mix}"] = timed(peer, parts)
            found = interleave(sides, given.repeats)
            prefixes = [found[f"prefix {i}"] for i in range(len(macs))]
            for mix, shares in MIXES.items():
                ideal = [
                    sum(share * time for share, time in zip(shares, times, strict=True))
                    for times in zip(*prefixes, strict=True)
                ]
                routed, full = found[f"routed {mix}"], prefixes[-1]
                reached, gain = ratios(ideal, routed), ratios(full, routed)
                by_macs = float(macs[-1] / (torch.tensor(shares, dtype=torch.float64) * macs).sum())
                peer_times = found.get(f"earlyon {mix}")
                ahead = ratios(peer_times, routed) if peer_times else None
                rows.append(
                    [name, str(batch), mix, show(reached), show(gain), f"{by_macs:.2f}"]
                    + [show(ahead) if ahead else "-"]
                )
                document.append(
                    {"network": name, "batch": batch, "mix": mix, "reached": reached}
                    | {"gain": gain, "gain_by_macs": by_macs, "over_earlyon": ahead}
                    | {"images_per_second": spread([len(images) / time for time in routed])}
                )
    columns = ["network", "batch", "mix, %", "reached of the ideal", "gain over the full network",
               "gain by MACs", "gain over earlyon"]  # fmt: skip
    tell("Routed inference, float32", columns, rows, given.json, {"routing": document})


if __name__ == "__main__":
    main()
