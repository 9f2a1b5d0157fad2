"""The table of formats: each row leads to code that writes and runs it."""

from itertools import combinations
from pathlib import Path
from pkgutil import resolve_name
from typing import get_args

import pytest

from erde_cli.commands.export import export
from erde_cli.core.export import formats
from erde_cli.core.export.formats import (
    COMBINATIONS,
    FORMATS,
    OPTIONS,
    Combination,
    Format,
    FormatName,
    alternatives_to,
    combinations_table,
    format_of,
    named,
)


def test_names_are_those_that_the_command_line_takes() -> None:
    assert tuple(FORMATS) == get_args(FormatName)
    assert {name: row.name for name, row in FORMATS.items()} == {name: name for name in FORMATS}
    assert "FormatName" in str(export.__annotations__["format_"])


@pytest.mark.parametrize("row", FORMATS.values(), ids=str)
def test_every_row_leads_to_code_and_says_how_it_is_told(row: Format) -> None:
    for name in (row.writer, row.opener):
        assert callable(resolve_name(f"erde_cli.core.export.{name}"))
    assert bool(row.suffix) != bool(row.marker)
    assert (row.runtime is None) == bool(row.why_not)


def test_a_path_is_told_by_its_suffix_or_by_what_the_folder_holds(tmp_path: Path) -> None:
    found = {name: format_of(Path(name)) for name in ("a.onnx", "a.pt2", "a", "runs/student")}
    assert [row and row.name for row in found.values()] == ["onnx", "torch-export", None, None]
    (tmp_path / "manifest.json").touch()
    row = format_of(tmp_path)
    assert row is not None
    assert row.name == "onnx-staged"
    assert named(lambda row: row.runtime) == "onnx or onnx-staged"
    assert named(lambda row: row.int8) == "onnx or onnx-staged"


def test_the_page_lists_the_combinations_and_all_others_lead_to_them() -> None:
    page = (Path(__file__).parents[3] / "docs/export.md").read_text()
    assert combinations_table() in page
    assert set(OPTIONS) <= {option for one in COMBINATIONS for option in one.options}
    for form in FORMATS:
        for count in range(len(OPTIONS) + 1):
            for options in map(frozenset, combinations(OPTIONS, count)):
                others = alternatives_to(form, options)
                assert bool(others) != (Combination(form, options) in COMBINATIONS)
                assert set(others) <= set(COMBINATIONS)
                assert all(one.options & options for one in others)


def test_alternatives_keep_as_many_options_as_they_can() -> None:
    def named_others(form: FormatName, *options: str) -> list[str]:
        return [str(one) for one in alternatives_to(form, frozenset(options))]

    assert named_others("torch-export", "--exit", "--portable") == [
        "--format onnx --exit N --portable"
    ]
    assert named_others("onnx", "--portable") == [
        "--format onnx --exit N --portable", "--format onnx-staged --portable"
    ]  # fmt: skip
    assert named_others("torch-export", "--int8") == [
        "--format onnx --int8", "--format onnx-staged --int8"
    ]  # fmt: skip


def test_what_is_written_and_what_opens_it_come_from_the_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def found(name: str) -> object:
        asked.append(name)
        return lambda *given: given

    monkeypatch.setattr(formats, "resolve_name", found)
    row = FORMATS["torch-export"]
    row.write("network", Path("x.pt2"))  # type: ignore[arg-type]
    assert row.open(Path("x.pt2"), 2) == (Path("x.pt2"), 2)
    package = "erde_cli.core.export.torch_export"
    assert asked == [f"{package}:write_torch_export", f"{package}:TorchExported"]
