"""What holds of any `thresholds.json`: it comes back as it was, or is refused."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erde_cli.core.calibration.thresholds_file import (
    THRESHOLDS,
    ThresholdsDocument,
    read_thresholds,
    thresholds_document,
    write_thresholds,
)
from erde_cli.core.errors import BundleError
from erde_cli.core.thresholds.scores import ENTROPY
from erde_cli.core.thresholds.written import write_threshold

from ...edited import sealed

DIGEST = "0" * 64
theta = st.sampled_from([0.0, 5e-324, math.inf]) | st.floats(0, allow_nan=False)
share = st.floats(0, 1)
reproducible = settings(max_examples=150, deadline=None, database=None, derandomize=True)


def content(
    thetas: list[float], certified: bool, accuracy: float, balanced: float | None = None
) -> dict[str, Any]:
    """A calibration of as many early exits, by balanced accuracy where that is given."""
    exits = len(thetas) + 1
    figures = {
        "accuracy": accuracy, "full_accuracy": 1.0, "agreement": None, "expected_macs": 12.5,
        "expected_latency": None, "exit_rates": [1 / exits] * exits,
        "balanced_accuracy": balanced, "full_balanced_accuracy": balanced,
    }  # fmt: skip
    written = [write_threshold(value) for value in thetas]
    point = {
        **figures, "thresholds": written, "held_out": figures, "half_b_exits": [1] * exits,
        "certified": False, "bounds": None,
    }  # fmt: skip
    return {
        **figures, "criterion": ENTROPY.name, "unit": ENTROPY.unit,
        "thresholds": written, "temperatures": None, "met": True,
        "target": {
            "kind": "max_drop", "value": 1, "unit": "points", "how": "searched",
            "metric": "accuracy" if balanced is None else "balanced_accuracy",
        }, "met_where_chosen": True,
        "exit_balanced_accuracy": None if balanced is None else [balanced] * exits,
        "certified": certified, "source": "calibration split", "split_fingerprint": DIGEST,
        "images": 10, "precision": "float32", "device": "cpu", "weights_digest": DIGEST,
        "held_out": figures, "exit_accuracy": [accuracy] * exits, "half_b_exits": [1] * exits,
        "latency": None, "frontier": [point], "certificate": None,
    }  # fmt: skip


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for one `thresholds.json` after the other."""
    return tmp_path_factory.mktemp("bundle")


@reproducible
@given(st.lists(theta, max_size=4), st.booleans(), share, st.none() | share)
def test_thresholds_come_back_bit_by_bit(
    bundle: Path, thetas: list[float], certified: bool, accuracy: float, balanced: float | None
) -> None:
    document = thresholds_document(content(thetas, certified, accuracy, balanced))
    write_thresholds(bundle, document)
    found = read_thresholds(bundle, DIGEST, len(thetas) + 1)
    assert found == document
    assert found.values == thetas


KEYS = sorted(ThresholdsDocument.model_fields)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=4,
)


@reproducible
@given(st.sampled_from([*KEYS, "new"]), anything, st.booleans())
def test_a_changed_value_is_read_or_refused(
    bundle: Path, key: str, value: Any, is_sealed: bool
) -> None:
    document = thresholds_document(content([0.5, 1.0], True, 0.9)).model_dump()
    changed = {**copy.deepcopy(document), key: value}
    (bundle / THRESHOLDS).write_text(json.dumps(sealed(changed) if is_sealed else changed))
    try:
        found = read_thresholds(bundle, DIGEST, 3)
    except BundleError as error:
        refusal = error
    else:  # by hand, nothing has changed
        assert is_sealed or found == ThresholdsDocument.model_validate(document)
        assert all(value >= 0 for value in found.values)
        return
    assert THRESHOLDS in refusal.message
    assert refusal.hint


@reproducible
@given(anything | st.text(), st.booleans())
def test_any_file_is_read_or_refused(bundle: Path, value: Any, as_json: bool) -> None:
    text = json.dumps(value) if as_json else str(value)
    (bundle / THRESHOLDS).write_text(text, encoding="utf-8")
    with pytest.raises(BundleError, match=THRESHOLDS):
        read_thresholds(bundle, DIGEST, 3)
