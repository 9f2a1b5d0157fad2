"""The recipes that come with erde."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from erde_cli.core.errors import InputError
from erde_cli.core.models.architecture import build_model, resolve_architecture
from erde_cli.core.models.macs import count_macs
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.recipe.shipped import shipped_recipe, shipped_recipes

NAMES = {
    "digits",
    "cifar10",
    "cifar10-cpu",
    "cifar10-evidence",
    "cifar100",
    "cifar100-resnet",
    "cifar100-wrn",
    "image-folder",
    "pretrained-photos",
    "svhn",
}
ONE_IMAGE = torch.zeros(1, 3, 32, 32)
GPU_SIZED = {"cifar10": 45_000, "cifar100": 45_000, "svhn": 65_931}  # train images


def test_every_shipped_recipe_is_valid_short_and_says_what_it_is_for() -> None:
    seen = []
    for shipped in shipped_recipes():
        recipe = load_recipe(shipped.name)
        lines = shipped.text.splitlines()
        assert recipe.name == shipped.name
        assert recipe == load_recipe(str(shipped.path))
        assert len(lines) <= 60
        assert lines[0].startswith("# ")
        assert lines[0] == f"# {shipped.purpose}"
        assert len(shipped.purpose) > 20
        seen.append(shipped.name)
        header = shipped.text.partition("\n\n")[0]
        assert lines[1] == "# yaml-language-server: $schema=recipe.schema.json"
        assert all(f"#   {word} " in header for word in ("command", "hardware", "expect"))
    assert len(seen) == 10
    assert set(seen) == NAMES


def test_shipped_recipes_are_listed_by_name() -> None:
    names = [shipped.name for shipped in shipped_recipes()]
    assert names == sorted(names)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_shipped_recipe_is_found_by_its_name(name: str) -> None:
    shipped = shipped_recipe(name)
    assert shipped.path.name == f"{name}.yaml"
    assert shipped.text == shipped.path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("digit", "did you mean digits?"), ("cifar-10", "did you mean cifar10?"),
     ("nothing-like-it", "list them with: erde recipes")],
)  # fmt: skip
def test_an_unknown_name_is_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=f"no recipe '{name}'") as caught:
        shipped_recipe(name)
    assert caught.value.hint == hint
    assert all(known in caught.value.expected for known in NAMES)


@pytest.fixture
def folders_with_recipe_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder in which a folder has the name of a shipped recipe."""
    (tmp_path / "digits").mkdir()
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folders_with_recipe_names")
def test_a_folder_is_not_taken_for_a_recipe() -> None:
    assert load_recipe("digits").name == "digits"
    with pytest.raises(InputError) as caught:
        load_recipe("mine")
    assert caught.value.got == "a folder"


def test_the_hours_in_the_headers_are_those_of_the_arithmetic() -> None:
    """Forward and backward are three times the forward pass; a multiply-add is two operations."""
    seen = 0
    for shipped in shipped_recipes():
        found = re.search(r"about ([\d.]+) hours at 20 TFLOP/s sustained \(computed", shipped.text)
        if found is None:
            continue
        recipe = load_recipe(shipped.name)
        name = recipe.data.dataset
        classes = 100 if name == "cifar100" else 10
        teacher, student = (
            count_macs(build_model(resolve_architecture(network, classes, 32)), ONE_IMAGE)
            for network in (recipe.teacher, recipe.student)
        )
        epochs = recipe.training.teacher.epochs, recipe.training.student.epochs
        macs = 3 * teacher * epochs[0] + (3 * student + teacher) * epochs[1]
        hours = 2 * macs * GPU_SIZED[name] / 20e12 / 3600
        assert float(found[1]) == pytest.approx(hours, abs=0.05), shipped.name
        seen += 1
    assert seen == 5


def test_the_evidence_compares_what_cifar10_cpu_ships() -> None:
    evidence, shipped = load_recipe("cifar10-evidence"), load_recipe("cifar10-cpu")
    same = {"name": shipped.name, "seed": shipped.seed, "comparison": shipped.comparison}
    assert evidence.model_copy(update=same) == shipped


def test_the_readme_lists_every_shipped_recipe() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text("utf-8")
    table = readme.partition("| recipe |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", table, flags=re.MULTILINE)) == NAMES
