"""A recipe that trains heads on a few images of noise."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from erde_cli.core.models.library.networks import library_network

NAME, SIDE, IMAGES = "torchvision/shufflenet_v2_x0_5", 32, 10
CLASSES = ("cat", "dog", "owl")


def write_recipe(folder: Path, root: Path) -> Path:
    """Write a recipe, and first weights that no fresh network has, to a folder; the recipe's path.

    Args:
        folder: to write to.
        root: of the images, with `CLASSES`, of `SIDE` pixels.
    """
    torch.manual_seed(7)
    network, _ = library_network(NAME, 3, 64)
    with torch.no_grad():
        network(torch.randn(4, 3, 64, 64))  # in training mode: the statistics of the norms move
    torch.save(network.state_dict(), folder / "w.pth")
    section = {"backbone": NAME, "weights": "w.pth", "exits": [4, 12], "head": "gap"}
    training = {"train": "heads", "epochs": 2, "batch_size": 8, "precision": "float32"}
    document = {
        "seed": 3,
        "data": {"dataset": "imagefolder", "root": str(root), "image_size": SIDE},
        "teacher": section,
        "student": section,
        "training": {"teacher": training, "student": training},
    }
    path = folder / "mine.yaml"
    path.write_text(json.dumps(document))  # JSON is YAML without aliases
    return path
