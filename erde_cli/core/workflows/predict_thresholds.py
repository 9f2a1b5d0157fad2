"""The thresholds that images leave by this time: the bundle's, a single one, or a stored point."""

from __future__ import annotations

from dataclasses import dataclass, replace

from erde_cli.core.calibration.rule import rule_of
from erde_cli.core.calibration.thresholds_file import TargetDocument, ThresholdsDocument
from erde_cli.core.errors import BundleError
from erde_cli.core.inference.exit_rule import ExitRule
from erde_cli.core.thresholds.target import Target
from erde_cli.core.thresholds.targets import Threshold
from erde_cli.core.thresholds.written import read_threshold
from erde_cli.core.workflows.open_model import Opened
from erde_cli.core.workflows.options import Options


@dataclass(frozen=True)
class Chosen:
    """The rule that images leave by, what it was chosen for, and whether a promise covers it."""

    rule: ExitRule
    certified: bool
    target: TargetDocument


def choose(model: Opened, options: Options, threshold: str | None, pick: Target | None) -> Chosen:
    """Thresholds for this time, and whether they are certified.

    Raises:
        BundleError: it has no thresholds and none are given, or what a target needs was not
            measured.
    """
    document, exits = model.calibration, model.exit_count
    if threshold is not None:
        rule = rule_of(document, threshold, exits)
        return Chosen(rule, False, TargetDocument.of(Threshold(rule.thresholds[0]), "given"))
    if document is None:
        raise BundleError(
            f"{model.bundle} has no thresholds, so no image can leave early.",
            hint=f"choose them with: erde calibrate {model.bundle} --max-drop 1, or name one θ for "
            "this time with --threshold 0.5",
            expected="a calibrated bundle, or --threshold",
        )
    if pick is None:
        certified = document.certified_on(model.device)
        return Chosen(rule_of(document, None, exits), certified, document.target)
    return _picked(model, document, pick, options)


def _picked(model: Opened, document: ThresholdsDocument, pick: Target, options: Options) -> Chosen:
    # Choosing among points needs no picture, but that module draws them; matplotlib takes a while.
    from erde_cli.core.calibration.pick import choose_point

    full = float(model.answering.cumulative_macs[-1])
    picked = choose_point(model.bundle, document, pick, full, options.observer)
    certified = picked.certified and document.device == model.device
    thresholds = tuple(map(read_threshold, picked.point.thresholds))
    rule = replace(rule_of(document, None, model.exit_count), thresholds=thresholds)
    return Chosen(rule, certified, TargetDocument.of(picked.target, "picked"))
