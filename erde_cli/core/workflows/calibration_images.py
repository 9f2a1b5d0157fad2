"""The images that thresholds are chosen on, and what every exit of a bundle says of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from erde_cli.core.arrays import FloatArray
from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.calibration.halves import Seen, halves
from erde_cli.core.calibration.temperature import TemperatureReport, temperature_reports
from erde_cli.core.data.batches import evaluation_batches
from erde_cli.core.data.dataset import Dataset, open_labelled_folder, open_unlabelled_folder
from erde_cli.core.data.store import ImageStore
from erde_cli.core.device import Context
from erde_cli.core.errors import BundleError, InputError
from erde_cli.core.inference.answers import answer_all, ready
from erde_cli.core.inference.observations import Observations
from erde_cli.core.inference.routing import all_scores
from erde_cli.core.measurement.latency import exit_latencies
from erde_cli.core.targets import Metric, Target
from erde_cli.core.workflows.images import dataset_of, load_split
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.trained_images import check_not_trained_on, warn_of_copies

Kind = Literal["calibration split", "labelled folder", "unlabelled folder"]

_TIMED = 256  # images of which each exit's latency is measured


@dataclass(frozen=True)
class Source:
    """Where the images come from: the bundle's calibration split, or one of two folders."""

    data: Path | None = None
    images: Path | None = None

    @property
    def kind(self) -> Kind:
        """How it stands in `thresholds.json`."""
        if self.data is not None:
            return "labelled folder"
        return "calibration split" if self.images is None else "unlabelled folder"

    def check(self, target: Target, *, temperature: bool) -> None:
        """See that a target can be chosen on such images.

        Raises:
            InputError: both folders are named, or labels are needed and there are none.
        """
        if self.data is not None and self.images is not None:
            raise InputError(
                "Thresholds are chosen on one set of images.",
                got=f"--data {self.data} and --images {self.images}",
                expected="one of them: --data has a folder per class, --images no labels",
                hint="leave one of them out",
            )
        if self.images is None:
            return
        needs = [target.option] if target.kind in ("max_drop", "min_accuracy") else []
        needs += ["--risk accuracy-gap"] if target.risk == "accuracy-gap" else []
        needs += ["--metric balanced_accuracy"] if target.metric == "balanced_accuracy" else []
        needs += ["--temperature"] if temperature else []
        if needs:
            raise InputError(
                f"{needs[0]} needs labels, and the images of --images have none.",
                got=f"--images {self.images}",
                expected="--max-risk EPS --risk disagreement, --max-macs, --max-latency or "
                "--threshold",
                hint="give labelled images with --data FOLDER (<class>/*)",
            )


def look(
    bundle: Bundle,
    source: Source,
    dataset: Dataset | None,
    context: Context,
    options: Options,
    *,
    temperature: bool,
    latency: bool,
    promise: bool,
    metric: Metric = "accuracy",
) -> Seen:
    """Run the images through every exit; fit temperatures (on half A), time exits where asked."""
    dataset = open_source(bundle, source, dataset, options, promise=promise)
    if promise:
        warn_of_copies(dataset, options)
    store = load_split(dataset, "calibration", options)
    if len(store) < 2:
        raise InputError(
            "Thresholds are chosen on some images and scored on others.",
            got="one image",
            expected="two at the very least; some hundreds to be of use",
            hint="put more images there, or give another folder",
        )
    model = ready(bundle.model, context)
    answers = answer_all(model, store, bundle.normalisation, context, keep_logits=temperature)
    answers.finite()
    half_a, half_b = halves(len(store), dataset.fingerprint)
    digests = dataset.short_digests(store)
    temperatures: list[float] | None = None
    reports: tuple[TemperatureReport, ...] = ()
    if answers.logits is not None:
        reports = temperature_reports(answers.logits[half_a], store.labels.numpy()[half_a])
        temperatures = [report.temperature for report in reports]
    profile = bundle.profile
    agrees = answers.predictions == answers.predictions[:, -1:]
    latencies = _latencies(bundle, store, context, options, temperatures) if latency else None
    plain = Observations(
        answers.scores,
        agrees if source.images is not None else answers.correct,
        np.array(profile.cumulative_macs, dtype=np.float64),
        agrees,
        latencies,
        labelled=source.images is None,
        classes=store.labels.numpy() if metric == "balanced_accuracy" else None,
    )
    observations = plain
    if answers.logits is not None and temperatures is not None:
        scores = all_scores(torch.from_numpy(answers.logits), temperatures)
        observations = replace(plain, scores=scores.double().numpy())
    return Seen(
        dataset.fingerprint,
        observations,
        plain,
        temperatures,
        reports,
        half_a,
        half_b,
        profile,
        None if digests is None else digests[half_b],
    )


def refuse_tuned_on_all(bundle: Bundle, source: Source) -> None:
    """See that half B of the calibration split chose nothing about this bundle.

    Raises:
        BundleError: its recipe says that its values were chosen on all of the split.
    """
    if source.kind == "calibration split" and bundle.recipe.calibration.tuned_on == "all":
        raise BundleError(
            f"{bundle.path} was tuned on all of its calibration images, so none are left that a "
            "promise could rest on.",
            got="calibration.tuned_on: all",
            expected="half A",
            hint="give images that chose nothing: --data FOLDER or --images FOLDER",
        )


def open_source(
    bundle: Bundle, source: Source, dataset: Dataset | None, options: Options, *, promise: bool
) -> Dataset:
    """Open the images, or check those that are open already.

    Raises:
        BundleError: the bundle's own have changed; or a folder has images that the network was
            trained on, and a promise is asked for.
        DataError: they are missing, or a folder is not of the right form.
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
        return dataset_of(bundle, options, dataset)
    check_not_trained_on(bundle, dataset, options, promise=promise)
    return dataset


def _latencies(
    bundle: Bundle,
    store: ImageStore,
    context: Context,
    options: Options,
    temperatures: list[float] | None,
) -> FloatArray:
    options.observer.phase("Timing every exit, one image at a time")
    few = store.only(np.arange(min(_TIMED, len(store))))
    batches = evaluation_batches(few, bundle.normalisation, context)
    images = torch.cat([batch.images for batch in batches])
    model = ready(bundle.model, context)
    found = exit_latencies(model, images, temperatures=temperatures, autocast=context.autocast)
    return np.array(found, dtype=np.float64)
