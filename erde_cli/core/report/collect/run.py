"""The report of a run or a bundle, from what is known of its networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from erde_cli.core.calibration.document import FiguresDocument, ThresholdsDocument
from erde_cli.core.comparison.paired import paired_drop_interval
from erde_cli.core.device import Context
from erde_cli.core.figures import counted, macs, percent, signed, signed_interval
from erde_cli.core.inference.observations import Figures
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.report.collect.classes import classes, exits_table
from erde_cli.core.report.collect.explorer import explorer, explorer_notes
from erde_cli.core.report.collect.images import exit_images
from erde_cli.core.report.collect.network import Network
from erde_cli.core.report.collect.reproduce import recipe_text, reproduce
from erde_cli.core.report.collect.trade_off import trade_off, written
from erde_cli.core.report.collect.training import training
from erde_cli.core.report.collect.typed import Typed
from erde_cli.core.report.document import Fact, ReportDocument, Table, TrainingSection


@dataclass(frozen=True)
class Source:
    """What a report is made from.

    kind: run or bundle. typed: the network's bundle as commands name it. recipe: None if it cannot
    be read. logs: folder of log files by role. data: images by class and split. digests: of files
    besides the bundles. missing: sentences about what could not be read.
    """

    kind: str
    name: str
    typed: Typed
    recipe: Recipe | None
    logs: Mapping[str, Path] = field(default_factory=dict)
    data: Table | None = None
    digests: Sequence[Fact] = ()
    missing: Sequence[str] = ()


def unfinished(source: Source) -> ReportDocument:
    """The report of a run without any network: curves of the training so far."""
    curves, notes = _trainings(source.logs)
    headline = (Fact("state", "no network has been trained to the end"),)
    absent = "Networks: the run is not finished (erde run resumes it)."
    return ReportDocument(
        source.kind, source.name, headline, training=curves,
        reproduce=reproduce({}, source.recipe, "erde run {recipe}"),
        recipe="" if source.recipe is None else recipe_text(source.recipe),
        missing=(*source.missing, *notes, absent),
    )  # fmt: skip


def collect(
    source: Source, network: Network, teacher: Network | None, context: Context | None
) -> ReportDocument:
    """The report of a network, next to its teacher.

    Args:
        source: what is known besides the networks.
        network: the student of a run, its teacher if there is no student, or a bundle.
        teacher: of the same run; None: unknown, or the network itself.
        context: device and precision for the probabilities of images; None: no images.
    """
    curves, notes = _trainings(source.logs)
    recipe, document = source.recipe, network.thresholds
    networks = [network] if teacher is None else [teacher, network]
    documents = {str(one.bundle.document.role): one.bundle.document for one in networks}
    digests = list(source.digests)
    if document is not None:
        digests.append(Fact("digest of the thresholds", document.seal))
    certificate = None if document is None else document.certificate
    return ReportDocument(
        kind=source.kind,
        title=source.name,
        headline=tuple(_headline(network, teacher)),
        guarantee=() if certificate is None else (certificate.statement,),
        trade_off=trade_off(network, teacher),
        explorer=explorer(network),
        images=() if context is None else exit_images(network, context),
        classes=classes(network),
        training=curves,
        tables=(exits_table(network), *([] if source.data is None else [source.data])),
        reproduce=(*reproduce(documents, recipe, "erde run {recipe}"), *digests),
        recipe="" if recipe is None else recipe_text(recipe),
        missing=(*source.missing, *_missing(network), *explorer_notes(network), *notes),
        about=tuple(_about(network, recipe)),
        preprocessing=tuple(_preprocessing(network)),
        usage=_usage(source.typed.word),
        where=source.typed.where,
        license=(recipe.license if recipe is not None else None) or "",
    )


def _headline(network: Network, teacher: Network | None) -> list[Fact]:
    """The figures one looks for first: accuracy, cost, and what early exit saves."""
    profile, document, test = network.bundle.profile, network.thresholds, network.test
    facts = []
    if test is not None:
        adaptive = _right(network)
        split = f"on {len(test):,} test images"
        facts.append(Fact("accuracy", f"{percent(adaptive.mean())} % {split}"))
        facts += _balanced(network)
        if document is not None:
            last = percent(test.correct[:, -1].mean())
            facts.append(Fact("accuracy of the last exit", f"{last} %"))
    elif document is not None and document.held_out.accuracy is not None:
        share = percent(document.held_out.accuracy)
        facts.append(Fact("accuracy", f"{share} % on calibration images, held out"))
        facts += _balanced(network)
    expected = _expected_macs(network)
    if expected is not None:
        share = percent(expected / profile.static_macs, 0)
        facts.append(Fact("expected MACs", f"{macs(expected)} ({share} % of its static network)"))
    facts.append(Fact("MACs of the static network", macs(profile.static_macs)))
    if teacher is not None:
        facts += _against(network, teacher, expected)
    if document is not None:
        facts.append(Fact(f"thresholds, {document.unit}", written(document.thresholds)))
        facts.append(Fact("chosen for", _target(document)))
        facts.append(Fact("certified", "yes" if document.certified else "no"))
    return facts


def _target(document: ThresholdsDocument) -> str:
    """What the thresholds were chosen for, as `erde calibrate` says it."""
    target, metric = document.target.read(), document.metric.replace("_", " ")
    if target.fixed_thresholds(len(document.thresholds)) is not None:
        return "no target: they were given"
    words = target.in_words
    return words if document.metric == "accuracy" or metric in words else f"{words}, by {metric}"


def _balanced(network: Network) -> list[Fact]:
    """Balanced accuracy next to the accuracy, if the thresholds were chosen by it."""
    document, test = network.thresholds, network.test
    if document is None or document.metric != "balanced_accuracy":
        return []
    found: FiguresDocument | Figures = document.held_out
    if test is not None:
        observed = replace(network.observed(test), classes=test.labels)
        found = observed.figures(observed.exits(document.values))
    return [
        Fact("balanced accuracy", f"{percent(found.by_metric or 0)} %"),
        Fact("balanced accuracy of the last exit", f"{percent(found.full_by_metric or 0)} %"),
    ]


def _against(network: Network, teacher: Network, expected: float | None) -> list[Fact]:
    """The teacher without early exit, and the difference from it."""
    static = teacher.bundle.profile.static_macs
    facts = [Fact("MACs of the teacher", macs(static))]
    if expected is not None:
        facts.append(Fact("times fewer MACs than the teacher", f"{static / expected:.1f}"))
    if teacher.test is None or network.test is None or len(teacher.test) != len(network.test):
        return facts
    of_teacher, ours = teacher.test.correct[:, -1], _right(network)
    low, high = paired_drop_interval(of_teacher, ours)
    points = signed(100 * (float(ours.mean()) - float(of_teacher.mean())))
    interval = signed_interval(-high, -low)
    return [
        Fact("accuracy of the teacher", f"{percent(of_teacher.mean())} %"),
        Fact("against the teacher", f"{points} points (95 % interval {interval})"),
        *facts,
    ]


def _right(network: Network) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether each test image is answered right under the thresholds, bool [images]."""
    test = network.test
    assert test is not None  # noqa: S101
    exits = network.left(test)
    last = np.full(len(test), network.exits - 1)
    right = test.correct[np.arange(len(test)), last if exits is None else exits]
    return np.asarray(right, dtype=bool)


def _expected_macs(network: Network) -> float | None:
    """Expected MACs on test images, or on calibration images; None without thresholds."""
    if network.thresholds is None:
        return None
    if network.test is None:
        return network.thresholds.held_out.expected_macs
    return network.observed(network.test).under(network.thresholds.values).expected_macs


def _trainings(logs: Mapping[str, Path]) -> tuple[tuple[TrainingSection, ...], list[str]]:
    found, notes = [], []
    for role, folder in logs.items():
        section, missing = training(folder, role)
        notes += missing
        if section is not None:
            found.append(section)
    return tuple(found), notes


def _missing(network: Network) -> list[str]:
    """What the bundle itself lacks."""
    if network.thresholds is None and network.exits > 1:
        hint = network.typed.hint("calibrate {}")
        return [f"Thresholds: the bundle is not calibrated ({hint}), so none is shown."]
    return []


def _about(network: Network, recipe: Recipe | None) -> list[Fact]:
    """What the network is."""
    document, profile = network.bundle.document, network.bundle.profile
    architecture = document.architecture
    size = "" if architecture.depth is None else f", depth {architecture.depth}"
    size += "" if architecture.width is None else f", width {architecture.width}"
    facts = [
        Fact("network", f"{architecture.backbone}{size}, {counted(network.exits, 'exit')}"),
        Fact("role", document.role),
        Fact("parameters", f"{profile.parameters:,}"),
        Fact("classes", f"{architecture.classes:,}"),
    ]
    if recipe is not None:
        facts.append(Fact("data set", recipe.data.dataset))
        if document.role == "student":
            facts.append(Fact("trained by", recipe.distillation.method))
    first = document.first_weights
    if first is not None:
        stated = first.license or "not stated"
        facts.append(Fact("first weights", f"{first.source} (licence: {stated})"))
    return facts


def _preprocessing(network: Network) -> list[Fact]:
    """How an image becomes the network's input."""
    bundle, rules = network.bundle, network.bundle.document.rules
    side, share = bundle.image_size, rules.crop_share
    how = "all of it" if share is None else f"the centre square of {share:g} of its short side"
    numbers = bundle.normalisation
    return [
        Fact(
            "size", f"{side} x {side} pixels, RGB, {how}, {rules.interpolation} with antialiasing"
        ),
        Fact("transparent pixels", rules.transparent),
        Fact("mean of pixels from 0 to 1", ", ".join(f"{one:g}" for one in numbers.mean)),
        Fact("standard deviation", ", ".join(f"{one:g}" for one in numbers.std)),
    ]


def _usage(bundle: str) -> tuple[str, ...]:
    return (
        f"erde predict {bundle} IMAGES/",
        f"erde evaluate {bundle} --data LABELLED/",
        f"erde export {bundle} --format onnx --out model.onnx",
    )
