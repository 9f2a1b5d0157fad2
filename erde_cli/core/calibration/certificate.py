"""The part of `erde calibrate` that promises: `--max-risk`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from erde_cli.core.arrays import FloatArray
from erde_cli.core.calibration.chain import build_chain
from erde_cli.core.calibration.guarantee import Certified, certify
from erde_cli.core.calibration.halves import Seen
from erde_cli.core.calibration.statement import nothing, promise
from erde_cli.core.calibration.tests_file import (
    add_test,
    earlier_tests,
    keep_tests,
    test_of,
)
from erde_cli.core.calibration.thresholds_file import (
    ThresholdsDocument,
    figures_to_json,
    target_to_json,
    thresholds_document,
)
from erde_cli.core.events import Observer
from erde_cli.core.inference.observations import Observations
from erde_cli.core.storage.json_files import Json
from erde_cli.core.targets import CONFIDENCE, Risk, Target
from erde_cli.core.thresholds import write_threshold


def certified_content(seen: Seen, target: Target) -> Json:
    """What a promise, or the lack of one, puts into `thresholds.json`.

    Candidates come from half A; half B tests them, and gives all figures.
    """
    risk = target.risk or "disagreement"
    confidence = target.confidence or CONFIDENCE
    half_a, half_b = seen.observations.only(seen.half_a), seen.observations.only(seen.half_b)
    chain = build_chain(half_a.scores, losses(half_a, risk), half_a.cumulative_macs)
    risks: list[Risk] = ["disagreement", "accuracy-gap"]
    stored = risks if half_b.labelled else risks[:1]
    exits = [half_b.exits(thresholds) for thresholds in chain]
    every = np.arange(len(half_b))
    found = certify(
        {
            name: np.stack([losses(half_b, name)[every, taken] for taken in exits])
            for name in stored
        },
        risk,
        target.value,
        confidence,
    )
    points = [half_b.figures(taken) for taken in exits]
    chosen = {
        **figures_to_json(points[found.index]),
        "thresholds": [write_threshold(value) for value in chain[found.index]],
    }
    return {
        **chosen,
        "target": target_to_json(target),
        "images": len(seen.observations),
        "exit_accuracy": None if half_b.exit_accuracy is None else list(half_b.exit_accuracy),
        "met": found.index > 0,
        "met_where_chosen": found.index > 0,
        "certified": found.index > 0,
        "held_out": figures_to_json(points[found.index]),
        "certificate": _certificate(found, target),
        "frontier": [
            {
                **figures_to_json(figures),
                "thresholds": [write_threshold(value) for value in thresholds],
                "held_out": None,
                "certified": index <= found.index,
                "bounds": _bounds(found, index),
            }
            for index, (thresholds, figures) in enumerate(zip(chain, points, strict=True))
        ],
    }


def losses(observations: Observations, risk: Risk) -> FloatArray:
    """What leaving at each exit adds to a risk, float64 [images, exits]; 0 at the last.

    disagreement: 1 where the exit answers otherwise than the last one. accuracy-gap: 1 where it is
    wrong and the last one right, -1 where it is right and the last one wrong.
    """
    if risk == "accuracy-gap":
        correct = observations.correct.astype(np.float64)
        return correct[:, -1:] - correct
    agrees = observations.correct if observations.agrees is None else observations.agrees
    return (~agrees).astype(np.float64)


def _certificate(found: Certified, target: Target) -> Json:
    confidence = target.confidence or CONFIDENCE
    observed = found.observed[found.index]
    if found.index:
        text = promise(
            target.risk or "disagreement", target.value, confidence, found.images, observed
        )
    else:
        text = nothing(
            target.value,
            confidence,
            found.images,
            tested=len(found.p_values),
            too_many=len(found.observed) > 1 and found.observed[1] >= target.value,
            least=found.least_images,
            wanted=found.images_wanted,
        )
    return {
        "risk": target.risk,
        "epsilon": target.value,
        "confidence": confidence,
        "images": found.images,
        "tested": len(found.p_values),
        "rejected": found.index,
        "least_images": found.least_images,
        "images_wanted": found.images_wanted,
        "earlier": [],
        "basis": "test" if found.index else None,
        "promised": target.value if found.index else None,
        "observed": observed,
        "statement": text,
    }


def _bounds(found: Certified, index: int) -> Json:
    gaps = found.bounds.get("accuracy-gap")
    return {
        "disagreement": found.bounds["disagreement"][index],
        "accuracy_gap": None if gaps is None else gaps[index],
    }


def recorded(
    document: ThresholdsDocument, bundle: Path, seen: Seen, observer: Observer
) -> ThresholdsDocument:
    """Record a test before its result is kept, and warn of choosing among several.

    Returns:
        The calibration with all that half B of the same images was tested for before.

    Raises:
        BundleError: the record cannot be read, and this is a test.
    """
    this = test_of(document)
    if this is None:
        keep_tests(bundle)
        return document
    earlier = earlier_tests(bundle, this, seen.tested)
    add_test(bundle, this, seen.tested)
    if not earlier:
        return document
    levels = list(dict.fromkeys(f"{one.risk} {100 * one.epsilon:g} %" for one in earlier))
    observer.warning(
        f"Half B of these images was tested for {', '.join(levels)} before. A promise made now "
        "holds only if this test was not chosen by the results of those; to choose a level "
        f"afterwards type: erde calibrate {bundle} --pick max-risk=EPS"
    )
    content = document.model_dump()
    content["certificate"]["earlier"] = [one.model_dump() for one in earlier]
    return thresholds_document(content)
