"""Files of first weights that cannot be used, as `weights` of a recipe."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from erde_cli.core.models.library.networks import library_network
from tests.security.conftest import Payload, packed

from .case import Case, recipe, written
from .conftest import Refused

LINE = "train-teacher mine.yaml --out out"
NAME = "torchvision/shufflenet_v2_x0_5"
Change = Callable[[Path, dict[str, Tensor]], object]


def settings(**keys: Any) -> str:
    """A recipe whose teacher starts from weights."""
    teacher = {"backbone": NAME, "exits": 2, **keys}
    return written(recipe({"data.image_size": 32, "teacher": teacher, "student.exits": 2}))


def given(name: str, file: str, change: Change, *says: str, **keys: Any) -> Case:
    """A case with a file of weights, made from the state dict of the teacher's network."""

    def prepare(here: Path) -> None:
        network, _ = library_network(NAME, None, 32)
        change(here / file, dict(network.state_dict()))

    return Case(name, LINE, (file, *says), {"mine.yaml": settings(weights=file, **keys)}, prepare)


def saved(edit: Callable[[dict[str, Tensor]], object]) -> Change:
    """Save an edited state dict in the format that the file's name states."""

    def write(path: Path, state: dict[str, Tensor]) -> None:
        edit(state)
        save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)

    return write


def cut(path: Path, state: dict[str, Tensor]) -> None:
    saved(lambda _: None)(path, state)
    os.truncate(path, path.stat().st_size // 2)


def compressed(path: Path, state: dict[str, Tensor]) -> None:
    torch.save(state, path)
    path.write_bytes(packed(path.read_bytes()))


def of_resnet(path: Path, _: dict[str, Tensor]) -> None:
    network, _ = library_network("torchvision/resnet18", 10, 32)
    torch.save(network.state_dict(), path)


def code(path: Path, state: dict[str, Tensor]) -> None:
    torch.save({**state, "x": Payload(path.parent / "owned")}, path)


def claim(path: Path, _: dict[str, Tensor]) -> None:
    entry = {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}
    text = json.dumps({"fc.weight": entry}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)


def with_(**tensors: Tensor) -> Callable[[dict[str, Tensor]], None]:
    return lambda state: state.update({name.replace("__", "."): t for name, t in tensors.items()})


UNUSABLE = "is not a usable file of weights"
CASES = [
    given("weights of another network", "a.pth", of_resnet,
          f"are not those of {NAME}", "missing: conv1.0.weight", "unexpected: conv1.weight",
          f"name a file of weights of {NAME}"),
    given("names of another library", "a.pth",
          saved(lambda state: [state.update({f"_{n}": state.pop(n)}) for n in list(state)]),
          "280 missing", "write match: order"),
    given("a tensor less", "a.safetensors", saved(lambda state: state.pop("conv5.0.weight")),
          "1 missing: conv5.0.weight"),
    given("a tensor more", "a.safetensors", saved(with_(more=torch.zeros(2))),
          "1 unexpected: more"),
    given("a tensor of another shape", "a.pth", saved(with_(conv5__0__weight=torch.zeros(3, 3))),
          "conv5.0.weight [3, 3] instead of [1024, 192, 1, 1]"),
    given("a number that is not finite", "a.safetensors",
          saved(lambda state: state["conv5.1.bias"].fill_(float("nan"))),
          UNUSABLE, "not finite", "conv5.1.bias"),
    given("whole numbers", "a.pth",
          saved(lambda state: state.update({n: t.int() for n, t in state.items()})),
          UNUSABLE, "conv1.0.weight in int32"),
    given("a file with code", "a.pth", code, UNUSABLE, "code in it"),
    given("half a file", "a.pth", cut, UNUSABLE),
    given("half a safetensors file", "a.safetensors", cut, UNUSABLE),
    given("an archive with compressed parts", "a.pth", compressed, UNUSABLE, "compressed"),
    given("a table of contents of 4 TB", "a.safetensors", claim, UNUSABLE),
    given("an empty file", "a.pth", lambda path, _: path.touch(), UNUSABLE),
    given("a folder", "a.pth", lambda path, _: path.mkdir(), UNUSABLE, "a folder"),
    given("a pipe", "a.pth", lambda path, _: os.mkfifo(path), UNUSABLE, "not a regular file"),
    given("no file", "a.pth", lambda *_: None, "does not exist", "relative to the recipe"),
    given("the last layer of 21,841 classes, kept", "a.pth",
          saved(with_(fc__weight=torch.zeros(21_841, 1024), fc__bias=torch.zeros(21_841))),
          "10 classes", "21,841 classes", "last_layer: new", last_layer="kept"),
    given("no last layer, kept", "a.pth",
          saved(lambda state: [state.pop(f"fc.{end}") for end in ("weight", "bias")]),
          "2 missing: fc.weight, fc.bias", "last_layer: new", last_layer="kept"),
    given("safetensors in order", "a.safetensors", saved(lambda _: None),
          "sorts its tensors by name", match="order"),
    given("another number of tensors in order", "a.pth", saved(with_(more=torch.zeros(2))),
          "283, not counting", "282", match="order"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_weights_that_cannot_be_used_are_one_message(case: Case, refused: Refused) -> None:
    refused(case)


TIMM = {"backbone": "timm/tf_efficientnet_lite0", "exits": 2, "pretrained": True}
OWN = [
    Case("timm's own weights", LINE,
         ("https://huggingface.co/timm/tf_efficientnet_lite0.in1k", "apache-2.0", "weights: "),
         {"mine.yaml": settings(**TIMM)}),
    Case("weights that timm does not publish", LINE, ("timm names no published weights",),
         {"mine.yaml": settings(**{**TIMM, "backbone": "timm/efficientnet_lite4"})}),
]  # fmt: skip


@pytest.mark.parametrize("case", OWN, ids=str)
def test_timms_own_weights_are_one_message(case: Case, refused: Refused) -> None:
    pytest.importorskip("timm")
    refused(case)


@pytest.mark.parametrize("line", ["run mine.yaml --out out -q", "compare mine.yaml --out out -q"])
def test_a_students_weights_are_checked_before_its_teacher_is_trained(
    line: str, refused: Refused
) -> None:
    student = {"backbone": NAME, "exits": 3, "weights": "mine.yaml"}
    text = written(recipe({"data.image_size": 32, "student": student}))
    refused(Case("a student's weights", line, (UNUSABLE,), {"mine.yaml": text}))


def test_a_teachers_weights_are_checked_before_students_without_it_are_trained(
    refused: Refused,
) -> None:
    files = {"mine.yaml": settings(weights="mine.yaml")}
    refused(Case("a teacher's weights", "compare mine.yaml --out out -q", (UNUSABLE,), files))


def test_a_pipe_is_not_read_for_the_digest_of_a_run(refused: Refused) -> None:
    files = {"mine.yaml": settings(weights="a.pth")}
    line = "run mine.yaml --out out -q"
    refused(
        Case(
            "a pipe", line, ("a.pth", "regular file"), files, lambda here: os.mkfifo(here / "a.pth")
        )
    )
