"""The images that thresholds are chosen on, and the answers of every exit to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from erde_cli.core.arrays import FloatArray, IntArray
from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.calibration.document import ImageSource
from erde_cli.core.calibration.halves import halves
from erde_cli.core.calibration.observations import CalibrationObservations
from erde_cli.core.calibration.temperature import TemperatureReport, temperature_reports
from erde_cli.core.data.batches import evaluation_batches
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.store import ImageStore
from erde_cli.core.data.user_folders import open_labelled_folder, open_unlabelled_folder
from erde_cli.core.device import Context
from erde_cli.core.errors import BundleError, InputError
from erde_cli.core.inference.answers import Answers, answer_all, ready
from erde_cli.core.inference.observations import Observations
from erde_cli.core.inference.routing import all_scores
from erde_cli.core.measurement.latency import TorchRuns, exit_latencies
from erde_cli.core.thresholds.scores import Score
from erde_cli.core.thresholds.target import Metric, Target
from erde_cli.core.workflows.images import dataset_of, load_split
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.trained_images import check_not_trained_on, warn_of_copies

_TIMED = 256  # images on which the latency of each exit is measured


@dataclass(frozen=True)
class Source:
    """Where the images come from: a labelled folder, an unlabelled one, or the bundle's split.

    dataset: the bundle's data set, if it is already open.
    """

    data: Path | None = None
    images: Path | None = None
    dataset: Dataset | None = None

    @property
    def kind(self) -> ImageSource:
        """The value in `thresholds.json`."""
        if self.data is not None:
            return "labelled folder"
        return "calibration split" if self.images is None else "unlabelled folder"

    def check(self, target: Target, *, temperature: bool) -> None:
        """Check that these images suffice for a target.

        Raises:
            InputError: both folders are given, or labels are needed and there are none.
        """
        if self.data is not None and self.images is not None:
            raise InputError(
                "--data and --images cannot be combined.",
                got=f"--data {self.data} and --images {self.images}",
                expected="--data FOLDER (one subfolder per class), or --images FOLDER (no labels)",
                hint="leave one of them out",
            )
        if self.images is None:
            return
        option = target.needs_labels or ("--temperature" if temperature else None)
        if option is not None:
            raise InputError(
                f"{option} needs labels, but the images of --images have none.",
                got=f"--images {self.images}",
                expected="--max-risk EPS --risk disagreement, --max-macs, --max-latency or "
                "--threshold",
                hint="give labelled images with --data FOLDER (<class>/*)",
            )


def observe(
    bundle: Bundle,
    source: Source,
    context: Context,
    options: Options,
    target: Target,
    *,
    temperature: bool,
    score: Score,
) -> CalibrationObservations:
    """Run the images through every exit; fit temperatures and time the exits if required.

    Raises:
        BundleError: as `open_source`.
        DataError: as `open_source`.
        InputError: there is only one image.
    """
    dataset = open_source(bundle, source, options, guarantee=target.guarantees)
    if target.guarantees:
        warn_of_copies(dataset, options)
    store = load_split(dataset, "calibration", options)
    require_several(store, "Thresholds are chosen on some images and tested on others.")
    model = ready(bundle.model, context)
    answers = answer_all(
        model, store, bundle.normalisation, context, keep_logits=temperature, score=score
    ).require_finite()
    half_a, half_b = halves(len(store), dataset.fingerprint)
    digests = dataset.short_digests(store.numbers)
    reports: tuple[TemperatureReport, ...] = ()
    if answers.logits is not None:
        reports = temperature_reports(answers.logits[half_a], store.labels.numpy()[half_a])
    temperatures = [report.temperature for report in reports] or None
    latencies = None
    if target.needs == "latencies":
        runs = TorchRuns(model, temperatures, context.autocast, score)
        latencies = _exit_latencies(runs, bundle, store, context, options)
    plain = replace(
        observations_of(
            answers, np.array(bundle.profile.cumulative_macs, dtype=np.float64),
            None if source.images is not None else store.labels.numpy(), target.metric,
        ),
        latencies=latencies,
    )  # fmt: skip
    return CalibrationObservations(
        dataset.fingerprint,
        _at_temperatures(plain, answers, temperatures, score),
        plain,
        temperatures,
        reports,
        half_a,
        half_b,
        None if digests is None else digests[half_b],
    )


def observations_of(
    answers: Answers, macs: FloatArray, labels: IntArray | None, metric: Metric
) -> Observations:
    """Answers of every exit in the form from which thresholds are chosen.

    Args:
        answers: of every exit.
        macs: cumulative MACs, float64 [exits].
        labels: int64 [images]; None: an answer is right if it agrees with the last exit.
        metric: accuracy that the thresholds are chosen by.
    """
    agrees = answers.predictions == answers.predictions[:, -1:]
    return Observations(
        answers.scores, agrees if labels is None else answers.correct, macs, agrees,
        labelled=labels is not None, classes=labels if metric == "balanced_accuracy" else None,
    )  # fmt: skip


def require_several(store: ImageStore, why: str) -> None:
    """Check that there are at least two images.

    Raises:
        InputError: there is only one; the message begins with `why`.
    """
    if len(store) < 2:
        raise InputError(
            why,
            got="one image",
            expected="at least two; several hundred for useful results",
            hint="add images, or give another folder",
        )


def _at_temperatures(
    plain: Observations, answers: Answers, temperatures: list[float] | None, score: Score
) -> Observations:
    if answers.logits is None or temperatures is None:
        return plain
    scores = all_scores(torch.from_numpy(answers.logits), temperatures, score)
    return replace(plain, scores=scores.double().numpy())


def refuse_tuned_on_all(bundle: Bundle, source: Source) -> None:
    """Check that the test half of the calibration split was not used to tune the recipe.

    Raises:
        BundleError: the recipe was tuned on the whole split.
    """
    if source.kind == "calibration split" and bundle.recipe.calibration.tuned_on == "all":
        raise BundleError(
            f"The recipe of {bundle.path} was tuned on all calibration images. None are left to "
            "test a guarantee on.",
            got="calibration.tuned_on: all",
            expected="half A",
            hint="give images that tuned nothing: --data FOLDER or --images FOLDER",
        )


def open_source(bundle: Bundle, source: Source, options: Options, *, guarantee: bool) -> Dataset:
    """Open the images; if the bundle's data set is already open, check it.

    Raises:
        BundleError: the bundle's images have changed; or a guarantee will rest on a folder, and the
            network was trained on some of its images.
        DataError: images are missing, or a folder has the wrong layout.
    """
    reading, observer = bundle.reading, options.observer
    if source.data is not None:
        dataset = open_labelled_folder(
            source.data, bundle.class_names, reading, split="calibration", observer=observer
        )
    elif source.images is not None:
        dataset = open_unlabelled_folder(
            source.images, reading, split="calibration", observer=observer
        )
    else:
        return dataset_of(bundle, options, source.dataset)
    check_not_trained_on(bundle, dataset, options, guarantee=guarantee)
    return dataset


def _exit_latencies(
    runs: TorchRuns, bundle: Bundle, store: ImageStore, context: Context, options: Options
) -> FloatArray:
    options.observer.phase("Timing every exit, one image at a time")
    few = store.only(np.arange(min(_TIMED, len(store))))
    batches = evaluation_batches(few, bundle.normalisation, context)
    images = torch.cat([batch.images for batch in batches])
    milliseconds = exit_latencies(runs, images, autocast=context.autocast)
    return np.array(milliseconds, dtype=np.float64)
