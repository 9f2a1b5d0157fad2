"""Backbones of installed packages: a real distribution in a folder on the path."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
import torch

from erde_cli import load
from erde_cli.core.errors import InputError
from erde_cli.core.models.architecture import build_model, resolve_architecture
from erde_cli.core.models.library.chains import library_backbone
from erde_cli.core.recipe.inputs import inputs_digest
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.network import Network
from tests.conftest import TINY, Cli

BUILD = """
from torch import nn
from erde_cli.core.models.library.kind import LibraryBackbone

def build(name, classes, image_size):
    widths = {"tiny": (4, 8, 8), "wide": (8, 16, 16)}[name]
    blocks = [
        nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU())
        for a, b in zip((3, *widths), widths)
    ]
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes))
    return LibraryBackbone(blocks, head)
"""
_NUMBER = count()


class Site:
    """A folder on the path in which packages are installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, entry: str, code: str = BUILD, version: str = "1.0") -> str:
        """Install a distribution with one entry point; return its module."""
        module = f"erde_test_nets_{next(_NUMBER)}"
        (self.folder / f"{module}.py").write_text(code)
        info = self.folder / f"nets_of_{entry}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: nets-of-{entry}\nVersion: {version}\n"
        )
        (info / "entry_points.txt").write_text(f"[erde.backbones]\n{entry} = {module}:build\n")
        return module


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return Site(folder)


def test_a_network_of_a_package_trains_is_saved_and_loads(
    site: Site, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("mine")
    recipe = TINY.replace("{depth: 14, width: 6, exits: [2, 4]}", "{backbone: mine/tiny, exits: 3}")
    (tmp_path / "mine.yaml").write_text(recipe.replace("epochs: 4", "epochs: 1"))
    out = tmp_path / "run"
    code, _, err = cli("train-teacher", tmp_path / "mine.yaml", "--out", out)
    assert code == 0, err
    document = json.loads((out / "teacher/bundle.json").read_text())
    assert document["architecture"]["backbone"] == "mine/tiny"
    assert document["versions"]["nets-of-mine"] == "1.0"
    bundle = load(out / "teacher")
    assert bundle.model.exit_count == 3
    with torch.no_grad():
        assert bundle.model(torch.zeros(2, 3, 8, 8)).isfinite().all()
    code, listed, err = cli("backbones", "mine/tiny", "--json")
    assert code == 0, err
    (row,) = json.loads(listed)["backbones"]
    assert (row["name"], row["exits"], row["macs"] > 0) == ("mine/tiny", 3, True)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one != str(site.folder)])
    code, _, err = cli("profile", out / "teacher")
    assert (code, "Traceback" in err) == (2, False)
    assert "No installed package adds backbones under the name 'mine'" in err
    code, _, err = cli("train-teacher", tmp_path / "mine.yaml", "--out", tmp_path / "other")
    assert (code, "No installed package adds backbones" in err) == (2, True), err


def test_even_cuts_and_weights_follow_from_the_recipe_and_the_seed(site: Site) -> None:
    site.install("mine")
    architecture = resolve_architecture(Network(backbone="mine/wide", exits=2), 5, 8)
    assert architecture.cuts == (2,)
    first, again, other = (build_model(architecture, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_version_of_the_package_decides_the_network(site: Site) -> None:
    site.install("mine")
    recipe = load_recipe("digits", ["teacher={backbone: mine/tiny, exits: 3}"])
    first = inputs_digest(recipe, "teacher", "x")
    assert first == inputs_digest(recipe, "teacher", "x")
    (site.folder / "nets_of_mine-1.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: nets-of-mine\nVersion: 1.1\n"
    )
    assert first != inputs_digest(recipe, "teacher", "x")
    assert inputs_digest(recipe, "student", "x") == inputs_digest(
        load_recipe("digits"), "student", "x"
    )


@pytest.mark.parametrize("entry", ["resnet", "torchvision"])
def test_a_package_cannot_take_a_name_of_erde(entry: str, site: Site, cli: Cli) -> None:
    module = site.install(entry)
    assert library_backbone("torchvision/mnasnet0_5", 5, 32).blocks
    for line in (
        ["train-teacher", "digits", "--set", f"teacher={{backbone: {entry}/tiny}}"],
        ["backbones", f"{entry}/tiny"],
    ):
        code, _, err = cli(*line)
        assert (code, "Traceback" in err) == (2, False)
        if entry == "resnet":
            assert "nets-of-resnet cannot add backbones under the name resnet" in err
    if entry == "torchvision":
        with pytest.raises(InputError, match="nets-of-torchvision cannot add any under torchv"):
            library_backbone("torchvision/tiny", 5, 32)
    assert module not in sys.modules


@pytest.mark.parametrize(
    ("code", "part"),
    [
        ("import nothing_of_this_name", "cannot be imported"),
        ("raise SystemError('first\\nsecond')", "cannot be imported"),
        ("other = 1", "cannot be imported"),
        ("def build(name, classes, image_size): raise KeyError(name)", "cannot build mine/tiny"),
        ("def build(name): return 1", "cannot build mine/tiny"),
        ("def build(name, classes, image_size): return 1", "does not return a backbone"),
        (BUILD.replace("blocks, head)", "[], head)"), "does not return a backbone"),
        (BUILD.replace("-1], classes)", "-1], classes + 1)"), "does not return a backbone"),
    ],
)
def test_a_package_that_fails_is_one_sentence(code: str, part: str, site: Site) -> None:
    site.install("mine", code)
    with pytest.raises(InputError, match=part) as caught:
        resolve_architecture(Network(backbone="mine/tiny"), 5, 8)
    assert "mine" in caught.value.message
    assert "\n" not in caught.value.message + caught.value.got
    assert caught.value.exit_code == 2


def test_two_packages_of_one_name_are_refused(site: Site) -> None:
    site.install("mine")
    site.install("mine", version="2.0")
    info = site.folder / "nets_of_mine-2.0.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 2.0\n")
    (info.rename(site.folder / "others-2.0.dist-info"))
    with pytest.raises(InputError, match="Two installed packages"):
        load_recipe("digits", ["teacher={backbone: mine/tiny}"])


def test_a_stored_recipe_can_name_a_package_that_is_not_installed() -> None:
    """A student's bundle contains the recipe of its teacher, which it does not need."""
    document = load_recipe("digits").model_dump()
    document["teacher"] = {"backbone": "gone/tiny", "exits": 3}
    assert Recipe.model_validate(document).teacher.backbone == "gone/tiny"


@pytest.mark.parametrize("key", ["pretrained: true", "weights: a.pth", "stem: small", "depth: 8"])
def test_keys_of_other_networks_are_refused(key: str, site: Site) -> None:
    site.install("mine")
    with pytest.raises(InputError, match="mine/tiny does not have this key"):
        load_recipe("digits", [f"teacher={{backbone: mine/tiny, {key}}}"])


def test_a_package_is_imported_only_when_it_is_named(site: Site) -> None:
    site.install("mine", "raise SystemExit('imported')")
    for line in (["--help"], ["backbones", "mnasnet0"], ["recipes"], ["recipes", "show", "digits"]):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "erde_cli", *line], capture_output=True, text=True,
            check=False, env={"PYTHONPATH": f"{Path.cwd()}:{site.folder}"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "imported" not in done.stdout + done.stderr
