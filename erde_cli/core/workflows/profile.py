"""`erde profile`: cost of every exit of a bundle, and whether early exit pays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from erde_cli.core.bundle.bundle import Bundle, opened
from erde_cli.core.calibration.thresholds_file import ThresholdsDocument
from erde_cli.core.measurement.verdict import LatencyCosts, Verdict, give_verdict
from erde_cli.core.models.profile import Profile
from erde_cli.core.storage.json_files import Json
from erde_cli.core.workflows.latency import LatencyRequest, MeasuredLatency, measure_bundle
from erde_cli.core.workflows.options import Options


@dataclass(frozen=True)
class Profiled:
    """Costs of a bundle's exits, and expected MACs under its thresholds.

    expected_macs, exit_rates: None without thresholds. latency: None if it was not measured.
    verdict: None without thresholds or the accuracy of each exit.
    """

    bundle: Bundle
    profile: Profile
    expected_macs: float | None
    exit_rates: list[float] | None
    latency: MeasuredLatency | None = None
    verdict: Verdict | None = None

    def to_json(self) -> Json:
        """The object that `--json` prints."""
        return {
            **self.profile.to_json(self.expected_macs),
            "latency": self.latency.to_json(self.profile) if self.latency else None,
            "verdict": self.verdict.to_json() if self.verdict else None,
        }


def profile_bundle(
    bundle: Bundle | Path, options: Options, request: LatencyRequest | None = None
) -> Profiled:
    """Count parameters and multiply-adds of a bundle's exits; with `request`, measure latency.

    Expected MACs use the exit rates on the images of the last calibration.

    Raises:
        BundleError: the bundle is unusable, or its images have changed.
        DataError: latency is requested, and its images are missing.
    """
    bundle = opened(bundle)
    options.context("float32").place(bundle.model)
    profile = bundle.profile
    warn_of_useless_exits(profile, options)
    thresholds = bundle.thresholds()
    latency = None
    if request is not None:
        latency = measure_bundle(bundle, request, options)
    if thresholds is None:
        return Profiled(bundle, profile, None, None, latency)
    verdict = _verdict(profile, thresholds, latency.costs if latency else ())
    return Profiled(
        bundle, profile, thresholds.expected_macs, thresholds.exit_rates, latency, verdict
    )


def warn_of_useless_exits(profile: Profile, options: Options) -> None:
    """Warn of exits that save almost nothing."""
    for exit_ in profile.useless_exits:
        options.observer.warning(
            f"Exit {exit_ + 1} of {len(profile.exits)} saves under 5 % of the full cost. "
            "Place it earlier, or remove it."
        )


def _verdict(
    profile: Profile, thresholds: ThresholdsDocument, costs: Sequence[LatencyCosts] = ()
) -> Verdict | None:
    """Whether early exit pays on the images of the last calibration.

    None without labels, and for a network with one exit. Accuracy (by the metric) and MACs are the
    held-out ones: on the images that chose the thresholds, both are optimistic.
    """
    exit_accuracy = thresholds.exit_accuracy
    if thresholds.metric == "balanced_accuracy":
        exit_accuracy = thresholds.exit_balanced_accuracy
    held_out = thresholds.held_out
    if exit_accuracy is None or held_out.by_metric is None or len(profile.exits) == 1:
        return None
    return give_verdict(
        exit_accuracy,
        profile.static_macs_of_exits,
        held_out.by_metric,
        held_out.expected_macs,
        costs,
        thresholds.metric,
    )
