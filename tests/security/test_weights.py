"""Files of first weights from anyone: nothing runs, nothing of their claimed size is allocated."""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from erde_cli.core.errors import InputError
from erde_cli.core.models.library.networks import WeightsOnMeta, library_network
from erde_cli.core.models.library.weights import check_first_weights
from erde_cli.core.models.library.weights_file import read_weights
from erde_cli.core.recipe.sections.network import Network

from .conftest import KINDS, Payload, packed

NAME = "torchvision/shufflenet_v2_x0_5"
VAST = 2**36  # numbers that a file claims to have

LIMITED = """
import resource, sys
from erde_cli.core.errors import InputError
from erde_cli.core.models.library.weights import check_first_weights
from erde_cli.core.recipe.sections.network import Network

def check(network, file):
    keys = {"backbone": network, "weights": file, "match": match}
    check_first_weights(Network.model_validate(keys), 5, 224)

match, network, *files = sys.argv[1:]
try:
    check("torchvision/squeezed", files[0])
except InputError:
    pass  # torchvision is imported now
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for file in files:
    try:
        check(network, file)
    except InputError as error:
        print(error.message)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(grown, file=sys.stderr)
sys.exit(grown > 60_000)
"""


def refused(file: Path, **keys: Any) -> InputError:
    given = {"backbone": NAME, "weights": str(file), **keys}
    with pytest.raises(InputError) as caught:
        check_first_weights(Network.model_validate(given), 5, 64)
    assert caught.value.hint
    return caught.value


def shapes(name: str) -> dict[str, Tensor]:
    with WeightsOnMeta():
        network, _ = library_network(name, 1000, 64)
    return network.state_dict()


def expanded(path: Path, name: str = NAME) -> Path:
    """A small file in which every tensor is one number, repeated to any size."""
    sizes = {name: [VAST] * bool(tensor.dim()) for name, tensor in shapes(name).items()}
    torch.save({name: torch.zeros(()).expand(size) for name, size in sizes.items()}, path)
    assert path.stat().st_size < 10**6
    return path


def claimed(path: Path) -> Path:
    """A file in torch's older format that claims a storage of 8 GB, which torch then reserves."""
    torch.save({"fc.weight": torch.zeros(77)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert content.count(b"K\x4d") >= 2  # 77 in a pickle
    path.write_bytes(content.replace(b"K\x4d", b"\x8a\x05" + struct.pack("<Q", 2**31)[:5]))
    return path


def table(path: Path) -> Path:
    """A safetensors file whose table of contents claims more than the file has."""
    entry = {"dtype": "F32", "shape": [VAST], "data_offsets": [0, 4 * VAST]}
    text = json.dumps({"fc.weight": entry}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(100))
    return path


def bomb(path: Path) -> Path:
    """An archive whose parts unpack to a hundred times their size."""
    torch.save({"fc.weight": torch.zeros(10**6)}, path)
    path.write_bytes(packed(path.read_bytes()))
    assert path.stat().st_size < 10**5
    return path


def test_the_memory_of_refused_files_stays_small(tmp_path: Path) -> None:
    """The network, of half a gigabyte, is not built either."""
    files = [expanded(tmp_path / "a.pth", "torchvision/vgg16"), claimed(tmp_path / "b.pth"),
             table(tmp_path / "c.safetensors"), bomb(tmp_path / "d.pth")]  # fmt: skip
    command = [sys.executable, "-c", LIMITED, "name", "torchvision/vgg16", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0].endswith("are not those of torchvision/vgg16.")
    assert [line.endswith("is not a usable file of weights.") for line in said[1:]] == [True] * 3


def test_every_way_to_claim_a_size_is_refused_in_one_sentence(tmp_path: Path) -> None:
    assert "of another shape" in refused(expanded(tmp_path / "a.pth")).got
    assert "of another shape" in refused(expanded(tmp_path / "a.pth"), match="order").got
    assert refused(bomb(tmp_path / "b.pth")).got == "its parts are compressed"
    for claims in (claimed(tmp_path / "c.pth"), table(tmp_path / "d.safetensors")):
        assert "not a usable file" in refused(claims).message


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors", ".tar"])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_a_file_runs(kind: str, suffix: str, tmp_path: Path) -> None:
    marker = tmp_path / "owned"
    (tmp_path / f"a{suffix}").write_bytes(KINDS[kind](Payload(marker)))
    error = refused(tmp_path / f"a{suffix}")
    assert "not a usable file of weights" in error.message
    assert "weights_only" not in str(error)
    assert not marker.exists()


def test_a_payload_next_to_good_tensors_does_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "owned"
    state = {"fc.weight": torch.zeros(2)}
    for name, content in {"state_dict": {**state, "x": Payload(marker)}, "more": state}.items():
        torch.save({name: content, "optimizer": Payload(marker)}, tmp_path / "a.pth")
        assert "code in it" in refused(tmp_path / "a.pth").got
    assert not marker.exists()


ODD = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "without values": lambda: torch.empty(3, device="meta"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_tensor_of_another_layout_is_refused(name: str, tmp_path: Path) -> None:
    torch.save({"conv1.0.weight": ODD[name]()}, tmp_path / "a.pth")
    assert refused(tmp_path / "a.pth").got.endswith("than a weight: conv1.0.weight")


@pytest.mark.parametrize(
    "content", [{1: torch.zeros(2)}, {("a",): torch.zeros(2)}, {None: torch.zeros(2)}, {"a": 1},
                {"a": {"b": torch.zeros(2)}}, torch.zeros(2), {"state_dict": [torch.zeros(2)]}],
    ids=repr,
)  # fmt: skip
def test_names_and_values_of_another_kind_are_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pth")
    assert "not a usable file of weights" in refused(tmp_path / "a.pth").message


def test_control_characters_and_long_names_do_not_fill_the_message(tmp_path: Path) -> None:
    torch.save({"x" * 10**6: torch.zeros(2), "\x1b[2J": torch.zeros(2)}, tmp_path / "a.pth")
    assert len(refused(tmp_path / "a.pth").got) < 1000


def signed(path: Path, metadata: Any) -> Path:
    """A safetensors file with this metadata, whatever it is."""
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    text = json.dumps({"__metadata__": metadata, "a": entry}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    return path


def test_a_licence_in_a_file_is_taken_only_as_a_short_printable_text(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    assert read_weights(signed(file, {"license": "cc-by-nc-4.0", "format": "pt"})).license == (
        "cc-by-nc-4.0"
    )
    for odd in ("", "a" * 201, "mit\nlicence: none", "\x1b[31mmit", "\u202emit"):
        assert read_weights(signed(file, {"license": odd})).license is None
    assert read_weights(signed(file, {"format": "pt"})).license is None
    for wrong in ({"license": 1}, {"license": ["mit"]}, [], "mit"):
        assert "not a usable file" in refused(signed(file, wrong)).message


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": 1}))
        archive.writestr("../../outside", "x")
    assert "not a usable file" in refused(tmp_path / "a.pth").message
    assert not (tmp_path.parent.parent / "outside").exists()
