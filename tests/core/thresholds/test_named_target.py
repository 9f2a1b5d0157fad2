"""The one target that is named, and what is said of none, two or an impossible one."""

import math
from typing import Any

import pytest

from erde_cli.core.errors import InputError
from erde_cli.core.thresholds.named_target import one_target
from erde_cli.core.thresholds.target import Target
from erde_cli.core.thresholds.targets import (
    TARGETS,
    MaxDrop,
    MaxLatency,
    MaxMacs,
    MaxRisk,
    MinAccuracy,
    Threshold,
)


def named(given: dict[str, Any]) -> Target:
    """A target of arguments, some of which are settings of a target."""
    settings = {name: given[name] for name in given if name not in TARGETS}
    return one_target({name: given[name] for name in given if name in TARGETS}, **settings)


@pytest.mark.parametrize(
    ("given", "target"),
    [
        ({"threshold": 0.3}, Threshold(0.3)),
        ({"threshold": "0.3,never"}, Threshold(0.3, per_exit=(0.3, 0.0))),
        ({"threshold": "always"}, Threshold(math.inf)),
        ({"threshold": "never"}, Threshold(0.0)),
        ({"threshold": 0}, Threshold(0.0)),
        ({"max_drop": 0}, MaxDrop(0)),
        ({"max_drop": 100}, MaxDrop(100)),
        ({"max_macs": 0.5, "max_drop": None}, MaxMacs(0.5)),
        ({"max_macs": 1}, MaxMacs(1)),
        ({"min_accuracy": 0.85}, MinAccuracy(0.85)),
        ({"max_latency": 2.5}, MaxLatency(2.5)),
        ({"max_risk": 0.05}, MaxRisk(0.05, risk="disagreement", confidence=0.9)),
        ({"max_drop": 1, "metric": "accuracy"}, MaxDrop(1)),
        (
            {"max_latency": 1, "metric": "balanced_accuracy"},
            MaxLatency(1, metric="balanced_accuracy"),
        ),
        ({"threshold": 1, "metric": "accuracy"}, Threshold(1.0)),
        (
            {"max_risk": 0.05, "risk": "accuracy-gap", "confidence": 0.95},
            MaxRisk(0.05, risk="accuracy-gap", confidence=0.95),
        ),
    ],
)
def test_one_target_is_made_of_the_one_that_is_given(
    given: dict[str, float], target: Target
) -> None:
    assert named(given) == target


@pytest.mark.parametrize(
    ("given", "got"),
    [
        ({}, "none"),
        ({"threshold": 0.3, "max_drop": 1}, "--threshold and --max-drop"),
        ({"min_accuracy": 85}, "85"),
        ({"min_accuracy": 0}, "0"),
        ({"max_latency": 0}, "0"),
        ({"max_latency": math.inf}, "inf"),
        ({"max_risk": 0}, "0"),
        ({"max_risk": 1}, "1"),
        ({"max_risk": 0.05, "confidence": 0.4}, "0.4"),
        ({"max_risk": 0.05, "confidence": 1}, "1"),
        ({"max_risk": 0.05, "risk": "loss"}, "loss"),
        ({"max_drop": 1, "confidence": 0.9}, "--confidence 0.9 without --max-risk"),
        ({"threshold": 1, "risk": "disagreement"}, "--risk disagreement without --max-risk"),
        ({"max_drop": 0, "max_macs": 0.5}, "--max-drop and --max-macs"),
        (
            {"threshold": 1, "metric": "balanced_accuracy"},
            "--threshold with --metric balanced_accuracy",
        ),
        (
            {"threshold": 0, "max_drop": 0, "max_macs": 1},
            "--threshold and --max-drop and --max-macs",
        ),
        ({"threshold": -0.1}, "-0.1"),
        ({"threshold": math.nan}, "nan"),
        ({"threshold": math.inf}, "inf"),
        ({"threshold": "half"}, "'half'"),
        ({"max_drop": -1}, "-1"),
        ({"max_drop": 100.5}, "100.5"),
        ({"max_drop": math.nan}, "nan"),
        ({"max_drop": math.inf}, "inf"),
        ({"max_macs": 0}, "0"),
        ({"max_macs": -0.5}, "-0.5"),
        ({"max_macs": 1.5}, "1.5"),
        ({"max_macs": math.nan}, "nan"),
        ({"max_macs": math.inf}, "inf"),
    ],
)
def test_none_two_or_impossible_targets_are_refused(given: dict[str, float], got: str) -> None:
    with pytest.raises(InputError) as caught:
        named(given)
    assert caught.value.got == got
    assert caught.value.expected


@pytest.mark.parametrize(
    ("target", "unit"),
    [
        (Threshold(0.3), "nats"),
        (MaxDrop(1), "points"),
        (MaxMacs(0.5), "share of full MACs"),
    ],
)
def test_a_target_knows_its_unit(target: Target, unit: str) -> None:
    assert target.unit == unit
