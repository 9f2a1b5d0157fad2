"""Backbones of libraries in a recipe: which keys they have, and what is refused."""

import pytest

from erde_cli.core.errors import RecipeError
from erde_cli.core.recipe.backbones import FAMILIES, is_library_backbone
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.recipe.sections.network import Network


def test_a_librarys_network_needs_a_name_and_exits() -> None:
    network = Network.model_validate({"backbone": "torchvision/resnet18", "exits": [2, 5]})
    assert (network.exit_count, network.depth, network.channels) == (3, None, None)
    assert Network(backbone="timm/vit_tiny_patch16_224", stem=None).exit_count == 3
    assert Network(backbone="torchvision/resnet18", stem="small").stem == "small"
    assert is_library_backbone("timm/resnet18")
    assert not any(map(is_library_backbone, FAMILIES))


@pytest.mark.parametrize(
    ("network", "key", "rule"),
    [
        ("{backbone: torchvision/resnet18, depth: 18}", "depth", "does not have this key"),
        ("{backbone: torchvision/resnet18, width: 8}", "width", "does not have this key"),
        ("{backbone: torchvision/resnet18, stem: 16}", "stem", "does not have this key"),
        ("{backbone: torchvision/resnet18, stem_stride: 2}", "stem_stride", "does not have"),
        ("{backbone: torchvision/resnet18, exits: [3, 2]}", "exits", "increasing"),
        ("{backbone: torchvision/resnet18, exits: 0}", "exits", "must be 1 to"),
        ("{backbone: resnet, depth: 14, stem: small}", "stem", "does not have this key"),
        ("{backbone: resnet, exits: 3}", "depth", "is required for resnet"),
        ("{backbone: resnt, depth: 14}", "backbone", "did you mean resnet?"),
        ("{backbone: keras/resnet18}", "backbone", "a network of a library"),
        ("{backbone: hf-hub:timm/resnet18}", "backbone", "a network of a library"),
        ("{backbone: torchvision/../resnet18}", "backbone", "a network of a library"),
        ("{backbone: torchvision/}", "backbone", "a network of a library"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_key(network: str, key: str, rule: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("digits", [f"teacher={network}"])
    rules = {problem.path: problem.rule for problem in caught.value.problems}
    assert rule in rules[f"teacher.{key}"]
