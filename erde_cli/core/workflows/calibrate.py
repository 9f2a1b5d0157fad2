"""`erde calibrate`: choose a bundle's thresholds, and store and draw the alternatives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from erde_cli.core.bundle.bundle import Bundle, load_bundle, opened
from erde_cli.core.calibration.certificate import certified_result, record_test
from erde_cli.core.calibration.document import StoredPrecision
from erde_cli.core.calibration.estimate import Calibrated, calibrate, estimated_result
from erde_cli.core.calibration.frontier_plot import Curve, Dot, FrontierPicture, draw_frontier
from erde_cli.core.calibration.observations import CalibrationObservations
from erde_cli.core.calibration.pick import choose_point, with_point
from erde_cli.core.calibration.result import (
    Basis,
    CalibrationResult,
    document_of,
    latency_document,
)
from erde_cli.core.calibration.temperature_effect import TemperatureEffect
from erde_cli.core.calibration.tests_file import read_tests
from erde_cli.core.calibration.thresholds_file import (
    THRESHOLDS,
    ThresholdsDocument,
    write_thresholds,
)
from erde_cli.core.errors import BundleError
from erde_cli.core.models.profile import Profile
from erde_cli.core.recipe.sections.calibration import Calibration
from erde_cli.core.storage.json_files import Json
from erde_cli.core.thresholds.named_target import one_target
from erde_cli.core.thresholds.scores import ENTROPY, Score
from erde_cli.core.thresholds.target import Figures, Target
from erde_cli.core.thresholds.targets import TARGETS, MaxRisk
from erde_cli.core.workflows.calibration_images import Source, observe, refuse_tuned_on_all
from erde_cli.core.workflows.options import Options

PICTURE = "frontier.png"


@dataclass(frozen=True)
class Thresholds:
    """A bundle's thresholds and the cost of its exits.

    temperature: effect of temperature scaling, and the choice without it; None if it is off.
    picture: the frontier; None if it could not be drawn.
    """

    bundle: Bundle
    document: ThresholdsDocument
    profile: Profile
    temperature: TemperatureEffect | None
    picture: Path | None = None

    def to_json(self) -> Json:
        """The object that `--json` prints: `thresholds.json` and the effect of temperatures."""
        effect = None if self.temperature is None else self.temperature.to_json()
        return {**self.document.model_dump(), "temperature": effect}

    def write(self, options: Options) -> Thresholds:
        """Write the picture and the thresholds into the bundle; a copy that names the picture."""
        path = self.bundle.path / PICTURE
        picture = draw_frontier(path, _frontier_picture(self), options.observer)
        write_thresholds(self.bundle.path, self.document)
        options.observer.artifact(self.bundle.path / THRESHOLDS, "thresholds")
        return replace(self, picture=picture)


def target_of(settings: Calibration) -> Target:
    """Calibration target of a recipe."""
    return one_target(
        settings.model_dump(include=set(TARGETS)),
        risk=settings.risk, confidence=settings.confidence, metric=settings.metric,
    )  # fmt: skip


def calibrate_bundle(
    bundle: Bundle | Path,
    target: Target,
    options: Options,
    precision: StoredPrecision = "float32",
    *,
    source: Source | None = None,
    temperature: bool = False,
    score: Score = ENTROPY,
) -> Thresholds:
    """Choose thresholds for a target and write them into the bundle.

    Args:
        bundle: the bundle, or its path.
        target: requirement that the thresholds must meet.
        options: device, threads, observer.
        precision: of inference.
        source: images to calibrate on; None: the bundle's calibration split.
        temperature: fit one temperature per exit first.
        score: score that is compared with the thresholds.

    Raises:
        BundleError: the bundle is unusable, or its images have changed.
        DataError: the images are missing.
        InputError: the target or its metric needs labels and the images have none, or the number
            of given thresholds is wrong.
    """
    source = source or Source()
    source.check(target, temperature=temperature)
    bundle = opened(bundle)
    target.fixed_thresholds(bundle.model.exit_count - 1)  # a wrong number fails before the images
    if target.guarantees:
        refuse_tuned_on_all(bundle, source)
        read_tests(bundle.path)  # a damaged record fails before the images are run
    options.observer.phase("Calibrating thresholds")
    context = options.inference_context(precision)
    observed = observe(
        bundle, source, context, options, target, temperature=temperature, score=score
    )
    result, without = _choose(observed, target)
    device = context.device.type
    basis = Basis(
        source.kind, observed.fingerprint, bundle.document.weights_digest, precision, device,
        observed.temperatures, latency_document(observed.observations, context.threads, device),
        score.name, score.unit,
    )  # fmt: skip
    document = document_of(result, basis)
    document = record_test(document, bundle.path, observed.tested, options.observer)
    scaled = observed.temperatures is not None
    effect = TemperatureEffect(observed.reports, without) if scaled else None
    return Thresholds(bundle, document, bundle.profile, effect).write(options)


def _choose(
    observed: CalibrationObservations, target: Target
) -> tuple[CalibrationResult, Calibrated | None]:
    """The choice, and the one without temperatures if they were fitted and it is an estimate."""
    if isinstance(target, MaxRisk):
        return certified_result(observed, target), None
    chosen = calibrate(observed.observations, target)
    result = estimated_result(chosen, observed.observations, observed.half_b)
    return result, None if observed.temperatures is None else calibrate(observed.plain, target)


def pick_thresholds(path: Path, target: Target, options: Options) -> Thresholds:
    """Choose among the stored points for another target, and store the choice in the bundle.

    Certified points come first. If none of them meets the target, every point is a candidate and
    the choice is not certified.

    Raises:
        BundleError: the bundle is not calibrated, or lacks a measurement that the target needs.
    """
    bundle = load_bundle(path)
    document = bundle.thresholds()
    if document is None:
        raise BundleError(
            f"{bundle.path} has no thresholds to pick from.",
            hint=f"calibrate it first, for example: erde calibrate {bundle.path} --max-drop 1",
            expected="a calibrated bundle",
        )
    full = float(bundle.profile.full_macs)
    picked = choose_point(path, document, target, full, options.observer)
    chosen = with_point(document, picked)
    return Thresholds(bundle, chosen, bundle.profile, None).write(options)


def _frontier_picture(thresholds: Thresholds) -> FrontierPicture:
    document, effect = thresholds.document, thresholds.temperature
    points, certificate = document.frontier, document.certificate
    label = "on the images that chose them" if certificate is None else "on the test half"
    curves = [Curve(label, _dots(points))]
    if certificate is None:
        held_out = [point.held_out for point in points if point.held_out is not None]
        curves.append(Curve("held out", _dots(held_out)))
    if effect is not None and effect.without is not None:
        dots = _dots(point.held_out for point in effect.without.frontier)
        curves.append(Curve("held out, without temperatures", dots))
    labelled = document.accuracy is not None
    name = thresholds.bundle.document.recipe.get("name", "")
    return FrontierPicture(
        title=f"{name}: {document.images:,} images ({document.source})",
        measure=document.metric.replace("_", " ") if labelled else "agreement with the last exit",
        curves=curves,
        certified=_dots(point for point in points if point.certified and certificate is not None),
        chosen=_dots([document])[0],
        last_exit=(float(thresholds.profile.full_macs), document.full_by_metric or 1.0),
    )


def _dots(points: Iterable[Figures]) -> list[Dot]:
    """Expected MACs, and accuracy by the metric (agreement if there are no labels)."""
    shares = ((one, one.agreement if one.by_metric is None else one.by_metric) for one in points)
    return [(one.expected_macs, share or 0.0) for one, share in shares]
