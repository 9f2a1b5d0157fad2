"""Compare a student at its thresholds with each of its exits alone, as static networks.

All accuracies are of the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from erde_cli.core.figures import percent, signed
from erde_cli.core.thresholds.target import ROUNDING, Metric

_IN_WORDS: dict[Metric, tuple[str, str]] = {  # of one exit alone; of the thresholds
    "accuracy": ("gets {} % right", "{} % of held-out images right"),
    "balanced_accuracy": (
        "has a balanced accuracy of {} %", "a balanced accuracy of {} % on held-out images",
    ),
}  # fmt: skip
_NOISE = 0.02  # relative difference of two measurements of the same latency


@dataclass(frozen=True)
class LatencyCosts:
    """Milliseconds per image at one batch size: of each exit alone, and end to end."""

    batch: int
    static: Sequence[float]
    adaptive: float


@dataclass(frozen=True)
class BatchVerdict:
    """Result at one batch size; dominating_exit: None if early exit is better."""

    batch: int
    dominating_exit: int | None
    share_of_last: float


@dataclass(frozen=True)
class Verdict:
    """Whether early exit is better than every exit alone, by MACs and at every batch size.

    by_latency: None if it was not measured. share_of_last: expected MACs over those of the last
    exit alone. dominating_exit: a static exit at least as accurate at no more MACs. best_exit: the
    most accurate static exit at no more MACs. metric: of all accuracies.
    """

    by_macs: bool
    by_latency: bool | None
    accuracy: float
    expected_macs: float
    share_of_last: float
    dominating_exit: int | None
    best_exit: int | None
    exit_accuracy: tuple[float, ...]
    static_macs: tuple[float, ...]
    batches: tuple[BatchVerdict, ...]
    metric: Metric = "accuracy"

    @property
    def better(self) -> bool:
        """Whether it is better by MACs, and by latency if that was measured."""
        return self.by_macs and self.by_latency is not False

    @property
    def sentence(self) -> str:
        """The verdict in one sentence, with figures."""
        slow = _slow(self)
        if self.dominating_exit is None:
            start = "By MACs yes, by latency no" if slow else "Yes"
            text = f"{start}: {_gain(self)}{_times(self, ' and')}"
        else:
            start = "By MACs no, by latency yes" if self.by_latency else "No"
            text = f"{start}: {_loss(self, self.dominating_exit)}{_times(self, ', and')}"
        return "; ".join([text, *slow]) + "."

    def to_json(self) -> dict[str, Any]:
        """The object `verdict` of `erde profile --json`."""
        return {
            "better": self.better,
            "by_macs": self.by_macs,
            "by_latency": self.by_latency,
            "sentence": self.sentence,
            "metric": self.metric,
            "accuracy": self.accuracy,
            "expected_macs": self.expected_macs,
            "share_of_static_macs": self.share_of_last,
            "dominating_exit": self.dominating_exit,
            "best_exit": self.best_exit,
            "exits": [
                {"exit": index, "accuracy": accuracy, "static_macs": macs}
                for index, (accuracy, macs) in enumerate(
                    zip(self.exit_accuracy, self.static_macs, strict=True)
                )
            ],
            "batches": [
                {
                    "batch": one.batch,
                    "better": one.dominating_exit is None,
                    "dominating_exit": one.dominating_exit,
                    "share_of_static_latency": one.share_of_last,
                }
                for one in self.batches
            ],
        }


def give_verdict(
    exit_accuracy: Sequence[float],
    static_macs: Sequence[float],
    accuracy: float,
    expected_macs: float,
    latencies: Sequence[LatencyCosts] = (),
    metric: Metric = "accuracy",
) -> Verdict:
    """Compare a student at its thresholds with each of its exits as a static network.

    Args:
        exit_accuracy: of each exit on all images, 0 to 1, [exits].
        static_macs: of each exit alone: its stages and its own head, [exits].
        accuracy: at the thresholds, on images that did not choose them.
        expected_macs: at the thresholds.
        latencies: one entry for each measured batch size.
        metric: of all accuracies.
    """
    affordable = _affordable(static_macs, expected_macs, ROUNDING)
    best = max(affordable, key=lambda exit_: (exit_accuracy[exit_], -exit_), default=None)
    batches = []
    for one in latencies:
        within = _affordable(one.static, one.adaptive, _NOISE)
        dominating = _dominating(within, exit_accuracy, accuracy)
        batches.append(BatchVerdict(one.batch, dominating, one.adaptive / one.static[-1]))
    dominating = _dominating(affordable, exit_accuracy, accuracy)
    return Verdict(
        by_macs=dominating is None,
        by_latency=all(one.dominating_exit is None for one in batches) if batches else None,
        accuracy=accuracy,
        expected_macs=expected_macs,
        share_of_last=expected_macs / static_macs[-1],
        dominating_exit=dominating,
        best_exit=best,
        exit_accuracy=tuple(exit_accuracy),
        static_macs=tuple(static_macs),
        batches=tuple(batches),
        metric=metric,
    )


def _affordable(costs: Sequence[float], limit: float, slack: float) -> list[int]:
    return [exit_ for exit_, cost in enumerate(costs) if cost <= limit * (1 + slack)]


def _dominating(
    affordable: Sequence[int], exit_accuracy: Sequence[float], accuracy: float
) -> int | None:
    """The cheapest affordable exit that is at least as accurate."""
    good = [exit_ for exit_ in affordable if exit_accuracy[exit_] >= accuracy - ROUNDING]
    return min(good, default=None)


def _gain(verdict: Verdict) -> str:
    """Why it is better by MACs: than the best exit alone at no more MACs, and than the last."""
    against = "no exit alone costs as little"
    if verdict.best_exit is not None:
        gained = _points(verdict.accuracy - verdict.exit_accuracy[verdict.best_exit])
        name = _name(verdict, verdict.best_exit)
        against = f"{gained} points over {name} alone, the best at no more MACs"
    reached = _IN_WORDS[verdict.metric][1].format(_percent(verdict.accuracy))
    lost = _points(verdict.accuracy - verdict.exit_accuracy[-1])
    return (
        f"{reached}; {against}; {lost} points "
        f"from the last exit alone, at {_percent(verdict.share_of_last)} % of its MACs"
    )


def _loss(verdict: Verdict, exit_: int) -> str:
    """Why it is not better by MACs: an exit alone that is at least as good."""
    share = _percent(verdict.static_macs[exit_] / verdict.static_macs[-1])
    return (
        f"{_name(verdict, exit_)} alone {_of_exit(verdict, exit_)} at {share} % of the MACs of the "
        f"last exit alone; the thresholds get {_percent(verdict.accuracy)} % (held out) at "
        f"{_percent(verdict.share_of_last)} % of its MACs"
    )


def _times(verdict: Verdict, joint: str) -> str:
    """Latency over that of the last exit alone, at every batch size."""
    if not verdict.batches:
        return ""
    first, *others = verdict.batches
    text = f"{joint} {_percent(first.share_of_last)} % of its latency at batch {first.batch}"
    return text + "".join(f", {_percent(one.share_of_last)} % at {one.batch}" for one in others)


def _slow(verdict: Verdict) -> list[str]:
    """Exits that alone are at least as good by latency, and at which batch sizes."""
    batches: dict[int, list[str]] = {}
    for one in verdict.batches:
        if one.dominating_exit is not None:
            batches.setdefault(one.dominating_exit, []).append(str(one.batch))
    return [
        f"at batch {', '.join(sizes)} {_name(verdict, exit_)} alone takes no longer and "
        f"{_of_exit(verdict, exit_)}"
        for exit_, sizes in batches.items()
    ]


def _name(verdict: Verdict, exit_: int) -> str:
    return f"exit {exit_ + 1} of {len(verdict.exit_accuracy)}"


def _of_exit(verdict: Verdict, exit_: int) -> str:
    return _IN_WORDS[verdict.metric][0].format(_percent(verdict.exit_accuracy[exit_]))


def _points(difference: float) -> str:
    return signed(100 * difference, 1)


def _percent(share: float) -> str:
    return percent(share, 1)
