"""`erde profile --latency`: latency and memory of a bundle on its calibration split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from erde_cli.core.arrays import IntArray
from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.bundle.document import WEIGHTS
from erde_cli.core.data.store import ImageStore
from erde_cli.core.device import Context
from erde_cli.core.export.runtimes import NAMES, Runtime
from erde_cli.core.figures import counted
from erde_cli.core.inference.answers import answer_all, ready
from erde_cli.core.measurement.latency import ROUNDS, BatchLatency, Timing, measure_runs
from erde_cli.core.measurement.profile_plot import ProfilePicture, draw_profile
from erde_cli.core.measurement.verdict import LatencyCosts
from erde_cli.core.models.profile import Profile
from erde_cli.core.randomness import permutation
from erde_cli.core.storage.json_files import Json
from erde_cli.core.workflows.images import dataset_of, load_split
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.timed_models import TimedModel, open_timed

BATCHES = (1, 32, 256)
_CALLS, _IMAGES = 256, 1024  # limits of one routed pass
_PIXELS = _CALLS * 224**2  # limit of one routed pass: 150 MB as float32


@dataclass(frozen=True)
class LatencyRequest:
    """Batch sizes, rounds, folder of the picture (None: in the bundle), and runtime."""

    batches: Sequence[int] = BATCHES
    repeats: int = ROUNDS
    out: Path | None = None
    runtime: Runtime = "torch"


@dataclass(frozen=True)
class MeasuredBatch:
    """One batch size: latencies, number of distinct images, peak bytes (None: unknown)."""

    latency: BatchLatency
    distinct_images: int
    peak_bytes: int | None


@dataclass(frozen=True)
class MeasuredLatency:
    """Latency, memory, and accuracy of each exit on the calibration split.

    calibrated_rates: exit rates found by calibration. picture: None if it could not be drawn.
    """

    runtime: Runtime
    context: Context
    repeats: int
    batches: tuple[MeasuredBatch, ...]
    weights_file_bytes: int
    weights_placed_bytes: int | None
    exit_accuracy: list[float]
    calibrated_rates: list[float] | None
    picture: Path | None = None

    @property
    def where(self) -> str:
        """Runtime, precision, and threads or device, in words."""
        device = self.context.device.type
        place = counted(self.context.threads, "thread") if device == "cpu" else device
        return f"{NAMES[self.runtime]}, {self.context.precision}, {place}"

    @property
    def costs(self) -> list[LatencyCosts]:
        """Latencies for the verdict, one entry per batch size; empty without thresholds."""
        return [
            LatencyCosts(
                one.latency.batch,
                [one.latency.end_to_end.mean / over for over in one.latency.end_to_end.over_static],
                one.latency.end_to_end.mean,
            )
            for one in self.batches
            if one.latency.end_to_end is not None
        ]

    def calibrated(self, one: MeasuredBatch) -> float | None:
        """Expected ms per image at the calibrated exit rates; None without thresholds."""
        if self.calibrated_rates is None:
            return None
        medians = [timing.median for timing in one.latency.exits]
        return float(np.dot(self.calibrated_rates, medians))

    def to_json(self, profile: Profile) -> Json:
        """The object `latency` of `erde profile --json`."""
        return {
            "runtime": self.runtime,
            "device": self.context.device.type,
            "precision": self.context.precision,
            "threads": self.context.threads,
            "repeats": self.repeats,
            "split": "calibration",
            "exit_accuracy": self.exit_accuracy,
            "weights": {
                "file_bytes": self.weights_file_bytes,
                "placed_bytes": self.weights_placed_bytes,
            },
            "batches": [_batch_to_json(one, profile, self.calibrated(one)) for one in self.batches],
            "picture": str(self.picture) if self.picture else None,
        }


def measure_bundle(bundle: Bundle, request: LatencyRequest, options: Options) -> MeasuredLatency:
    """Measure a bundle in the precision of its thresholds; draw a picture.

    Raises:
        BundleError: its images have changed, or it cannot be exported for the runtime.
        DataError: its images are missing.
    """
    store = load_split(dataset_of(bundle, options), "calibration", options)
    thresholds = bundle.thresholds()
    with open_timed(request.runtime, bundle, options) as timed:
        values = thresholds.values if thresholds else None
        batches = [
            _measure_batch(timed, store, batch, values, request.repeats, options)
            for batch in request.batches
        ]
    options.observer.phase("Evaluating every exit on the calibration split")
    # Always in torch: an export is kept only if it answers as torch does.
    context = options.inference_context(timed.context.precision)
    model = ready(bundle.model, context)
    accuracy = answer_all(model, store, bundle.normalisation, context).accuracy
    measured = MeasuredLatency(
        request.runtime,
        timed.context,
        request.repeats,
        tuple(batches),
        (bundle.path / WEIGHTS).stat().st_size,
        timed.weight_bytes,
        accuracy,
        thresholds.exit_rates if thresholds else None,
    )
    path = (request.out or bundle.path / "profile") / "profile.png"
    picture = _picture(measured, bundle)
    return replace(measured, picture=draw_profile(path, picture, options.observer))


def _measure_batch(
    timed: TimedModel,
    store: ImageStore,
    batch: int,
    thresholds: list[float] | None,
    repeats: int,
    options: Options,
) -> MeasuredBatch:
    runs = timed.runs(batch)
    options.observer.phase(f"Measuring latency at batch {batch}")
    places = image_places(len(store), store.images.shape[2], batch)
    images = timed.images(timed.context.to_device(store.take(places)))
    latency = measure_runs(
        runs,
        images,
        batch,
        thresholds,
        repeats=repeats,
        autocast=timed.context.autocast,
        progress=partial(options.observer.progress, f"Rounds at batch {batch}"),
    )
    if not latency.increasing:
        options.observer.warning(
            f"At batch {batch} a later exit was faster than an earlier one. Either the measurement "
            "is noisy, or the stage between them costs almost nothing. Increase --repeats."
        )
    peak = timed.peak_bytes(images[:batch])
    return MeasuredBatch(latency, min(len(store), len(places)), peak)


def image_places(count: int, side: int, batch: int) -> IntArray:
    """Positions in a split of the images of one routed pass: whole batches, always the same.

    At most 256 at batch 1. Images repeat if the split is smaller than a batch. `count` images
    are in the split; `side` is in pixels.
    """
    most = min(count, _CALLS * batch, _IMAGES, _PIXELS // side**2)
    wanted = max(1, most // batch) * batch
    return np.resize(permutation(count, 0, "latency"), wanted)


def _picture(measured: MeasuredLatency, bundle: Bundle) -> ProfilePicture:
    thresholds = bundle.thresholds()
    return ProfilePicture(
        f"{bundle.document.recipe.get('name', '')}: cost of each exit ({measured.where})",
        bundle.profile.cumulative_macs,
        bundle.profile.static_macs_of_exits,
        thresholds.expected_macs if thresholds else None,
        [one.latency for one in measured.batches],
    )


def _batch_to_json(one: MeasuredBatch, profile: Profile, calibrated: float | None) -> Json:
    latency = one.latency
    shares = latency.shares(profile.cumulative_macs)
    static = latency.static_shares(profile.cumulative_macs, profile.static_macs)
    end = latency.end_to_end
    mix: Json | None = None
    if shares is not None and static is not None and end is not None:
        mix = {
            "exit_rates": list(end.exit_rates),
            "calibrated_ms": calibrated,
            "expected_ms": latency.expected,
            "expected_alone_ms": latency.expected_alone,
            "end_to_end_ms": end.mean,
            "over_static": list(end.over_static),
            "end_to_end": _timing_to_json(end.timing, latency.batch),
            "macs_share": shares.macs,
            "expected_share": shares.expected,
            "end_to_end_share": shares.end_to_end,
            "ratio": shares.ratio,
            "static": {
                "macs_share": static.macs,
                "expected_share": static.expected,
                "end_to_end_share": static.end_to_end,
                "ratio": static.ratio,
            },
        }
    return {
        "batch": latency.batch,
        "images": latency.images,
        "distinct_images": one.distinct_images,
        "exits": [_exit_to_json(exit_, latency) for exit_ in range(len(latency.exits))],
        "increasing": latency.increasing,
        "mix": mix,
        "peak_bytes": one.peak_bytes,
    }


def _exit_to_json(exit_: int, latency: BatchLatency) -> Json:
    return {
        "exit": exit_,
        **_timing_to_json(latency.exits[exit_], latency.batch),
        "static": _timing_to_json(latency.static[exit_], latency.batch),
        "over_static": latency.over_static[exit_],
    }


def _timing_to_json(timing: Timing, batch: int) -> Json:
    return {
        "median_ms": timing.median,
        "p5_ms": timing.p5,
        "p95_ms": timing.p95,
        "batch_median_ms": timing.median * batch,
        "calls": timing.calls,
    }
