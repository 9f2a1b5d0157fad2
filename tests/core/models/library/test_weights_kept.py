"""`last_layer: kept`: the last exit of an untrained network answers as the library's network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from erde_cli.core.errors import InputError
from erde_cli.core.models.architecture import build_model, resolve_architecture
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.library.networks import library_network
from erde_cli.core.models.library.weights import (
    FirstWeights,
    check_first_weights,
    load_first_weights,
)
from erde_cli.core.recipe.sections.data import Data
from erde_cli.core.recipe.sections.network import Network

NAMES = ["torchvision/shufflenet_v2_x0_5", "timm/test_resnet"]
CLASSES, SIDE = 5, 64
IMAGES = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def trained(name: str) -> nn.Module:
    """The library's network with other weights and statistics than any fresh one."""
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    torch.manual_seed(7)
    network, kind = library_network(name, CLASSES, SIDE)
    nn.init.normal_(network.get_submodule(kind.last).weight)  # type: ignore[arg-type]
    with torch.no_grad():
        network(IMAGES)  # in training mode: the statistics of the norms move
    return network.eval()


def section(name: str, file: Path, **keys: Any) -> Network:
    given = {"backbone": name, "exits": 2, "weights": str(file), "last_layer": "kept", **keys}
    return Network.model_validate(given)


def loaded(network: Network, classes: int = CLASSES) -> tuple[EarlyExitNet, FirstWeights]:
    architecture = resolve_architecture(network, classes, SIDE)
    model = build_model(architecture)
    return model.eval(), load_first_weights(model, architecture, network)


def by_name(state: dict[str, Tensor], path: Path) -> dict[str, str]:
    save_file(state, path.with_suffix(".safetensors"))
    return {"weights": str(path.with_suffix(".safetensors"))}


def by_order(state: dict[str, Tensor], path: Path) -> dict[str, str]:
    torch.save({f"layer{i}": tensor for i, tensor in enumerate(state.values())}, path)
    return {"match": "order"}


@pytest.mark.parametrize("write", [by_name, by_order])
@pytest.mark.parametrize("name", NAMES)
def test_the_last_exit_answers_as_the_librarys_network_to_the_bit(
    name: str, write: Callable[[dict[str, Tensor], Path], dict[str, str]], tmp_path: Path
) -> None:
    network = trained(name)
    keys = write(network.state_dict(), tmp_path / "a.pth")
    model, first = loaded(section(name, tmp_path / "a.pth", **keys))
    with torch.no_grad():
        expected, logits = network(IMAGES), model(IMAGES)[:, -1]
    assert torch.equal(logits, expected)
    assert not torch.equal(expected[0], expected[1])
    sized = [tensor for tensor in network.state_dict().values() if tensor.dim()]
    assert first.tensors >= len(sized)


def test_the_early_heads_stay_new(tmp_path: Path) -> None:
    keys = by_name(trained(NAMES[0]).state_dict(), tmp_path / "a")
    network = section(NAMES[0], tmp_path / "a", **keys)
    fresh = build_model(resolve_architecture(network, CLASSES, SIDE))
    model, _ = loaded(network)
    for ours, theirs in zip(model.heads[0].parameters(), fresh.heads[0].parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_another_number_of_classes_is_refused_before_a_network_is_built(tmp_path: Path) -> None:
    torch.save(trained(NAMES[0]).state_dict(), tmp_path / "a.pth")
    network = section(NAMES[0], tmp_path / "a.pth")
    check_first_weights(network, CLASSES, SIDE)
    with pytest.raises(InputError, match="last_layer: kept does not fit") as caught:
        check_first_weights(network, 7, SIDE)
    assert (caught.value.got, caught.value.expected) == (
        "images of 7 classes", "the 5 classes of the weights",
    )  # fmt: skip
    assert "last_layer: new" in caught.value.hint


def test_a_file_without_a_last_layer_can_only_begin_a_new_one(tmp_path: Path) -> None:
    state = trained(NAMES[0]).state_dict()
    torch.save({name: one for name, one in state.items() if name[:3] != "fc."}, tmp_path / "a.pth")
    with pytest.raises(InputError) as caught:
        check_first_weights(section(NAMES[0], tmp_path / "a.pth"), CLASSES, SIDE)
    assert caught.value.got == "2 missing: fc.weight, fc.bias"
    assert "last_layer: new" in caught.value.hint
    check_first_weights(section(NAMES[0], tmp_path / "a.pth", last_layer="new"), CLASSES, SIDE)


@pytest.mark.parametrize("match", ["name", "order"])
def test_a_new_last_layer_ignores_that_of_the_file_whatever_its_shape(
    match: str, tmp_path: Path
) -> None:
    state = trained(NAMES[0]).state_dict()
    state["fc.weight"], state["fc.bias"] = torch.zeros(21_841, 1024), torch.zeros(21_841)
    torch.save(state, tmp_path / "a.pth")
    network = section(NAMES[0], tmp_path / "a.pth", last_layer="new", match=match)
    model, _ = loaded(network, 7)
    with torch.no_grad():
        assert model(IMAGES).shape == (len(IMAGES), 2, 7)
    own = dict(model.stages.named_parameters())["0.0.0.0.weight"]
    assert torch.equal(own, state["conv1.0.weight"])


def notes(last_layer: str, classes: tuple[str, ...], **data: Any) -> list[str]:
    network = section(NAMES[0], Path("a.pth"), last_layer=last_layer)
    first = FirstWeights("a.pth", "0" * 64, 280, classes=classes)
    given = Data.model_validate({"dataset": "imagefolder", "root": "x", **data})
    return first.notes(network, given, ("cat", "dog"))


AS_EXPECTED = {"resize": "crop"}  # ShuffleNet: the default share of 0.875, bilinear


def test_classes_of_other_names_are_a_note_where_the_last_layer_is_kept() -> None:
    assert len(notes("kept", ("cat", "dog"), **AS_EXPECTED)) == 1
    assert len(notes("new", ("tench", "dog"), **AS_EXPECTED)) == 1
    _, note = notes("kept", ("tench", "dog"), **AS_EXPECTED)
    assert "cat for tench" in note
    assert note.startswith("1 of 2 class names ")


def test_the_first_note_names_source_licence_and_last_layer() -> None:
    (note,) = notes("kept", (), **AS_EXPECTED)
    assert note == "280 tensors of a.pth (licence: not stated); the last layer is kept"
    (note,) = notes("new", (), **AS_EXPECTED)
    assert note.endswith("the last layer is new")


def test_photos_that_are_resized_otherwise_than_the_weights_expect_are_one_note() -> None:
    _, note = notes("new", ())
    assert note == (
        "The weights expect resize: crop, crop_share: 0.875, interpolation: bilinear; "
        "the recipe has resize: squash, interpolation: bilinear."
    )
    for changed in ({"crop_share": 0.95}, {"interpolation": "bicubic"}):
        assert len(notes("new", (), **AS_EXPECTED, **changed)) == 2
    assert len(notes("new", (), **AS_EXPECTED, crop_share=0.874)) == 1
    assert len(notes("new", (), dataset="digits", root=None)) == 1  # these are no photos
