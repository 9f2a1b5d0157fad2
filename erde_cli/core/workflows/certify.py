"""The part of `erde calibrate` that promises: `--max-risk`."""

from __future__ import annotations

import numpy as np

from erde_cli.core.observations import FloatArray, Observations
from erde_cli.core.risk import Certified, certify
from erde_cli.core.risk_chain import build_chain
from erde_cli.core.targets import Risk, Target
from erde_cli.core.thresholds import write_threshold
from erde_cli.core.thresholds_file import figures_to_json, target_to_json
from erde_cli.core.workflows.calibration_images import Seen
from erde_cli.core.workflows.options import Json


def certified_content(seen: Seen, target: Target) -> Json:
    """What a promise, or the lack of one, puts into `thresholds.json`.

    Candidates come from half A; half B tests them, and gives all figures.
    """
    risk = target.risk or "disagreement"
    confidence = target.confidence or 0.9
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
    return {
        "risk": target.risk,
        "epsilon": target.value,
        "confidence": target.confidence,
        "images": found.images,
        "observed": found.observed[found.index],
        "tested": len(found.p_values),
        "rejected": found.index,
        "least_images": found.least_images,
        "images_wanted": found.images_wanted,
        "statement": _promise(found, target) if found.index else _nothing(found, target),
    }


def _promise(found: Certified, target: Target) -> str:
    risk = (
        "the share of images answered otherwise than by the network's own last exit"
        if target.risk == "disagreement"
        else "the accuracy lost against the network's own last exit"
    )
    return (
        f"Promised: for this network, the half of the images that chose the candidates, and this "
        f"precision, over the random draw of the {found.images:,} images that tested them from the "
        f"population met later, with probability {target.confidence:g} or more {risk}, averaged "
        f"over all images of that population, is at most {100 * target.value:g} % (observed: "
        f"{100 * found.observed[found.index]:.2f} %). Not per class, per exit or per image; not "
        "where later images come from elsewhere; not where images are near-duplicates or frames "
        "of one video; a finite test set may exceed it by chance. Another precision, temperature "
        "or quantisation has other scores, and must be calibrated again."
    )


def _nothing(found: Certified, target: Target) -> str:
    """Why nothing is promised, and what would do."""
    text = (
        f"Nothing can be promised at {100 * target.value:g} % with confidence "
        f"{target.confidence:g} from {found.images:,} images: every image goes to the last exit."
    )
    if found.least_images is not None and found.images < found.least_images:
        text += f" At the very least {found.least_images:,} images are needed in the testing half."
    if found.images_wanted is not None:
        return text + f" About {found.images_wanted:,} would do at the risk observed."
    return text + (
        " Even the most cautious candidate is too often different on these images: allow more, "
        "or train a network whose early exits are better."
    )


def _bounds(found: Certified, index: int) -> Json:
    gaps = found.bounds.get("accuracy-gap")
    return {
        "disagreement": found.bounds["disagreement"][index],
        "accuracy_gap": None if gaps is None else gaps[index],
    }
