"""`erde export --int8`: quantise stages, choose their thresholds, and compare with float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.calibration.estimate import calibrate, estimated_result
from erde_cli.core.calibration.result import Basis, document_of, latency_document
from erde_cli.core.calibration.thresholds_file import ThresholdsDocument
from erde_cli.core.data.store import ImageStore
from erde_cli.core.device import images_at_once
from erde_cli.core.errors import ErdeError
from erde_cli.core.export.check import Check, verify
from erde_cli.core.export.onnx_int8 import quantisation, quantise_stages
from erde_cli.core.export.onnx_runtime import OnnxNetwork, open_exported
from erde_cli.core.export.onnx_single import write_int8_file
from erde_cli.core.export.onnx_staged import describe_stages
from erde_cli.core.export.onnx_stages import Stages
from erde_cli.core.export.record import (
    ExportRecord,
    Quantisation,
    read_manifest,
    write_manifest,
)
from erde_cli.core.export.self_check import observed_vector
from erde_cli.core.inference.answers import Answers
from erde_cli.core.inference.observations import Observations
from erde_cli.core.measurement.side_by_side import BatchPairs, leaving_ms, measure_pairs
from erde_cli.core.provenance import versions_of
from erde_cli.core.randomness import permutation
from erde_cli.core.storage.json_files import Json
from erde_cli.core.workflows.calibration_images import observations_of
from erde_cli.core.workflows.export import verified_images
from erde_cli.core.workflows.export_int8_cost import (
    Int8Cost,
    UnderThresholds,
    differing_of,
    drop_of,
)
from erde_cli.core.workflows.export_int8_images import Int8Images
from erde_cli.core.workflows.options import Options

_BATCHES = (1, 64)
_ROUNDS = 21
_TIMED = 256  # images routed at the thresholds in each round ...
_PIXELS = _TIMED * 64**2  # ... and fewer if they are large


@dataclass(frozen=True)
class _Quantised:
    """A folder of quantised stages; answers are of float32 and int8.

    single: the one file made of them; None: the folder itself is the export.
    """

    folder: Path
    single: Path | None
    record: ExportRecord
    float_network: OnnxNetwork
    files: list[str]
    float_size: int
    answers: tuple[Answers, Answers]

    @property
    def place(self) -> Path:
        """The export."""
        return self.single or self.folder

    def describe(self, record: ExportRecord, how: Quantisation) -> None:
        """Write the metadata of the stages and the manifest, and the single file."""
        describe_stages(self.folder, self.files, record, how)
        write_manifest(self.folder, self.files, record, how)
        if self.single is not None:
            graphs = [onnx.load(self.folder / name).graph for name in self.files]
            write_int8_file(graphs, record, how, self.single)


def export_int8(
    folder: Path,
    bundle: Bundle,
    record: ExportRecord,
    images: Int8Images,
    options: Options,
    single: Path | None = None,
) -> tuple[ExportRecord, Int8Cost]:
    """Replace the float stages in a folder by int8 stages, and choose thresholds for these.

    Args:
        folder: float stages and their manifest.
        bundle: the exported bundle.
        record: metadata in the manifest.
        images: images for ranges and thresholds.
        options: threads, observer.
        single: a file that stops early, of the same network in float; replaced by one that is made
            of the int8 stages. None: the stages are the export.

    Raises:
        ErdeError: the stages cannot be quantised, or their answers do not follow from their scores.
    """
    done = _quantise((folder, single), record, images, options)
    options.observer.phase("Choosing thresholds for the quantised scores")
    before = record.calibration
    macs = np.array(bundle.profile.cumulative_macs, dtype=float)
    observations = [
        observations_of(answers, macs, images.labels, before.metric) for answers in done.answers
    ]
    timed = _latencies(done, images) if before.target.read().needs == "latencies" else None
    after = recalibrated(before, replace(observations[1], latencies=timed), images)
    if before.certificate is not None:
        options.observer.warning(
            f"The guarantee for {bundle.path} does not hold for its int8 stages. Their new "
            "thresholds are an estimate."
        )
    versions = {**record.versions, **versions_of("onnxruntime")}
    changed: Json = {"calibration": after, "versions": versions}
    if record.test is not None:
        network = open_exported(done.place, options.threads)
        changed["test"] = observed_vector(network, record.test.n)
    record = record.model_copy(update=changed)
    done.describe(record, quantisation(len(images.ranges)))
    checks = _verified(done.place, done.answers[1], record, images, options)
    return record, _cost(done, images, after, observations, checks, options)


def _quantise(
    places: tuple[Path, Path | None], record: ExportRecord, images: Int8Images, options: Options
) -> _Quantised:
    folder, single = places
    files = [stage.file for stage in read_manifest(folder).stages]
    float_network = open_exported(single or folder, 1)  # holds the float network in memory
    float_answers = _answers(folder, files, record, images, options)
    float_size = _size(folder, files, single)
    ranges = images.store.only(images.ranges)
    options.observer.phase(f"Quantising on {len(ranges)} images")
    quantise_stages(
        folder, files, partial(_batches, ranges, record), options.threads,
        partial(options.observer.progress, "Quantising stages"),
    )  # fmt: skip
    answers = _answers(folder, files, record, images, options)
    done = _Quantised(
        folder, single, record, float_network, files, float_size, (float_answers, answers)
    )
    # With the old record for now: callers pass their own thresholds.
    done.describe(record, quantisation(len(ranges)))
    return done


def recalibrated(
    before: ThresholdsDocument, observations: Observations, images: Int8Images
) -> ThresholdsDocument:
    """Thresholds for the same target on quantised scores; a guarantee becomes an estimate."""
    target = before.target.read()
    searched = observations
    if target.by_agreement and observations.agrees is not None:
        searched = replace(observations, correct=observations.agrees, labelled=False)
    result = replace(
        estimated_result(calibrate(searched, target.estimated()), searched, images.half_b),
        # An estimate has no confidence.
        target=before.target.model_copy(update={"confidence": None, "how": "searched"}),
        exit_accuracy=observations.exit_accuracy,
        exit_balanced_accuracy=observations.exit_balanced_accuracy,
    )
    basis = Basis(
        images.kind, images.fingerprint, before.weights_digest, "float32", "cpu",
        before.temperatures, latency_document(observations, 1, "cpu"), before.criterion,
        before.unit,
    )  # fmt: skip
    return document_of(result, basis)


def _cost(
    done: _Quantised,
    images: Int8Images,
    after: ThresholdsDocument,
    observations: Sequence[Observations],
    checks: Sequence[Check],
    options: Options,
) -> Int8Cost:
    """Compare answers of float32 and int8, and measure their latencies."""
    before = done.record.calibration
    float32, int8 = observations
    exits = (float32.exits(before.values), int8.exits(after.values))
    return Int8Cost(
        images, before, after,
        float32=UnderThresholds.of(float32, before.values),
        kept=UnderThresholds.of(int8, before.values),
        int8=UnderThresholds.of(int8, after.values),
        drop=None if images.labels is None else drop_of(done.answers, exits),
        differing=differing_of(done.answers, exits, np.arange(len(images.store))),
        differing_half_b=differing_of(done.answers, exits, images.half_b),
        sizes=(done.float_size, _size(done.folder, done.files, done.single)),
        latency=_measured(done, images, after, options),
        checks=tuple(checks),
    )  # fmt: skip


def _verified(
    place: Path, expected: Answers, record: ExportRecord, images: Int8Images, options: Options
) -> list[Check]:
    """Run the int8 export at its own thresholds, and compare with `expected`."""
    options.observer.phase("Verifying the int8 export")
    places = verified_images(len(images.store))
    few = Answers(
        expected.correct[places], expected.scores[places], expected.predictions[places],
        None if expected.logits is None else expected.logits[places],
    )  # fmt: skip
    store = images.store.only(places)
    try:
        return verify(
            open_exported(place, options.threads), store.part(0, len(store)).numpy(), few,
            record.thresholds, record.temperatures,
        )  # fmt: skip
    except ErdeError as error:
        raise ErdeError(
            "The int8 stages do not exit or answer as their scores require, so they were not kept.",
            got=error.got,
            expected=error.expected,
        ) from error


def _measured(
    done: _Quantised, images: Int8Images, after: ThresholdsDocument, options: Options
) -> tuple[BatchPairs, ...]:
    """Latencies of both networks at every exit and under their thresholds, on one thread."""
    networks = (done.float_network, open_exported(done.place, 1))
    thresholds = (done.record.thresholds, after.values)
    batches = []
    for batch in _BATCHES if done.single is None else _BATCHES[:1]:
        options.observer.phase(f"Measuring latency at batch {batch}")
        report = partial(options.observer.progress, f"Rounds at batch {batch}")
        pixels = _timed(images.store, batch)
        batches.append(measure_pairs(networks, pixels, batch, thresholds, _ROUNDS, report))
    return tuple(batches)


def _latencies(done: _Quantised, images: Int8Images) -> NDArray[np.float64]:
    network = open_exported(done.place, 1)
    return np.array(leaving_ms(network, _timed(images.store, 1), done.record.exit_count))


def _timed(store: ImageStore, batch: int) -> torch.Tensor:
    """Images of one pass: whole batches, always the same; repeated if the store has too few."""
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


def _size(folder: Path, files: list[str], single: Path | None) -> int:
    """Bytes of the stages, or of the single file."""
    return sum(
        path.stat().st_size for path in ([single] if single else map(folder.joinpath, files))
    )
