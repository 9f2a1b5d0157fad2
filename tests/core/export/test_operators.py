"""The operators of exported graphs are those of the lists, so a stray one is noticed."""

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from erde_cli.core.export.network import ExportNetwork, export_network
from erde_cli.core.export.onnx_graph import operators
from erde_cli.core.export.onnx_single import write_onnx_file
from erde_cli.core.export.onnx_staged import write_stages
from erde_cli.core.export.operators import (
    BRANCHES,
    DECISION,
    INT8,
    NETWORK,
    PREPROCESSING,
    RESIZING,
)
from erde_cli.core.models.architecture import Architecture
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.heads import gap_head

from ..models.library.small import head_input, make
from .test_export import record_of, trained_like

ROOT = Path(__file__).parents[3]
MOBILENET = {"Clip"}  # ReLU6


def operators_of(path: Path) -> set[str]:
    return set(operators(onnx.load(path).graph))


def network(name: str, preprocessing: bool) -> ExportNetwork:
    """A small network of two exits with temperatures, ready for export."""
    if name == "mobilenet":
        return mobilenet(preprocessing)
    head = "erde" if name == "wrn" else "gap"
    depth = {"wrn": 10, "resnet": 8}[name]
    model = trained_like(Architecture(name, depth, 4, (2,), head, classes=5, image_size=16))
    return export_network(model, record_of([0.5], [0.7, 1.5], preprocessing=preprocessing))


def mobilenet(preprocessing: bool) -> ExportNetwork:
    """The first blocks of MobileNetV2 with a head after each two."""
    case = make("mobilenet_v2")
    stages = [nn.Sequential(*case.chain.blocks[:2]), nn.Sequential(*case.chain.blocks[2:4])]
    heads: list[nn.Module] = []
    features = torch.zeros(1, 3, 32, 32)
    for stage in stages:
        features = stage.eval()(features)
        before, output = head_input(case.chain, features)
        heads.append(nn.Sequential(*before, gap_head(output, 5)))
    record = record_of([0.5], [0.7, 1.5], preprocessing=preprocessing, image_size=32)
    return export_network(EarlyExitNet(stages, heads, 5).eval(), record)


@pytest.mark.parametrize(
    ("name", "preprocessing"),
    [("wrn", True), ("resnet", True), ("resnet", False), ("mobilenet", True)],
)
def test_graphs_contain_the_listed_operators_only(
    tmp_path: Path, name: str, preprocessing: bool
) -> None:
    exported = network(name, preprocessing)
    more = (PREPROCESSING if preprocessing else set()) | (
        MOBILENET if name == "mobilenet" else set()
    )
    write_stages(exported, tmp_path)
    first, second = (operators_of(tmp_path / f"stage{index}.onnx") for index in range(2))
    assert first <= NETWORK | DECISION | more
    assert second <= NETWORK | DECISION | (more - PREPROCESSING)
    # None of the lists names an operator that is not there.
    assert first >= DECISION | (PREPROCESSING if preprocessing else set())
    if name == "resnet":
        write_onnx_file(exported, tmp_path / "one.onnx")
        assert operators_of(tmp_path / "one.onnx") == first | second | BRANCHES


def test_the_page_lists_the_same_operators() -> None:
    page = " ".join((ROOT / "docs/export.md").read_text().split())
    for start, names in (
        ("The network:", NETWORK),
        ("Preprocessing:", PREPROCESSING),
        ("label and score:", DECISION),
        ("The branches of the single file:", BRANCHES),
    ):
        assert f"{start} {', '.join(sorted(names))}" in page
    assert "int8 adds QuantizeLinear and DequantizeLinear, and Max in the single file." in page
    assert {"QuantizeLinear", "DequantizeLinear", "Max"} == INT8
    more = page[page.index("with `--input any` also") :].split(". ")[0]
    assert all(name in more for name in RESIZING - PREPROCESSING)
