"""`erde calibrate`: choose the thresholds of a bundle, and keep what else could be chosen."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from erde_cli.core.bundle.bundle import Bundle, load_bundle, opened
from erde_cli.core.calibration.certificate import certified_content, recorded
from erde_cli.core.calibration.estimate import (
    add_half_b,
    calibrate,
    estimated_content,
    one_target,
)
from erde_cli.core.calibration.frontier_plot import Curve, FrontierPicture, draw_frontier
from erde_cli.core.calibration.halves import Seen
from erde_cli.core.calibration.pick import _certificate_of, choose_point, content_of
from erde_cli.core.calibration.tests_file import read_tests
from erde_cli.core.calibration.thresholds_file import (
    THRESHOLDS,
    ThresholdsDocument,
    thresholds_document,
    write_thresholds,
)
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.device import Context, Precision
from erde_cli.core.errors import BundleError
from erde_cli.core.events import Observer
from erde_cli.core.models.profile import Profile, profile_model
from erde_cli.core.recipe.sections.calibration import Calibration
from erde_cli.core.storage.json_files import Json
from erde_cli.core.targets import Metric, Target
from erde_cli.core.workflows.calibration_images import Source, look, refuse_tuned_on_all
from erde_cli.core.workflows.options import Options

PICTURE = "frontier.png"


@dataclass(frozen=True)
class Thresholds:
    """Chosen thresholds as they stand in the bundle, and what the exits cost.

    temperature: what temperature scaling did, and the choice without it; None where not asked.
    picture: the frontier; None where it could not be drawn.
    """

    bundle: Bundle
    document: ThresholdsDocument
    profile: Profile
    temperature: Json | None
    picture: Path | None = None

    def to_json(self) -> Json:
        """The object that `--json` prints: `thresholds.json`, and what temperatures did."""
        return {**self.document.model_dump(), "temperature": self.temperature}


def target_of(settings: Calibration) -> Target:
    """The target that a recipe's calibration section names."""
    return one_target(**settings.model_dump(exclude={"temperature", "tuned_on"}))


def calibrate_bundle(
    bundle: Bundle | Path,
    target: Target,
    options: Options,
    precision: Precision = "float32",
    dataset: Dataset | None = None,
    *,
    source: Source | None = None,
    temperature: bool = False,
) -> Thresholds:
    """Choose thresholds for a target and write them into the bundle.

    Args:
        bundle: the bundle, or where it is.
        target: what they are chosen for.
        options: device, threads, observer.
        precision: of inference.
        dataset: the bundle's own, where it is open already.
        source: other images than the bundle's calibration split.
        temperature: fit one temperature per exit first.

    Raises:
        BundleError: the bundle is unusable, or its images are no longer the same.
        DataError: its images are missing.
        InputError: the target or its metric needs labels and the images have none.
    """
    source = source or Source()
    source.check(target, temperature=temperature)
    bundle = opened(bundle)
    if target.kind == "max_risk":
        refuse_tuned_on_all(bundle, source)
        read_tests(bundle.path)  # a damaged record is told now, not after the images were looked at
    options.observer.phase("Calibrating thresholds")
    context = options.inference_context(precision)
    seen = look(
        bundle, source, dataset, context, options,
        temperature=temperature, latency=target.kind == "max_latency",
        promise=target.kind == "max_risk", metric=target.metric,
    )  # fmt: skip
    if target.kind == "max_risk":
        content = certified_content(seen, target)
        told = None if seen.temperatures is None else _reports(seen)
    else:
        found = calibrate(seen.observations, target)
        content = estimated_content(found)
        told = None if seen.temperatures is None else _compared(seen, target)
    add_half_b(content, seen.observations, seen.half_b)
    document = thresholds_document({**_about(bundle, source, seen, precision, context), **content})
    document = recorded(document, bundle.path, seen, options.observer)
    picture = _draw(bundle, document, seen.profile, told, options.observer)
    write_thresholds(bundle.path, document)
    options.observer.artifact(bundle.path / THRESHOLDS, "thresholds")
    return Thresholds(bundle, document, seen.profile, told, picture)


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


def rewritten(found: Thresholds, content: dict[str, Any], observer: Observer) -> Thresholds:
    """The same calibration with other thresholds chosen, written and drawn."""
    document = thresholds_document({**found.document.model_dump(), **content})
    picture = _draw(found.bundle, document, found.profile, None, observer)
    write_thresholds(found.bundle.path, document)
    observer.artifact(found.bundle.path / THRESHOLDS, "thresholds")
    return replace(found, document=document, picture=picture)


def _about(
    bundle: Bundle, source: Source, seen: Seen, precision: Precision, context: Context
) -> Json:
    """What `thresholds.json` says of the images, the weights and the machine."""
    latencies = seen.observations.latencies
    timed = None if latencies is None else {
        "ms": latencies.tolist(), "batch": 1,
        "threads": context.threads, "device": context.device.type,
    }  # fmt: skip
    accuracy = seen.observations.exit_accuracy
    balanced = seen.observations.exit_balanced_accuracy
    return {
        "temperatures": seen.temperatures,
        "source": source.kind,
        "split_fingerprint": seen.fingerprint,
        "precision": precision,
        "device": context.device.type,
        "weights_digest": bundle.document.weights_digest,
        "exit_accuracy": None if accuracy is None else list(accuracy),
        "exit_balanced_accuracy": None if balanced is None else list(balanced),
        "latency": timed,
    }


def _reports(seen: Seen) -> Json:
    return {"exits": [asdict(report) for report in seen.reports], "without": None, "frontier": None}


def _compared(seen: Seen, target: Target) -> Json:
    """What temperatures did to probabilities, and the trade-off without them."""
    without = estimated_content(calibrate(seen.plain, target))
    names = ("accuracy", "balanced_accuracy", "agreement", "expected_macs", "exit_rates")
    return {
        **_reports(seen),
        "without": {name: without[name] for name in (*names, "held_out", "met")},
        "frontier": [
            {name: point[name] for name in (*names, "held_out")} for point in without["frontier"]
        ],
    }


def _draw(
    bundle: Bundle,
    document: ThresholdsDocument,
    profile: Profile,
    temperature: Json | None,
    observer: Observer,
) -> Path | None:
    points, metric = [point.model_dump() for point in document.frontier], document.metric
    chain = document.certificate is not None
    curves = [
        Curve("on half B" if chain else "on the images that chose them", _dots(points, metric))
    ]
    if not chain:
        curves.append(Curve("held out", _dots([point["held_out"] for point in points], metric)))
    without = (temperature or {}).get("frontier")
    if without:
        dots = _dots([one["held_out"] for one in without], metric)
        curves.append(Curve("held out, without temperatures", dots))
    labelled = document.accuracy is not None
    certified = [point for point in points if point["certified"]]
    return draw_frontier(
        bundle.path / PICTURE,
        FrontierPicture(
            title=f"{bundle.document.recipe.get('name', '')}: {document.images:,} images "
            f"({document.source})",
            measure=metric.replace("_", " ") if labelled else "agreement with the last exit",
            curves=curves,
            certified=_dots(certified, metric) if chain else [],
            chosen=_dots([document.model_dump()], metric)[0],
            last_exit=(float(profile.full_macs), document.full_by_metric or 1.0),
        ),
        observer,
    )


def _dots(figures: list[Json], metric: Metric) -> list[tuple[float, float]]:
    """(expected MACs, what the metric says, or agreement without labels) of figures."""
    return [
        (one["expected_macs"], one["agreement"] if one[metric] is None else one[metric])
        for one in figures
    ]


def pick_thresholds(path: Path, target: Target, options: Options) -> Thresholds:
    """Choose among the stored points for another target, and keep the choice in the bundle.

    Points that a promise covers come first; where none of them meets the target, the choice is
    among all, and no longer certified.

    Raises:
        BundleError: it has not been calibrated, or what the target needs was not measured.
    """
    found = stored(path)
    full = float(found.profile.full_macs)
    point, target, certified = choose_point(path, found.document, target, full, options.observer)
    content = content_of(point, target, full, certified=certified)
    if found.document.certificate is not None:
        content["certificate"] = _certificate_of(
            found.document.certificate, point, target, certified=certified
        )
    return rewritten(found, content, options.observer)
