"""First weights of a library's network: what is taken, and which files are refused."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from erde_cli.core.errors import DownloadError, InputError
from erde_cli.core.models.architecture import build_model, resolve_architecture
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.library.networks import library_network
from erde_cli.core.models.library.weights import FirstWeights, load_first_weights
from erde_cli.core.platform.torchvision_import import torchvision_models
from erde_cli.core.recipe.sections.network import Network
from tests.security.conftest import Payload

NAME = "torchvision/shufflenet_v2_x0_5"
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
State = dict[str, Tensor]


def original(classes: int | None = None) -> nn.Module:
    """The library's network with other weights and statistics than any fresh one."""
    torch.manual_seed(7)
    network, _ = library_network(NAME, classes, 64)
    with torch.no_grad():
        network(IMAGES)  # in training mode: the statistics of the norms move
    return network.eval()


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return original()


@pytest.fixture
def state(network: nn.Module) -> State:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def loaded(file: Path | None, **keys: Any) -> tuple[EarlyExitNet, FirstWeights]:
    given: dict[str, Any] = {"weights": str(file)} if file else {"pretrained": True}
    section = Network.model_validate({"backbone": NAME, "exits": 3, **given, **keys})
    architecture = resolve_architecture(section, 5, 64)
    model = build_model(architecture)
    return model.eval(), load_first_weights(model, architecture, section)


def features(model: EarlyExitNet) -> Tensor:
    """Of the last block."""
    with torch.no_grad():
        return nn.Sequential(*model.stages)(IMAGES)


def expected(network: Any) -> Tensor:
    with torch.no_grad():
        stem = network.maxpool(network.conv1(IMAGES))
        return network.conv5(network.stage4(network.stage3(network.stage2(stem))))  # type: ignore[no-any-return]


def pth(state: State, path: Path) -> None:
    torch.save(state, path)


def nested(state: State, path: Path) -> None:
    torch.save({"state_dict": state, "epoch": 3}, path)


def old_format(state: State, path: Path) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize(
    ("write", "name"),
    [(save_file, "a.safetensors"), (pth, "a.pth"), (nested, "a.tar"), (old_format, "a.pt")],
)
def test_the_backbone_computes_what_the_librarys_network_does(
    write: Callable[[State, Path], None], name: str, network: nn.Module, state: State,
    tmp_path: Path,
) -> None:  # fmt: skip
    write(state, tmp_path / name)
    model, first = loaded(tmp_path / name)
    assert torch.equal(features(model), expected(network))
    assert (first.source, first.tensors) == (name, len(state) - 2)
    assert model.heads[-1](features(model)).shape == (2, 5)


def test_the_last_layer_and_the_early_heads_stay_new(state: State, tmp_path: Path) -> None:
    save_file(state, tmp_path / "a.safetensors")
    section = Network(backbone=NAME, exits=3, weights=str(tmp_path / "a.safetensors"))
    fresh = build_model(resolve_architecture(section, 5, 64))
    model, _ = loaded(tmp_path / "a.safetensors")
    for ours, theirs in zip(model.heads.parameters(), fresh.heads.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.equal(next(model.stages.parameters()), next(fresh.stages.parameters()))


def test_other_names_in_the_same_order_are_taken_where_the_recipe_says_so(
    network: nn.Module, state: State, tmp_path: Path
) -> None:
    torch.save({f"layer{i}": one for i, one in enumerate(state.values())}, tmp_path / "a.pth")
    model, _ = loaded(tmp_path / "a.pth", match="order")
    assert torch.equal(features(model), expected(network))
    with pytest.raises(InputError, match="are not those of torchvision/shufflenet") as caught:
        loaded(tmp_path / "a.pth")
    assert "match: order" in caught.value.hint
    torch.save({"a": torch.zeros(3)}, tmp_path / "few.pth")
    with pytest.raises(InputError, match="number of tensors"):
        loaded(tmp_path / "few.pth", match="order")


def without_one(state: State) -> None:
    del state["conv5.0.weight"]


def with_another(state: State) -> None:
    state["extra"] = torch.zeros(2)


def reshaped(state: State) -> None:
    state["conv1.0.weight"] = torch.zeros(24, 3, 5, 5)


def not_a_number(state: State) -> None:
    state["conv1.0.weight"][0, 0, 0, 0] = float("nan")


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (without_one, "1 missing: conv5.0.weight"),
        (with_another, "1 unexpected: extra"),
        (reshaped, "1 of another shape: conv1.0.weight [24, 3, 5, 5] instead of [24, 3, 3, 3]"),
        (not_a_number, "not finite"),
    ],
)
def test_weights_of_another_network_are_refused_by_their_tensors(
    change: Callable[[State], None], got: str, state: State, tmp_path: Path
) -> None:
    change(state)
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(InputError) as caught:
        loaded(tmp_path / "a.safetensors")
    assert got in caught.value.got


def test_half_precision_is_read_as_float32(state: State, tmp_path: Path) -> None:
    halves = {name: t.half() if t.is_floating_point() else t for name, t in state.items()}
    save_file(halves, tmp_path / "a.safetensors")
    model, _ = loaded(tmp_path / "a.safetensors")
    assert {one.dtype for one in model.parameters()} == {torch.float32}


def test_a_file_with_code_is_refused_and_nothing_of_it_runs(tmp_path: Path) -> None:
    marker = tmp_path / "owned"
    torch.save({"a": Payload(marker)}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps({"a": Payload(marker)}))
    for name in ("a.pth", "b.pth"):
        with pytest.raises(InputError, match="not a usable file of weights") as caught:
            loaded(tmp_path / name)
        assert "weights_only" not in str(caught.value)
    assert not marker.exists()


def test_what_is_no_file_of_weights_is_refused(state: State, tmp_path: Path) -> None:
    pth(state, tmp_path / "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    for name, damaged in (
        ("half.pth", content[: len(content) // 2]), ("half.safetensors", content[:1000]),
        ("empty.pth", b""), ("text.pth", b"weights"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(InputError, match="not a usable file of weights"):
            loaded(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="not a usable file"):
        loaded(tmp_path / "list.pth")
    with pytest.raises(InputError, match="does not exist"):
        loaded(tmp_path / "nowhere.pth")


def test_an_archive_with_compressed_parts_is_refused(state: State, tmp_path: Path) -> None:
    pth(state, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as plain,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    with pytest.raises(InputError) as caught:
        loaded(tmp_path / "b.pth")
    assert caught.value.got == "its parts are compressed"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch's hub folder; a connection is an error."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def refused(*_: object, **__: object) -> None:
        raise OSError("no connection")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refused)
    return tmp_path / "checkpoints"


def test_the_librarys_own_weights_are_taken_from_torchs_hub_folder(
    hub: Path, network: nn.Module, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.mkdir()
    pth(state, hub / "made.pth")
    from erde_cli.core.storage.files import digest_of_file

    digest = digest_of_file(hub / "made.pth")
    file = hub / f"shufflenet-{digest[:8]}.pth"
    (hub / "made.pth").rename(file)
    weights = torchvision_models().get_model_weights("shufflenet_v2_x0_5").DEFAULT
    meta = {"license": "bsd-3-clause", "categories": ["cat", "dog"]}
    published = type(weights.value)(f"https://example.org/{file.name}", weights.transforms, meta)
    monkeypatch.setattr(weights, "_value_", published)
    model, first = loaded(None)
    assert torch.equal(features(model), expected(network))
    assert first.sha256 == digest
    assert first.source.startswith("torchvision ShuffleNet_V2_X0_5_Weights")
    assert (first.license, first.classes) == ("bsd-3-clause", ("cat", "dog"))
    assert first.to_json() == {
        "source": first.source, "sha256": digest, "tensors": len(state) - 2,
        "license": "bsd-3-clause",
    }  # fmt: skip
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(InputError, match="is not the published file"):
        loaded(None)


def test_without_a_connection_the_file_and_its_folder_are_named(hub: Path) -> None:
    with pytest.raises(DownloadError, match="no connection") as caught:
        loaded(None)
    assert str(hub / "shufflenetv2_x0.5-f707e7126e.pth") in caught.value.hint
    assert "https://download.pytorch.org/models/" in caught.value.hint
