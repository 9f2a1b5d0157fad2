"""The part of `erde export` that quantises: stages in int8, their thresholds, what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.calibration.estimate import add_half_b, calibrate, estimated_content
from erde_cli.core.calibration.thresholds_file import (
    ThresholdsDocument,
    target_to_json,
    thresholds_document,
)
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
from erde_cli.core.storage.json_files import Json
from erde_cli.core.workflows.export_int8_cost import (
    Int8Cost,
    UnderThresholds,
    differing_of,
    drop_of,
    observations_of,
)
from erde_cli.core.workflows.export_int8_images import Int8Images, estimate_of, target_of
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
    seen = [observations_of(one, macs, images, before.metric) for one in done.answers]
    timed = _latencies(done, images) if target_of(before).kind == "max_latency" else None
    after = recalibrated(before, replace(seen[1], latencies=timed), images)
    if before.certificate is not None:
        options.observer.warning(
            f"What was promised of {bundle.path} does not hold for its int8 stages: their "
            "thresholds are chosen again, as an estimate."
        )
    changed = {"calibration": after.model_dump(), "versions": _versions(record)}
    record = ExportRecord.model_validate({**record.model_dump(), **changed})
    write_manifest(folder, done.files, record, quantisation(len(images.ranges)))
    checks = _verified(folder, done.answers[1], record, images, options)
    exits = (seen[0].exits(before.values), seen[1].exits(after.values))
    cost = Int8Cost(
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
    return record, cost


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
    target = target_of(before)
    searched = seen
    if target.kind == "max_risk" and target.risk != "accuracy-gap" and seen.agrees is not None:
        # What the risk counts is disagreement with the last exit, whatever the labels say.
        searched = replace(seen, correct=seen.agrees, labelled=False)
    content = estimated_content(calibrate(searched, estimate_of(target)))
    add_half_b(content, searched, images.half_b)
    latencies = None if seen.latencies is None else {
        "ms": seen.latencies.tolist(), "batch": 1, "threads": 1, "device": "cpu"
    }  # fmt: skip
    about: Json = {
        "temperatures": before.temperatures,
        "target": target_to_json(target),
        "source": images.kind,
        "split_fingerprint": images.fingerprint,
        "precision": "float32",
        "device": "cpu",
        "weights_digest": before.weights_digest,
        "exit_accuracy": _listed(seen.exit_accuracy),
        "exit_balanced_accuracy": _listed(seen.exit_balanced_accuracy),
        "latency": latencies,
    }
    return thresholds_document({**content, **about})


def _listed(shares: tuple[float, ...] | None) -> list[float] | None:
    return None if shares is None else list(shares)


def _verified(
    folder: Path, expected: Answers, record: ExportRecord, images: Int8Images, options: Options
) -> list[Check]:
    """See that the runner, with the manifest's thresholds, does what the scores say."""
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
    return store.take(store.places(np.resize(permutation(len(store), 0, "latency"), wanted)))


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
