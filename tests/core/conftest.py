"""Folders of tiny images, and the context in which batches are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from erde_cli.core.device import Context

MakeFolder = Callable[..., Path]


@pytest.fixture
def context() -> Context:
    """One thread of the CPU in float32."""
    return Context(torch.device("cpu"), "float32", 1)


@pytest.fixture
def make_images(tmp_path: Path) -> MakeFolder:
    """Make `root/<split>/<class>/<number>.png`, every image another noise."""

    def make(
        counts: dict[str, dict[str, int]], root: str = "images", size: Sequence[int] = (6, 6)
    ) -> Path:
        generator = np.random.default_rng(0)
        for split, classes in counts.items():
            for name, count in classes.items():
                folder = tmp_path / root / split / name
                folder.mkdir(parents=True)
                for number in range(count):
                    pixels = generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{number:03}.png")
        return tmp_path / root

    return make
