"""Thresholds of one prediction: the bundle's, a given one, or those of a stored point."""

from __future__ import annotations

from dataclasses import dataclass, replace

from erde_cli.core.calibration.pick import choose_point
from erde_cli.core.calibration.rule import rule_of
from erde_cli.core.calibration.thresholds_file import TargetDocument, ThresholdsDocument
from erde_cli.core.errors import BundleError
from erde_cli.core.inference.exit_rule import ExitRule
from erde_cli.core.thresholds.target import Target
from erde_cli.core.thresholds.targets import Threshold
from erde_cli.core.thresholds.written import read_threshold, read_thresholds
from erde_cli.core.workflows.open_model import OpenModel
from erde_cli.core.workflows.options import Options


@dataclass(frozen=True)
class ChosenRule:
    """The exit rule, whether it is certified, and the target it was chosen for."""

    rule: ExitRule
    certified: bool
    target: TargetDocument


def choose_rule(
    model: OpenModel, options: Options, threshold: str | None, pick: Target | None
) -> ChosenRule:
    """Exit rule for one prediction.

    Args:
        model: the model.
        options: observer.
        threshold: θ for all early exits, or one for each; None: the stored thresholds.
        pick: target of a stored point; None: the stored choice.

    Raises:
        BundleError: there are no thresholds, or a measurement that `pick` needs is missing.
        InputError: the number of thresholds is wrong.
    """
    document, exits = model.calibration, model.exit_count
    if threshold is not None:
        rule = rule_of(document, threshold, exits)
        target = Threshold.of(read_thresholds(threshold))
        return ChosenRule(rule, False, TargetDocument.of(target, "given"))
    if document is None:
        raise BundleError(
            f"{model.bundle} has no thresholds, so no image can leave early.",
            hint=f"choose them with: erde calibrate {model.bundle} --max-drop 1, or give "
            "one θ with --threshold 0.5",
            expected="a calibrated bundle, or --threshold",
        )
    if pick is None:
        certified = document.certified_on(model.device)
        return ChosenRule(rule_of(document, None, exits), certified, document.target)
    return _picked(model, document, pick, options)


def _picked(
    model: OpenModel, document: ThresholdsDocument, pick: Target, options: Options
) -> ChosenRule:
    full = float(model.answering.cumulative_macs[-1])
    picked = choose_point(model.bundle, document, pick, full, options.observer)
    certified = picked.certified and document.device == model.device
    thresholds = tuple(map(read_threshold, picked.point.thresholds))
    rule = replace(rule_of(document, None, model.exit_count), thresholds=thresholds)
    return ChosenRule(rule, certified, TargetDocument.of(picked.target, "picked"))
