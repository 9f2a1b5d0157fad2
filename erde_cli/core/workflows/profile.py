"""`erde profile`: what every exit of a bundle costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from erde_cli.core.bundle import Bundle, load_bundle
from erde_cli.core.profiling import Profile, profile_model
from erde_cli.core.workflows.options import Json, Options


@dataclass(frozen=True)
class Profiled:
    """Costs of a bundle's exits; expected MACs under its thresholds, where it has any."""

    bundle: Bundle
    profile: Profile
    expected_macs: float | None
    exit_rates: list[float] | None

    def to_json(self) -> Json:
        """The object that `--json` prints."""
        return self.profile.to_json(self.expected_macs)


def profile_bundle(path: Path, options: Options) -> Profiled:
    """Count parameters and multiply-adds of a bundle's exits.

    Expected MACs use the exit rates that calibration found on the calibration split.
    """
    bundle = load_bundle(path)
    options.context("float32").place(bundle.model)
    profile = profile_model(bundle.model, bundle.image_size)
    for exit_ in profile.useless_exits:
        options.observer.warning(
            f"Exit {exit_ + 1} of {len(profile.exits)} saves under 5 % of the full cost."
        )
    thresholds = bundle.thresholds()
    if thresholds is None:
        return Profiled(bundle, profile, None, None)
    return Profiled(bundle, profile, thresholds.expected_macs, thresholds.exit_rates)
