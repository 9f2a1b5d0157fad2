"""Tensors of a file that fit a network, and the message about those that do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from erde_cli.core.errors import InputError
from erde_cli.core.models.library.networks import WeightsOnMeta, library_network
from erde_cli.core.models.library.weights_file import WeightsFile, read_weights
from erde_cli.core.models.library.weights_match import Wanted, matched
from tests.core.models.library.small import swin, vit

State = dict[str, Tensor]


def shapes(name: str, side: int = 64, classes: int = 1000) -> tuple[State, str]:
    """State dict of a library's network on the meta device, and the path of its last layer."""
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    with WeightsOnMeta():
        network, kind = library_network(name, classes, side)
    return network.state_dict(), kind.last


def wanted(name: str, side: int = 64, classes: int = 7, *, last_kept: bool = False) -> Wanted:
    state, last = shapes(name, side, classes)
    return Wanted(name, state, last, last_kept, side)


def file(state: State, *, in_order: bool = True) -> WeightsFile:
    return WeightsFile(Path("a.pth"), state, in_order, None)


def refused(given: WeightsFile, wants: Wanted, match: str = "name") -> InputError:
    with pytest.raises(InputError) as caught:
        matched(given, wants, match)
    return caught.value


def test_a_smaller_and_a_larger_network_are_told_by_what_is_missing_and_unexpected() -> None:
    small, large = shapes("torchvision/resnet18")[0], shapes("torchvision/resnet34")[0]
    error = refused(file(small), wanted("torchvision/resnet34"))
    first = "layer1.2.conv1.weight, layer1.2.bn1.weight, layer1.2.bn1.bias, ..."
    assert error.message == "The tensors of a.pth are not those of torchvision/resnet34."
    assert error.got == f"80 missing: {first}"
    assert error.expected.startswith("its 180 tensors without the last layer")
    assert "weights of torchvision/resnet34, or change backbone" in error.hint
    error = refused(file(large), wanted("torchvision/resnet18"))
    assert error.got == f"96 unexpected: {first}"
    error = refused(file(shapes("torchvision/resnet50")[0]), wanted("torchvision/resnet34"))
    assert (
        "31 of another shape: layer1.0.conv1.weight [64, 64, 1, 1] instead of [64, 64, 3, 3]"
        in (error.got)
    )


def test_the_order_is_hinted_at_only_where_it_would_do() -> None:
    state, _ = shapes("torchvision/resnet18")
    renamed = {f"_{name}": tensor for name, tensor in state.items()}
    wants = wanted("torchvision/resnet18")
    assert "write match: order" in refused(file(renamed), wants).hint
    assert "match" not in refused(file(renamed, in_order=False), wants).hint
    assert "match" not in refused(file(dict(reversed(renamed.items()))), wants).hint
    fewer = dict(list(renamed.items())[:-1])
    assert "match" not in refused(file(fewer), wants).hint
    assert "match" not in refused(file(renamed), wanted("torchvision/resnet34")).hint


def test_tensors_of_one_shape_in_another_order_are_not_mistaken_for_each_other() -> None:
    names = [f"{n}.{end}" for n in range(2) for end in ("weight", "bias", "running_mean")]
    state = {name: torch.empty(4, device="meta") for name in [*names, "fc.weight"]}
    wants = Wanted("net", state, "fc", False, 64)
    other = {f"x{name}": torch.zeros(4) for name in [*sorted(names), "fc.weight"]}
    error = refused(file(other), wants, "order")
    assert error.got == "x0.bias in the place of 0.weight"
    assert "match" not in refused(file(other), wants).hint
    same = {f"x{name}": torch.zeros(4) for name in state}
    assert list(matched(file(same), wants, "order")) == names


def test_safetensors_sorts_names_and_so_has_no_order(tmp_path: Path) -> None:
    save_file({"b.weight": torch.zeros(2), "a.bias": torch.zeros(2)}, tmp_path / "a.safetensors")
    given = read_weights(tmp_path / "a.safetensors")
    assert list(given.tensors) == ["a.bias", "b.weight"]
    error = refused(given, wanted("torchvision/shufflenet_v2_x0_5"), "order")
    assert "sorts its tensors by name" in error.got
    assert "torch.save" in error.hint


@pytest.mark.parametrize(
    ("name", "theirs", "ours"),
    [("torchvision/vit_b_16", 224, 64), ("timm/vit_tiny_patch16_224", 224, 32),
     ("timm/vit_small_patch14_reg4_dinov2", 518, 224),
     ("timm/vit_wee_patch16_reg1_gap_256", 256, 64)],
)  # fmt: skip
def test_a_vision_transformer_at_another_size_names_that_of_its_weights(
    name: str, theirs: int, ours: int
) -> None:
    state, _ = shapes(name, theirs)
    error = refused(file(state), wanted(name, ours))
    assert error.message == "The weights in a.pth are for images of another size."
    assert error.got == f"image_size {ours}"
    assert error.hint == f"write image_size: {theirs}"
    narrower = {n: t[..., :8] if "pos_embed" in n else t for n, t in state.items()}
    assert "1 of another shape" in refused(file(narrower), wanted(name, ours)).got


def small_vit() -> tuple[State, Wanted]:
    torch.manual_seed(0)
    network, kind = vit(32)
    state = dict(network.state_dict())
    return state, Wanted("vit", dict(state), kind.last, True, 32)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_types_become_float32(kind: torch.dtype) -> None:
    state, wants = small_vit()
    taken = matched(file({name: one.to(kind) for name, one in state.items()}), wants, "name")
    assert {one.dtype for one in taken.values()} == {torch.float32}
    for name, one in state.items():
        assert torch.equal(taken[name], one.to(kind).float())


@pytest.mark.parametrize(
    "kind", [torch.int64, torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn]
)
def test_other_types_are_refused_by_name(kind: torch.dtype) -> None:
    state, wants = small_vit()
    state["encoder.ln.weight"] = torch.ones(16).to(kind)
    error = refused(file(state), wants)
    assert error.got.startswith(f"encoder.ln.weight in {str(kind)[6:]}, a type")


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), 1e300])
def test_a_number_that_is_not_finite_in_float32_is_refused(odd: float) -> None:
    state, wants = small_vit()
    state["encoder.ln.weight"] = torch.full((16,), odd, dtype=torch.float64)
    assert "encoder.ln.weight" in refused(file(state), wants).got


def test_counters_of_norms_may_be_missing_and_of_any_number_type() -> None:
    state = {"n.weight": torch.ones(2), "n.num_batches_tracked": torch.tensor(3)}
    wants = Wanted("net", state, "fc", False, 32)
    assert list(matched(file({"n.weight": torch.ones(2)}), wants, "name")) == ["n.weight"]
    halves: dict[str, Any] = {name: one.half() for name, one in state.items()}
    assert len(matched(file(halves), wants, "name")) == 2
    halves["n.num_batches_tracked"] = torch.tensor(3, dtype=torch.complex64)
    assert "complex64" in refused(file(halves), wants).got


def test_constants_of_a_network_are_never_those_of_a_file() -> None:
    network, kind = swin(32, version=1)
    state = dict(network.state_dict())
    wants = Wanted("swin", dict(state), kind.last, True, 32)
    constants = [name for name, one in state.items() if not one.is_floating_point()]
    assert constants
    state[constants[0]] = torch.full_like(state[constants[0]], 10**9)  # outside its table
    taken = matched(file(state), wants, "name")
    assert not set(constants) & set(taken)
    assert len(taken) + len(constants) == len(state)
