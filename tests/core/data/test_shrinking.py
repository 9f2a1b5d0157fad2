"""Smaller copies of views: as Pillow resizes files, and each of its own image alone."""

import numpy as np
import pytest
import torch
from PIL import Image

from erde_cli.core.data.shrinking import _in_floats, shrunk
from erde_cli.core.data.sources import to_array

SIZES = [(16, 12), (32, 24), (32, 8), (33, 20), (57, 40)]


def noise(side: int, count: int = 9) -> torch.Tensor:
    generator = torch.Generator().manual_seed(side)
    return torch.randint(256, (count, side, side, 3), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize(("side", "smaller"), SIZES)
def test_copies_are_those_of_a_file_that_is_resized(side: int, smaller: int) -> None:
    images = noise(side)
    found = shrunk(images, smaller)
    assert found.dtype == torch.uint8
    assert found.is_contiguous()
    files = np.stack([to_array(Image.fromarray(one), smaller) for one in images.numpy()])
    difference = np.abs(found.numpy().astype(int) - files)
    assert difference.max() <= 2  # both round the weights of the filter
    assert difference.mean() < 0.1


@pytest.mark.parametrize(("side", "smaller"), SIZES)
def test_a_copy_does_not_depend_on_the_batch(side: int, smaller: int) -> None:
    images = noise(side)
    together = shrunk(images, smaller)
    for size in (1, 2, 5):
        parts = [shrunk(part.clone(), smaller) for part in images.split(size)]
        assert torch.equal(torch.cat(parts), together)


@pytest.mark.parametrize(("side", "smaller"), SIZES)
def test_an_accelerator_gives_nearly_the_same_copies(side: int, smaller: int) -> None:
    images = noise(side)
    found = _in_floats(images.permute(0, 3, 1, 2), smaller).permute(0, 2, 3, 1)
    assert found.dtype == torch.uint8
    difference = (found.int() - shrunk(images, smaller).int()).abs()
    assert int(difference.max()) <= 2
    assert float(difference.float().mean()) < 0.1  # 0.17 with halves rounded to even
