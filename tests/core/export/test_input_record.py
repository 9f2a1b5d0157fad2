"""`erde.input`: complete, derived from the other metadata, and never against them."""

from typing import Any

import pytest
from pydantic import ValidationError

from erde_cli.core.export.input_record import InputRecord
from erde_cli.core.export.record import ExportRecord
from erde_cli.core.images.pixels import PixelRules

from .test_export import record_of

RULES = PixelRules("black", 12, "refuse", 0.875, "bicubic")


def second(rules: PixelRules = RULES, **changed: Any) -> ExportRecord:
    """A record of format 2."""
    return record_of([0.5], pixels=rules.to_json(), **changed).with_input()


def test_it_says_what_predict_does() -> None:
    described = second().described_input.model_dump()
    assert described == {
        "name": "image", "layout": "NHWC", "dtype": "uint8", "channels": "RGB",
        "scale": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1],
        "size": 16, "resize": "crop", "short_side": 18, "interpolation": "bicubic",
        "antialias": True, "resized_by": "client", "only_runtime": None,
        "orientation": "exif_or_xmp", "frame": "only", "gray_bits": 12, "colour_bits": "upper_8",
        "transparent": "black", "gray": "repeat", "cmyk": "multiply", "colour_profile": "ignored",
    }  # fmt: skip


def test_without_preprocessing_it_has_the_normalisation() -> None:
    record = second(PixelRules(), preprocessing=False)
    described = record.described_input
    assert (described.layout, described.dtype, described.short_side) == ("NCHW", "float32", None)
    assert described.scale == pytest.approx(1 / 255, abs=0)
    assert described.mean == record.normalisation.mean
    assert described.std == record.normalisation.std
    assert (described.frame, described.gray_bits) == ("first", 16)


def test_it_survives_the_metadata() -> None:
    record = second()
    assert ExportRecord.from_metadata(record.to_metadata()) == record


def test_format_1_is_still_read() -> None:
    old = record_of([0.5], pixels=RULES.to_json())
    assert (old.format, old.input, old.test) == (1, None, None)
    texts = old.to_metadata()
    for name in ("input", "test"):  # as an older version wrote it
        del texts[f"erde.{name}"]
    again = ExportRecord.from_metadata(texts)
    assert again == old
    assert again.described_input == second().described_input


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"size": 17}, "differs"),
        ({"size": 10**9}, "differs"),
        ({"short_side": 10**9}, "differs"),
        ({"transparent": "white"}, "differs"),
        ({"mean": [0.1, 0, 0]}, "differs"),
        ({"layout": "NCHW"}, "differs"),
        ({"antialias": False}, "antialias"),
        ({"only_runtime": "onnxruntime"}, "differs"),
        ({"channels": "BGR"}, "channels"),
        ({"more": 1}, "more"),
    ],
    ids=str,
)
def test_one_that_contradicts_the_other_metadata_is_refused(
    changed: dict[str, Any], why: str
) -> None:
    content = second().model_dump()
    content["input"] = {**content["input"], **changed}
    with pytest.raises(ValidationError, match=why):
        ExportRecord.model_validate(content)


def test_each_format_has_its_keys() -> None:
    described = second().described_input
    with pytest.raises(ValidationError, match="required in format 2"):
        record_of([0.5], format=2)
    with pytest.raises(ValidationError, match="unknown in format 1"):
        record_of([0.5], pixels=RULES.to_json(), input=described)
    with pytest.raises(ValidationError, match="format"):
        second().model_validate({**second().model_dump(), "format": 3})


def test_a_portable_network_takes_planes_from_0_to_1() -> None:
    described = record_of([0.5], portable=True).with_input().described_input
    assert (described.layout, described.dtype) == ("NCHW", "float32")
    assert (described.scale, described.mean, described.std) == (1 / 255, [0] * 3, [1] * 3)


def test_a_graph_that_resizes_has_preprocessing() -> None:
    for changed in ({"portable": True}, {"static_exit": 0}):
        graph = record_of([0.5], **changed).with_input("graph")
        with pytest.raises(ValidationError, match="returns no logits"):
            ExportRecord.model_validate(graph.model_dump())
    record = record_of([0.5], preprocessing=False)
    with pytest.raises(ValidationError, match="has preprocessing"):
        record_of([0.5], format=2, preprocessing=False, input=record.derived_input("graph"))


def test_every_key_is_on_the_page() -> None:
    from pathlib import Path

    page = (Path(__file__).parents[3] / "docs/preprocessing.md").read_text()
    for name in InputRecord.model_fields:
        assert f"`{name}`" in page, name
