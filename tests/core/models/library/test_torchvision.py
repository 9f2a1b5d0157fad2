"""Networks of torchvision as chains of blocks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from erde_cli.core.models.library.chains import chain_of, library_backbone
from erde_cli.core.models.library.networks import library_names, library_network
from tests.core.models.library import checks
from tests.core.models.library.small import TORCHVISION, make, with_exits

FOLDED = {  # norms in all, of which those before a convolution stay
    "resnet18": 20, "regnet_y_400mf": 53, "mobilenet_v2": 52, "mobilenet_v3_small": 34,
    "efficientnet_b0": 49, "shufflenet_v2_x0_5": 56, "mnasnet0_5": 52, "vgg11_bn": 8,
    "densenet": 9, "efficientnet_v2": 14, "convnext": 0, "vit": 0, "swin": 0, "swin_v2": 0,
    "resnext": 17, "wide_resnet": 17,
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDED)
def test_a_folded_chain_answers_the_same(name: str) -> None:
    assert checks.answers_the_same_when_folded(make(name)) == FOLDED[name]


@pytest.mark.parametrize("name", ["vit", "swin"])
def test_a_transformer_is_exported_for_batches_of_any_size(name: str) -> None:
    checks.exports_for_any_batch(make(name))


@pytest.mark.parametrize("name", ["resnet18", "densenet", "convnext", "swin"])
def test_the_head_of_the_paper_fits_maps_of_every_layout(name: str) -> None:
    case = make(name)
    model = with_exits(case, [1], "erde").eval()
    assert model(checks.images(case, 2)).shape == (2, 2, 5)


def test_every_name_is_cut_into_blocks_without_a_weight_left_over() -> None:
    names = library_names("torchvision")
    assert len(names) >= 74
    for name in names:
        with torch.device("meta"):
            network, kind = library_network(f"torchvision/{name}", None, 224)
        chain = chain_of(network, kind)
        whole = nn.Sequential(*chain.blocks, chain.classifier)
        tensors = [*network.parameters(), *network.buffers()]
        assert all(tensor.is_meta for tensor in tensors), name
        assert {id(one) for one in whole.state_dict(keep_vars=True).values()} == {
            id(one) for one in network.state_dict(keep_vars=True).values()
        }, name
        assert len(chain.blocks) >= 8, name


@pytest.mark.parametrize(
    ("name", "blocks"),
    [("resnet50", 16), ("densenet121", 58), ("mobilenet_v2", 18), ("vit_b_16", 12), ("vgg16", 13)],
)
def test_a_cut_is_possible_after_every_block_of_the_structure(name: str, blocks: int) -> None:
    with torch.device("meta"):
        chain = library_backbone(f"torchvision/{name}", None, 224)
    assert len(chain.blocks) == blocks


def test_a_seed_draws_the_weights() -> None:
    def build(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(*library_backbone("torchvision/mnasnet0_5", 5, 32).blocks)

    first, again, other = (build(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("name", sorted(TORCHVISION.keys() & {"resnet18", "mobilenet_v3_small"}))
def test_classes_replace_the_last_layer_and_nothing_else(name: str) -> None:
    with torch.device("meta"):
        own, _ = library_network(f"torchvision/{name}", None, 64)
        seven, _ = library_network(f"torchvision/{name}", 7, 64)
    shapes = [{key: value.shape for key, value in one.state_dict().items()} for one in (own, seven)]
    changed = [key for key in shapes[0] if shapes[0][key] != shapes[1][key]]
    assert [key.split(".")[-1] for key in changed] == ["weight", "bias"]
    assert shapes[0][changed[0]][0] == 1000
    assert shapes[1][changed[0]][0] == 7
    assert list(shapes[0]) == list(shapes[1])


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "shufflenet_v2_x0_5", "mnasnet0_5"])
def test_a_small_stem_keeps_the_side_of_small_images(name: str) -> None:
    network, kind = library_network(f"torchvision/{name}", 5, 32, small_stem=True)
    chain = chain_of(network, kind)
    pools = 2 if kind.pool else 1
    with torch.no_grad():
        images = torch.randn(2, 3, 32, 32)
        plain, small = (
            one.blocks[0].eval()(images).shape[-1]
            for one in (library_backbone(f"torchvision/{name}", 5, 32), chain)
        )
    assert small == plain * 2**pools
    assert checks.check_equal(network, chain, 32) == 0
