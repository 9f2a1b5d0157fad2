"""`erde calibrate`: choose the thresholds of a bundle, and keep what else could be chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from erde_cli.core.bundle.bundle import Bundle, load_bundle, opened
from erde_cli.core.calibration.certificate import certified, recorded
from erde_cli.core.calibration.document import StoredPrecision
from erde_cli.core.calibration.estimate import Calibrated, calibrate, estimated
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
from erde_cli.core.models.profile import Profile, profile_model
from erde_cli.core.recipe.sections.calibration import Calibration
from erde_cli.core.storage.json_files import Json
from erde_cli.core.thresholds.named_target import one_target
from erde_cli.core.thresholds.scores import ENTROPY, Score
from erde_cli.core.thresholds.target import Target
from erde_cli.core.thresholds.targets import TARGETS, MaxRisk
from erde_cli.core.workflows.calibration_images import Source, observe, refuse_tuned_on_all
from erde_cli.core.workflows.calibration_picture import draw_calibration
from erde_cli.core.workflows.options import Options


@dataclass(frozen=True)
class Thresholds:
    """Chosen thresholds as they stand in the bundle, and what the exits cost.

    temperature: what temperature scaling did, and the choice without it; None where not asked.
    picture: the frontier; None where it could not be drawn.
    """

    bundle: Bundle
    document: ThresholdsDocument
    profile: Profile
    temperature: TemperatureEffect | None
    picture: Path | None = None

    def to_json(self) -> Json:
        """The object that `--json` prints: `thresholds.json`, and what temperatures did."""
        effect = None if self.temperature is None else self.temperature.to_json()
        return {**self.document.model_dump(), "temperature": effect}

    def written(self, options: Options) -> Thresholds:
        """The same, drawn and written into the bundle."""
        full = float(self.profile.full_macs)
        picture = draw_calibration(
            self.bundle, self.document, full, self.temperature, options.observer
        )
        write_thresholds(self.bundle.path, self.document)
        options.observer.artifact(self.bundle.path / THRESHOLDS, "thresholds")
        return replace(self, picture=picture)


def target_of(settings: Calibration) -> Target:
    """The target that a recipe's calibration section names."""
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
        bundle: the bundle, or where it is.
        target: what they are chosen for.
        options: device, threads, observer.
        precision: of inference.
        source: other images than the bundle's calibration split.
        temperature: fit one temperature per exit first.
        score: what the thresholds are to be compared with.

    Raises:
        BundleError: the bundle is unusable, or its images are no longer the same.
        DataError: its images are missing.
        InputError: the target or its metric needs labels and the images have none.
    """
    source = source or Source()
    source.check(target, temperature=temperature)
    bundle = opened(bundle)
    if target.promises:
        refuse_tuned_on_all(bundle, source)
        read_tests(bundle.path)  # a damaged record is told now, not after the images were looked at
    options.observer.phase("Calibrating thresholds")
    context = options.inference_context(precision)
    seen = observe(bundle, source, context, options, target, temperature=temperature, score=score)
    result, without = _chosen(seen, target)
    device = context.device.type
    basis = Basis(
        source.kind, seen.fingerprint, bundle.document.weights_digest, precision, device,
        seen.temperatures, latency_document(seen.observations, context.threads, device),
        score.name, score.unit,
    )  # fmt: skip
    document = document_of(result, basis)
    document = recorded(document, bundle.path, seen.tested, options.observer)
    effect = None if seen.temperatures is None else TemperatureEffect(seen.reports, without)
    return Thresholds(bundle, document, seen.profile, effect).written(options)


def _chosen(
    seen: CalibrationObservations, target: Target
) -> tuple[CalibrationResult, Calibrated | None]:
    """The choice, and, where temperatures were fitted and it is an estimate, that without them."""
    if isinstance(target, MaxRisk):
        return certified(seen, target), None
    result = estimated(calibrate(seen.observations, target), seen.observations, seen.half_b)
    return result, None if seen.temperatures is None else calibrate(seen.plain, target)


def pick_thresholds(path: Path, target: Target, options: Options) -> Thresholds:
    """Choose among the stored points for another target, and keep the choice in the bundle.

    Points that a promise covers come first; where none of them meets the target, the choice is
    among all, and no longer certified.

    Raises:
        BundleError: it has not been calibrated, or what the target needs was not measured.
    """
    found = stored(path)
    full = float(found.profile.full_macs)
    picked = choose_point(path, found.document, target, full, options.observer)
    return replace(found, document=with_point(found.document, picked)).written(options)


def stored(path: Path) -> Thresholds:
    """What a bundle's last calibration left.

    Raises:
        BundleError: it has not been calibrated.
    """
    bundle = load_bundle(path)
    document = bundle.thresholds()
    if document is None:
        raise BundleError(
            f"{bundle.path} has no thresholds, so there is nothing to pick from.",
            hint=f"calibrate it first, for instance: erde calibrate {bundle.path} --max-drop 1",
            expected="a calibrated bundle",
        )
    return Thresholds(bundle, document, profile_model(bundle.model, bundle.image_size), None)
