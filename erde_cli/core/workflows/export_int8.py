"""The part of `erde export` that quantises: stages in int8, their thresholds, what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.calibration.estimate import calibrate, estimated
from erde_cli.core.calibration.result import Basis, document_of, latency_document
from erde_cli.core.calibration.thresholds_file import ThresholdsDocument
from erde_cli.core.data.store import ImageStore
from erde_cli.core.device import images_at_once
from erde_cli.core.errors import ErdeError
from erde_cli.core.export.check import Check, verify
from erde_cli.core.export.onnx_int8 import quantisation, quantise_stages
from erde_cli.core.export.onnx_runtime import OnnxNetwork, open_exported
from erde_cli.core.export.onnx_stages import Stages
from erde_cli.core.export.record import ExportRecord, read_manifest, write_manifest
from erde_cli.core.inference.answers import Answers
from erde_cli.core.inference.observations import Observations
from erde_cli.core.measurement.side_by_side import BatchPairs, leaving_ms, measure_pairs
from erde_cli.core.models.profile import profile_model
from erde_cli.core.provenance import versions_of
from erde_cli.core.randomness import permutation
from erde_cli.core.workflows.calibration_images import observations_of
from erde_cli.core.workflows.export_int8_cost import (
    Int8Cost,
    UnderThresholds,
    differing_of,
    drop_of,
)
from erde_cli.core.workflows.export_int8_images import Int8Images
from erde_cli.core.workflows.options import Options

_VERIFIED = 512  # images, at most
_BATCHES = (1, 64)
_ROUNDS = 21
_TIMED = 256  # images that go through at the thresholds in each round ...
_PIXELS = _TIMED * 64**2  # ... and fewer where they are large


@dataclass(frozen=True)
class _Quantised:
    """A folder whose float stages were replaced, and what both kinds say of the images."""

    folder: Path
    record: ExportRecord
    float_network: OnnxNetwork
    files: list[str]
    sizes: tuple[int, int]
    answers: tuple[Answers, Answers]


def export_int8(
    folder: Path, bundle: Bundle, record: ExportRecord, images: Int8Images, options: Options
) -> tuple[ExportRecord, Int8Cost]:
    """Replace the float stages in a folder by int8 ones with thresholds of their own.

    Args:
        folder: float stages and their manifest, verified.
        bundle: where they came from.
        record: what their manifest says of the network.
        images: what ranges are measured and thresholds chosen on.
        options: threads, observer.

    Raises:
        ErdeError: they cannot be quantised, or do not answer as their own scores say.
    """
    done = _quantise(folder, record, images, options)
    options.observer.phase("Choosing thresholds for the quantised scores")
    before = record.calibration
    macs = np.array(profile_model(bundle.model, bundle.image_size).cumulative_macs, dtype=float)
    seen = [observations_of(one, macs, images.labels, before.metric) for one in done.answers]
    timed = _latencies(done, images) if before.target.read().needs == "latencies" else None
    after = recalibrated(before, replace(seen[1], latencies=timed), images)
    if before.certificate is not None:
        options.observer.warning(
            f"What was promised of {bundle.path} does not hold for its int8 stages: their "
            "thresholds are chosen again, as an estimate."
        )
    record = record.model_copy(update={"calibration": after, "versions": _versions(record)})
    write_manifest(folder, done.files, record, quantisation(len(images.ranges)))
    checks = _verified(folder, done.answers[1], record, images, options)
    return record, _cost(done, images, after, seen, checks, options)


def _quantise(
    folder: Path, record: ExportRecord, images: Int8Images, options: Options
) -> _Quantised:
    files = [stage.file for stage in read_manifest(folder).stages]
    float_network = open_exported(folder, 1)  # it keeps what it read
    float_answers = _answers(folder, files, record, images, options)
    float_size = _size(folder, files)
    ranges = images.store.only(images.ranges)
    options.observer.phase(f"Quantising on {len(ranges)} images")
    quantise_stages(
        folder, files, partial(_batches, ranges, record), options.threads,
        partial(options.observer.progress, "Quantising stages"),
    )  # fmt: skip
    # The old record for now: the network can be asked with thresholds that are given.
    write_manifest(folder, files, record, quantisation(len(ranges)))
    answers = _answers(folder, files, record, images, options)
    sizes = (float_size, _size(folder, files))
    return _Quantised(folder, record, float_network, files, sizes, (float_answers, answers))


def recalibrated(
    before: ThresholdsDocument, seen: Observations, images: Int8Images
) -> ThresholdsDocument:
    """The same target on the quantised scores; a promise becomes an estimate of its risk."""
    target = before.target.read()
    searched = seen
    if target.by_agreement and seen.agrees is not None:
        searched = replace(seen, correct=seen.agrees, labelled=False)
    found = estimated(calibrate(searched, target.estimated()), searched, images.half_b)
    found = replace(
        found,
        # An estimate has no confidence.
        target=before.target.model_copy(update={"confidence": None, "how": "searched"}),
        exit_accuracy=seen.exit_accuracy,
        exit_balanced_accuracy=seen.exit_balanced_accuracy,
    )
    basis = Basis(
        images.kind, images.fingerprint, before.weights_digest, "float32", "cpu",
        before.temperatures, latency_document(seen, 1, "cpu"), before.criterion, before.unit,
    )  # fmt: skip
    return document_of(found, basis)


def _cost(
    done: _Quantised,
    images: Int8Images,
    after: ThresholdsDocument,
    seen: Sequence[Observations],
    checks: Sequence[Check],
    options: Options,
) -> Int8Cost:
    """Float and int8 next to each other: answers, and times measured now."""
    before = done.record.calibration
    exits = (seen[0].exits(before.values), seen[1].exits(after.values))
    return Int8Cost(
        images, before, after,
        float32=UnderThresholds.of(seen[0], before.values),
        kept=UnderThresholds.of(seen[1], before.values),
        int8=UnderThresholds.of(seen[1], after.values),
        drop=None if images.labels is None else drop_of(done.answers, exits),
        differing=differing_of(done.answers, exits, np.arange(len(images.store))),
        differing_half_b=differing_of(done.answers, exits, images.half_b),
        sizes=done.sizes,
        latency=_measured(done, images, after, options),
        checks=tuple(checks),
    )  # fmt: skip


def _verified(
    folder: Path, expected: Answers, record: ExportRecord, images: Int8Images, options: Options
) -> list[Check]:
    """Check that the runner, with the manifest's thresholds, does what the scores say."""
    options.observer.phase("Verifying the int8 stages")
    places = np.sort(permutation(len(images.store), 0, "export")[:_VERIFIED])
    few = Answers(
        expected.correct[places], expected.scores[places], expected.predictions[places],
        None if expected.logits is None else expected.logits[places],
    )  # fmt: skip
    store = images.store.only(places)
    try:
        return verify(
            open_exported(folder, options.threads), store.part(0, len(store)).numpy(), few,
            record.thresholds, record.temperatures,
        )  # fmt: skip
    except ErdeError as error:
        raise ErdeError(
            "The int8 stages do not leave and answer as their own scores say, so they were not "
            "kept.",
            got=error.got,
            expected=error.expected,
        ) from error


def _measured(
    done: _Quantised, images: Int8Images, after: ThresholdsDocument, options: Options
) -> tuple[BatchPairs, ...]:
    """Both kinds of stages at every exit, and each at its own thresholds, one thread."""
    networks = (done.float_network, open_exported(done.folder, 1))
    thresholds = (done.record.thresholds, after.values)
    found = []
    for batch in _BATCHES:
        options.observer.phase(f"Measuring latency at batch {batch}")
        tell = partial(options.observer.progress, f"Rounds at batch {batch}")
        pixels = _timed(images.store, batch)
        found.append(measure_pairs(networks, pixels, batch, thresholds, _ROUNDS, tell))
    return tuple(found)


def _latencies(done: _Quantised, images: Int8Images) -> NDArray[np.float64]:
    network = open_exported(done.folder, 1)
    return np.array(leaving_ms(network, _timed(images.store, 1), done.record.exit_count))


def _timed(store: ImageStore, batch: int) -> torch.Tensor:
    """Images of one pass: whole batches, always the same; few images come again."""
    most = min(_TIMED, _PIXELS // store.images.shape[1] ** 2)
    wanted = max(1, most // batch) * batch
    return store.take(np.resize(permutation(len(store), 0, "latency"), wanted))


def _answers(
    folder: Path, files: list[str], record: ExportRecord, images: Int8Images, options: Options
) -> Answers:
    stages = Stages(options.threads)
    for name in files:
        stages.add(folder / name)
    batches = _batches(images.store, record)
    return stages.answers(batches, images.labels, record.temperature_of_exits)


def _batches(store: ImageStore, record: ExportRecord) -> Iterator[NDArray[np.generic]]:
    size = images_at_once(record.image_size, torch.device("cpu"))
    for start in range(0, len(store), size):
        yield record.inputs(store.part(start, size).numpy())


def _versions(record: ExportRecord) -> dict[str, str]:
    return {**record.versions, **versions_of("onnxruntime")}


def _size(folder: Path, files: list[str]) -> int:
    return sum((folder / name).stat().st_size for name in files)
