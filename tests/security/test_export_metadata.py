"""Metadata of an export that ask for giant images: refused before anything is made of them."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import onnx
import pytest

from ..conftest import Cli

HUGE = 2**31


def with_metadata(source: Path, target: Path, **changed: dict[str, Any]) -> Path:
    """A copy of an export with changed keys in some objects of its metadata."""
    model = onnx.load(source)
    texts = {one.key: one.value for one in model.metadata_props}
    for name, values in changed.items():
        texts[f"erde.{name}"] = json.dumps({**json.loads(texts[f"erde.{name}"]), **values})
    onnx.helper.set_model_props(model, texts)
    onnx.save(model, target)
    return target


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"input": {"size": HUGE}}, "differs from image_size"),
        ({"input": {"resize": "crop", "short_side": HUGE}}, "differs from image_size"),
        ({"input": {"resized_by": "graph", "only_runtime": "onnxruntime", "short_side": HUGE}},
         "differs from image_size"),
        ({"pixels": {"resize": "crop", "crop_share": 1e-9}}, "crop_share"),
        ({"test": {"n": HUGE}}, "test.n"),
        ({"test": {"exits": [{"exit": HUGE, "label": 0, "probability": 0, "score": 0}]}}, "test"),
        ({"test": {"exits": [{"exit": 0, "label": HUGE, "probability": 0, "score": 0}]}}, "test"),
    ],
    ids=str,
)  # fmt: skip
def test_sizes_that_erde_does_not_write_are_refused(
    changed: dict[str, dict[str, Any]], message: str, made: Path, tmp_path: Path, cli: Cli
) -> None:
    file = with_metadata(made / "exported/m.onnx", tmp_path / "m.onnx", **changed)
    tracemalloc.start()
    code, _, err = cli("export", file, "--check")
    largest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (code, "Traceback" in err) == (2, False), err
    assert message in err
    assert largest < 60_000_000
