"""`erde profile`: what every exit of a bundle costs, and whether early exit pays."""

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
    """Costs of a bundle's exits; expected MACs under its thresholds, where it has any.

    latency: where it was asked for. verdict: where thresholds and each exit's accuracy are known.
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
    """Count parameters and multiply-adds of a bundle's exits; measure them as well, if asked to.

    Expected MACs use the exit rates that calibration found on the calibration split.

    Raises:
        BundleError: the bundle is unusable, or its images are no longer the same.
        DataError: latency is asked for, and its images are missing.
    """
    bundle = opened(bundle)
    options.context("float32").place(bundle.model)
    profile = bundle.profile
    for exit_ in profile.useless_exits:
        options.observer.warning(
            f"Exit {exit_ + 1} of {len(profile.exits)} saves under 5 % of the full cost."
        )
    thresholds = bundle.thresholds()
    latency = None
    if request is not None:
        latency = measure_bundle(bundle, profile, thresholds, request, options)
    if thresholds is None:
        return Profiled(bundle, profile, None, None, latency)
    verdict = verdict_on(profile, thresholds, latency.costs if latency else ())
    return Profiled(
        bundle, profile, thresholds.expected_macs, thresholds.exit_rates, latency, verdict
    )


def verdict_on(
    profile: Profile, thresholds: ThresholdsDocument, costs: Sequence[LatencyCosts] = ()
) -> Verdict | None:
    """Whether early exit pays, on the images of the last calibration.

    None where those had no labels, and for a network with one exit. The accuracy (balanced, if the
    thresholds were chosen by that) and the MACs are those held out: on the images that chose, both
    would flatter.
    """
    of_exits = thresholds.exit_accuracy
    if thresholds.metric == "balanced_accuracy":
        of_exits = thresholds.exit_balanced_accuracy
    if of_exits is None or thresholds.held_out.by_metric is None:
        return None
    if len(profile.exits) == 1:  # there is nothing to leave early from
        return None
    return give_verdict(
        of_exits,
        profile.static_macs_of_exits,
        thresholds.held_out.by_metric,
        thresholds.held_out.expected_macs,
        costs,
        thresholds.metric,
    )
