"""The part of a calibration that estimates: what a search puts into `thresholds.json`."""

from __future__ import annotations

import numpy as np

from erde_cli.core.calibration.estimate import Calibrated
from erde_cli.core.calibration.thresholds_file import figures_to_json, target_to_json
from erde_cli.core.inference.observations import IntArray, Observations
from erde_cli.core.thresholds import read_threshold, write_threshold
from erde_cli.core.workflows.options import Json


def estimated_content(found: Calibrated) -> Json:
    """What a search for an estimate puts into `thresholds.json`."""
    return {
        **figures_to_json(found.chosen),
        "thresholds": [write_threshold(value) for value in found.thresholds],
        "target": target_to_json(found.target),
        "images": found.images,
        "met": found.met,
        "met_where_chosen": found.met_where_chosen,
        "certified": False,
        "held_out": figures_to_json(found.held_out),
        "certificate": None,
        "frontier": [
            {
                **figures_to_json(point.figures),
                "thresholds": [write_threshold(value) for value in point.thresholds],
                "held_out": figures_to_json(point.held_out),
                "certified": False,
                "bounds": None,
            }
            for point in found.frontier
        ],
    }


def add_half_b(content: Json, observations: Observations, half_b: IntArray) -> None:
    """Note how many images of half B leave at each exit, at every point of a calibration.

    It is what `evaluate` compares later images with.
    """
    half = observations.only(half_b)
    for point in [content, *content["frontier"]]:
        exits = half.exits([read_threshold(value) for value in point["thresholds"]])
        counts = np.bincount(exits, minlength=len(half.cumulative_macs))
        point["half_b_exits"] = [int(count) for count in counts]
