"""The tables of families and heads: a row is all that the rest of the code knows of one."""

from __future__ import annotations

import ast
from importlib import import_module
from inspect import signature
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

import erde_cli
from erde_cli.core.errors import InputError
from erde_cli.core.models.architecture import Architecture, build_model, resolve_architecture
from erde_cli.core.models.backbone import Backbone, fitted_layers, pooled_classifier
from erde_cli.core.models.folding import folded
from erde_cli.core.models.heads import StageOutput
from erde_cli.core.models.profile import profile_model
from erde_cli.core.recipe.backbones import FAMILIES, FAMILY_KEYS, Family
from erde_cli.core.recipe.heads import HEADS, Head
from erde_cli.core.recipe.sections.network import Network


def parameters_of(builder: str) -> list[str]:
    module, function = builder.split(":")
    return list(signature(getattr(import_module(module), function)).parameters)


def norms(module: nn.Module) -> int:
    return sum(isinstance(inner, nn.BatchNorm2d) for inner in module.modules())


@pytest.mark.parametrize("name", FAMILIES)
def test_a_familys_row_says_what_its_builder_takes_and_makes(name: str) -> None:
    family = FAMILIES[name]
    own = [key for key in family.keys if key != "widening"]  # which is in the width
    assert parameters_of(family.builder) == ["depth", "width", "classes", *own]
    assert set(family.keys) <= set(FAMILY_KEYS)
    for depth in islice(family.blocks, 3):
        network = Network(backbone=name, depth=depth, width=2, exits=1)
        assert network.least_side == family.least_side
        model = build_model(resolve_architecture(network, 5, family.least_side)).eval()
        assert len(model.stages[0]) == family.blocks[depth] == network.blocks  # type: ignore[arg-type]
        images = torch.zeros(2, 3, family.least_side, family.least_side)
        assert model(images).shape == (2, 1, 5)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_key_of_a_family_changes_its_network_and_no_other_is_taken(name: str) -> None:
    values: dict[str, Any] = {"widening": 2, "stem": 5, "stem_stride": 2, "dropout": 0.5}
    assert set(values) == set(FAMILY_KEYS)
    depth = next(iter(FAMILIES[name].blocks))
    plain: dict[str, Any] = {"backbone": name, "depth": depth, "width": 2, "exits": 1}
    built = str(build_model(resolve_architecture(Network(**plain), 5, 32)))
    for key, value in values.items():
        if key not in FAMILIES[name].keys:
            with pytest.raises(ValueError, match=f"{key} {name} does not have this key; remove it"):
                Network(**plain, **{key: value})
            continue
        network = Network(**plain, **{key: value})
        assert str(build_model(resolve_architecture(network, 5, 32))) != built, key


@pytest.mark.parametrize("name", FAMILIES)
def test_a_depth_that_a_family_does_not_have_is_refused_without_a_recipe_as_well(name: str) -> None:
    with pytest.raises(InputError, match=f"no {name} of depth 9") as caught:
        build_model(Architecture(name, 9, 2, (), "gap", 5, 32))
    assert caught.value.expected == f"a depth of {FAMILIES[name].depths_near(9)}"


def test_depths_go_on_to_the_largest_of_a_recipe() -> None:
    for family in FAMILIES.values():
        largest = max(family.blocks)
        assert (largest > 10_000) == bool(family.formula)
    assert FAMILIES["resnet"].depths_near(10_000) == "6n + 2, such as 9998 or 10004"


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("preactivated", [True, False])
def test_a_heads_row_says_what_its_builder_takes(name: str, preactivated: bool) -> None:
    head = HEADS[name]
    dropout = ["dropout"] if head.drops else []
    assert parameters_of(head.builder) == ["features", "classes", *dropout]
    backbone = "wrn" if preactivated else "vgg"
    depth = next(iter(FAMILIES[backbone].blocks))
    model = build_model(Architecture(backbone, depth, 2, (1,), name, 5, 32)).eval()
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 2, 5)


def test_a_recipe_may_name_what_is_in_the_tables() -> None:
    backbone = Network.model_json_schema()["properties"]["backbone"]
    assert backbone["anyOf"][0]["enum"] == [*FAMILIES]
    assert get_args(Network.model_fields["head"].annotation) == tuple(HEADS)


def test_no_file_imports_a_family_and_only_its_row_names_it() -> None:
    """Else a new family would need an entry there as well."""
    package = Path(erde_cli.__file__).parent
    modules = {family.builder.split(":")[0] for family in FAMILIES.values()}
    assert len(modules) == len(FAMILIES)
    for file in package.rglob("*.py"):
        tree = ast.walk(ast.parse(file.read_text()))
        assert not [node for node in tree if isinstance(node, ast.ImportFrom)
                    and node.module in modules], file  # fmt: skip


# A family and a head of this file's own: their rows are all that is added.


class Shifted(nn.Module):
    """A layer that is fitted to images."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3, 1, 1))

    def fit(self, images: Tensor) -> None:
        self.mean = images.mean((0, 2, 3))[:, None, None]

    def forward(self, features: Tensor) -> Tensor:
        shifted: Tensor = features - self.mean
        return shifted


class Crossed(nn.Module):
    """Two convolutions whose norms stand in the other order."""

    folds = (("one", "b"), ("other", "a"))

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(inputs, outputs, 3, 1, 1), nn.Conv2d(outputs, outputs, 1)
        self.a, self.b = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)

    def forward(self, features: Tensor) -> Tensor:
        hidden: Tensor = self.a(self.other(self.b(self.one(features)).relu())).relu()
        return hidden


def crossed(depth: int, width: int, classes: int, dropout: float) -> Backbone:
    blocks: list[nn.Module] = [nn.Sequential(Shifted(), Crossed(3, width), nn.Dropout(dropout))]
    blocks += [Crossed(width, width) for _ in range(depth // 2 - 1)]
    return Backbone(blocks, pooled_classifier(width, classes))


def corner_head(features: StageOutput, classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(features.channels * features.side**2, classes))


def test_a_row_is_all_that_a_new_family_and_a_new_head_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = Family("", f"{__name__}:crossed", {8: 4, 12: 6}, width=6, keys=("dropout",))
    monkeypatch.setitem(FAMILIES, "crossed", row)
    monkeypatch.setitem(HEADS, "corner", Head(f"{__name__}:corner_head"))
    model = build_model(Architecture("crossed", 12, 6, (2, 5), "corner", 4, 8, dropout=0.25))
    assert [len(stage) for stage in model.stages] == [2, 3, 1]  # type: ignore[arg-type]
    assert [type(layer) for layer in model.heads[1]] == [nn.Flatten, nn.Linear]  # type: ignore[arg-type]
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.25]
    images = torch.randn(6, 3, 8, 8)
    for layer in fitted_layers(model):
        layer.fit(images)
    assert model.state_dict()["stages.0.0.0.mean"].abs().min() > 0
    model(images)  # in training mode: its norms have seen images
    ready = folded(model)
    assert (norms(model), norms(ready)) == (12, 0)
    with torch.no_grad():
        torch.testing.assert_close(ready(images), model.eval()(images), rtol=1e-4, atol=1e-4)
    first = 64 * (27 * 6 + 36) + 64 * (54 * 6 + 36)
    assert profile_model(model, 8).exits[0].cumulative_macs == first + 64 * 6 * 4
