"""Files of weights in torch's hub folder, as torchvision would have downloaded them."""

from pathlib import Path
from typing import NoReturn

import pytest
import torch

from erde_cli.core.platform.torchvision_import import torchvision_models
from erde_cli.core.storage.files import digest_of_file


def no_connection(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make `folder` torch's hub folder, and every download an error; the folder of its files."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(folder))

    def refused(*_: object, **__: object) -> NoReturn:
        raise OSError("no connection")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refused)
    return folder / "checkpoints"


def place_weights(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Put random weights of torchvision's networks into torch's hub folder, as published ones.

    Args:
        folder: becomes torch's hub folder.
        monkeypatch: undoes everything.
        names: such as "resnet18".
    """
    checkpoints = no_connection(folder, monkeypatch)
    checkpoints.mkdir(parents=True, exist_ok=True)
    for name in names:
        torch.manual_seed(1)
        made = checkpoints / "made.pth"
        torch.save(torchvision_models().get_model(name).state_dict(), made)
        file = made.rename(checkpoints / f"{name}-{digest_of_file(made)[:8]}.pth")
        weights = torchvision_models().get_model_weights(name).DEFAULT
        kind, url = type(weights.value), f"https://example.org/{file.name}"
        monkeypatch.setattr(weights, "_value_", kind(url, weights.transforms, weights.meta))
