"""`erde evaluate`: a bundle's accuracy and cost on images, and the trade-off over thresholds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from erde_cli.core.bundle.bundle import Bundle, load_bundle
from erde_cli.core.calibration.drift import drift
from erde_cli.core.calibration.rule import rule_of
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.splits import Split
from erde_cli.core.data.store import ImageStore
from erde_cli.core.data.user_folders import open_labelled_folder
from erde_cli.core.device import Context, Precision
from erde_cli.core.errors import BundleError, ErdeError, InputError
from erde_cli.core.inference.answers import answer_all, ready, route_all
from erde_cli.core.inference.by_class import by_class
from erde_cli.core.inference.exit_rule import ExitRule
from erde_cli.core.inference.observations import Observations, adaptive_of
from erde_cli.core.thresholds.scores import ENTROPY, Score
from erde_cli.core.thresholds.written import Thresholds
from erde_cli.core.workflows.evaluation import Evaluation, SweepRow, point_of
from erde_cli.core.workflows.evaluation_files import (
    EvaluationFiles,
    write_answers,
    write_evaluation,
)
from erde_cli.core.workflows.images import dataset_of, load_split
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.trained_images import check_not_trained_on

# Shares of the largest score (ln K for entropy). They are fixed: the same for every bundle.
_GRID = (0, 0.001, 0.003, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45,
         0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, math.inf)  # fmt: skip


@dataclass(frozen=True)
class EvaluateRequest:
    """Settings of an evaluation.

    split: of the bundle's data set. data: labelled folder to use instead. out: folder for the
    files; None: `BUNDLE/evaluation/SPLIT`, or `SPLIT-threshold` there if thresholds are given, so
    that the evaluation at the calibrated ones is kept. teacher: bundle to mark in the picture;
    None: the teacher of the same run. precision: None: that of the thresholds, or "float32"
    without thresholds. thresholds: θ for all early exits, or one for each; None: the calibrated
    ones.
    """

    split: Split = "test"
    data: Path | None = None
    out: Path | None = None
    teacher: Path | None = None
    precision: Precision | None = None
    thresholds: Thresholds | None = None


def evaluate_bundle(
    path: Path, options: Options, request: EvaluateRequest = EvaluateRequest()
) -> EvaluationFiles:
    """Evaluate a bundle and write `evaluation.json`, tables as CSV and pictures.

    Raises:
        BundleError: a bundle is unusable, or was calibrated in another precision.
        DataError: images are missing.
        InputError: both a folder and a split are given, or the number of thresholds is wrong.
    """
    split, data = request.split, request.data
    if data is not None and split != "test":
        raise InputError(
            "--data and --split cannot be combined: a folder has no splits.",
            got=f"--data {data} and --split {split}",
            hint="leave --split out",
            expected="--data, or --split",
        )
    bundle = load_bundle(path)
    rule = _rule(bundle, request.thresholds)
    context = options.inference_context(_precision(bundle, request.precision))
    options.observer.phase(f"Evaluating on the {split} split" if data is None else "Evaluating")
    dataset = _dataset(bundle, data, options)
    store = load_split(dataset, split, options)
    shown = split if data is None else str(data)
    evaluation = evaluate_store(bundle, store, shown, context, given=rule)
    warn_of_drift(evaluation, options)
    of_teacher = _teacher_evaluation(bundle, request.teacher, (dataset, split), context, options)
    point = None
    if of_teacher is not None:
        point, evaluation = point_of(of_teacher), evaluation.compared_with(of_teacher)
    name = (split if data is None else "data") + ("" if rule is None else "-threshold")
    folder = request.out or bundle.path / "evaluation" / name
    if data is None:
        write_answers(evaluation, folder)
    return write_evaluation(evaluation, point, folder, options.observer)


def evaluate_store(
    bundle: Bundle,
    store: ImageStore,
    split: str,
    context: Context,
    *,
    adaptive: bool = True,
    given: ExitRule | None = None,
) -> Evaluation:
    """Evaluate a bundle on decoded images; `adaptive=False` ignores its thresholds.

    Given thresholds (`given`) replace those of the bundle.

    Adaptive figures come from real routing: an image that leaves is not computed further.
    """
    model = ready(bundle.model, context)
    document = bundle.thresholds() if adaptive and given is None else None
    count = bundle.model.exit_count
    rule = given if document is None else rule_of(document, None, count)
    temperatures, score = (rule.temperatures, rule.score) if rule else (None, ENTROPY)
    answers = answer_all(
        model, store, bundle.normalisation, context, temperatures, score=score
    ).require_finite()
    costs = np.array(bundle.profile.cumulative_macs, dtype=np.float64)
    exits = np.full(len(store), count - 1)
    predictions, moved = answers.predictions[:, -1], None
    if rule is not None:
        thetas = rule.thresholds
        routed = route_all(model, store, bundle.normalisation, thetas, context, temperatures, score)
        exits, predictions = routed.exits, routed.predictions
    if document is not None:
        moved = drift(document.half_b_exits, np.bincount(exits, minlength=count).tolist())
    labels = store.labels.numpy()
    right = predictions == labels
    return Evaluation(
        bundle,
        split,
        answers,
        bundle.profile,
        thresholds=list(rule.thresholds) if rule else None,
        certified=document is not None and document.certified_on(context.device.type),
        adaptive=adaptive_of(exits, right, costs),
        agreement=float((predictions == answers.predictions[:, -1]).mean()),
        right=right,
        by_class=by_class(bundle.class_names, labels, predictions, exits, costs),
        sweep=_sweep(Observations(answers.scores, answers.correct, costs), bundle, score),
        drift=moved,
        score=score,
        labels=labels,
        precision=context.precision,
    )


def _sweep(observations: Observations, bundle: Bundle, score: Score) -> list[SweepRow]:
    early, top = bundle.model.exit_count - 1, score.largest(bundle.model.classes)
    grid = [0.0 if share == 0 else share * top for share in _GRID]
    return [SweepRow(theta, observations.under([theta] * early)) for theta in grid]


def warn_of_drift(evaluation: Evaluation, options: Options) -> None:
    """Warn if the exit rates differ from those on the calibration images."""
    moved = evaluation.drift
    if moved is not None and moved.drifted:
        options.observer.warning(
            f"These images differ from the calibration images: {moved.in_words()} (p = "
            f"{moved.p_value:.1g}, total variation {moved.total_variation:.3f}). Thresholds and "
            "guarantees may not hold for them. Calibrate on similar images with "
            f"erde calibrate {evaluation.bundle.path} --data FOLDER"
        )


def _rule(bundle: Bundle, thresholds: Thresholds | None) -> ExitRule | None:
    """The exit rule of given thresholds, at the bundle's temperatures; None if none are given."""
    if thresholds is None:
        return None
    return rule_of(bundle.thresholds(), thresholds, bundle.model.exit_count)


def _precision(bundle: Bundle, given: Precision | None) -> Precision:
    thresholds = bundle.thresholds()
    recorded = thresholds.precision if thresholds else None
    if recorded and given and recorded != given:
        raise BundleError(
            f"The thresholds of {bundle.path} were chosen in another precision.",
            got=f"--precision {given}",
            expected=recorded,
            hint=f"choose them again with: erde calibrate {bundle.path} --precision {given} "
            "--max-drop 1",
        )
    return recorded or given or "float32"


def _dataset(bundle: Bundle, data: Path | None, options: Options) -> Dataset:
    if data is None:
        return dataset_of(bundle, options)
    names, observer = bundle.class_names, options.observer
    dataset = open_labelled_folder(data, names, bundle.reading, observer=observer)
    check_not_trained_on(bundle, dataset, options, guarantee=False)
    return dataset


def _teacher_evaluation(
    bundle: Bundle,
    given: Path | None,
    images: tuple[Dataset, Split],
    context: Context,
    options: Options,
) -> Evaluation | None:
    """Evaluate the teacher on the same images, at its size; None if there is no usable teacher."""
    path = given or bundle.path.resolve().parent / "teacher"
    if given is None and (bundle.document.role == "teacher" or not path.is_dir()):
        return None
    try:
        teacher = load_bundle(path)
        if teacher.class_names != bundle.class_names:
            raise BundleError(
                f"The classes of the teacher {path} differ from the bundle's.",
                expected="a teacher trained on the same images",
                hint="name another with --teacher",
            )
    except ErdeError as error:
        if given is not None:
            raise
        options.observer.note(f"The picture does not show the teacher: {error.message}")
        return None
    dataset, split = images
    store = load_split(dataset.at(teacher.image_size), split, options)
    return evaluate_store(teacher, store, "", context, adaptive=False)
