"""Backbones of libraries in a recipe: which keys they have, and what is refused."""

from pathlib import Path

import pytest
import yaml

from erde_cli.core.errors import RecipeError
from erde_cli.core.recipe.backbones import FAMILIES, is_library_backbone
from erde_cli.core.recipe.inputs import comparable, inputs_digest
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.recipe.sections.network import Network
from tests.conftest import TINY


def test_a_file_of_weights_is_relative_to_the_recipe_and_on_the_command_line_to_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = yaml.safe_load(TINY)
    recipe["teacher"] = {"backbone": "torchvision/resnet18", "weights": "a.pth"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    assert load_recipe(str(tmp_path / "mine.yaml")).teacher.weights == str(tmp_path / "a.pth")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for setting in ("teacher.weights=b.pth",
                    "teacher={backbone: torchvision/resnet18, weights: b.pth}"):  # fmt: skip
        found = load_recipe(str(tmp_path / "mine.yaml"), [setting]).teacher.weights
        assert found == str(tmp_path / "here/b.pth")


def test_the_folder_of_the_weights_decides_nothing_and_their_content_does(tmp_path: Path) -> None:
    digests = []
    for folder, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "w.pth").write_bytes(content)
        network = f"teacher={{backbone: torchvision/resnet18, weights: {tmp_path}/{folder}/w.pth}}"
        recipe = load_recipe("digits", [network])
        digests.append((inputs_digest(recipe, "teacher", "x"), comparable(recipe)))
        assert inputs_digest(recipe, "student", "x") == inputs_digest(
            load_recipe("digits"), "student", "x"
        )
    assert digests[0] == digests[1]
    assert digests[0][0] != digests[2][0]


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
        ("{backbone: resnet, depth: 14, pretrained: true}", "pretrained", "does not have this key"),
        ("{backbone: resnet, depth: 14, weights: a.pth}", "weights", "does not have this key"),
        (
            "{backbone: torchvision/resnet18, pretrained: true, weights: a.pth}",
            "weights",
            "one source",
        ),
        ("{backbone: torchvision/resnet18, match: order}", "match", "applies only to weights"),
        ("{backbone: torchvision/resnet18, weights: ''}", "weights", "a file of weights"),
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
