"""Keys of the caches by view: what else than the images and the network decides their values."""

import numpy as np
import pytest
import torch

from erde_cli.core import provenance
from erde_cli.core.data.augmentation import AugmentationPlan
from erde_cli.core.data.batches import Batches
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.store import ImageStore
from erde_cli.core.data.views import StoreViews
from erde_cli.core.device import Context
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.training import view_cache
from erde_cli.core.workflows.view_caches import context_key, pixels_key

CONTEXT = Context(torch.device("cpu"), "float32", 1)


def batches_of(side: int) -> Batches:
    images = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    store = ImageStore(images, torch.arange(2), np.arange(2))
    plan = AugmentationPlan(crop=0, flip=False, cutout=0)
    pixels = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    return Batches(StoreViews(store, plan), pixels, 2, 1, CONTEXT)


@pytest.mark.parametrize(("side", "differ"), [(64, False), (65, True)])
def test_the_batch_in_which_photos_are_computed_is_part_of_the_key(
    side: int, differ: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other batches can give other bits: a run that goes on with them would mix both."""
    before = context_key(CONTEXT, batches_of(side))
    monkeypatch.setattr(view_cache, "images_at_once", lambda side, device: 3)
    assert (context_key(CONTEXT, batches_of(side)) != before) == differ


@pytest.mark.parametrize(
    ("augmentation", "differ"),
    [
        ("{crop: 2}", False),
        ("{crop: 0, resized_crop: 0.4}", True),
        ("{crop: 0, trivial_augment: true}", True),
    ],
)
def test_the_version_of_torchvision_is_part_of_the_key_of_views_that_it_makes(
    augmentation: str, differ: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = ["data.root=x", f"data.augmentation={augmentation}"]
    recipe, batches = load_recipe("image-folder", sets), batches_of(8)
    before = pixels_key(recipe, "student", batches, 1)
    installed = provenance.version
    monkeypatch.setattr(
        provenance, "version", lambda name: "0" if name == "torchvision" else installed(name)
    )
    assert (pixels_key(recipe, "student", batches, 1) != before) == differ
