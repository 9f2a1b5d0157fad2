"""Training on photos that are decoded in every epoch: the same network, also after a stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from erde_cli.core.data import streamed_views
from erde_cli.core.errors import DataError
from erde_cli.core.events import Observer
from erde_cli.core.images.decoding import Decoded
from erde_cli.core.images.decoding_pipe import Request
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.train import Trained, train_teacher

CROP = "data.augmentation={crop: 0, resized_crop: 0.4, trivial_augment: true}"


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode in this process; other processes import torch for seconds."""
    monkeypatch.setattr(streamed_views, "cores", lambda: 1)


def trained(
    recipe: Path, limit: int, run: str, observer: Observer | None = None, resume: bool = False
) -> Trained:
    loaded = load_recipe(
        str(recipe),
        [CROP, f"data.disk_limit={limit}", "data.photo_size=16",
         "training.teacher={epochs: 2, batch_size: 20}"],
    )  # fmt: skip
    options = Options("cpu", observer=observer or Observer(), resume=resume)
    return train_teacher(loaded, recipe.parent / run, options)


def weights(made: Trained) -> bytes:
    return (made.bundle.path / "model.safetensors").read_bytes()


def test_the_network_is_the_same_as_with_photos_that_are_kept(folder_recipe: Path) -> None:
    kept, streamed = (trained(folder_recipe, limit, f"run{limit}") for limit in (1, 0))
    assert weights(streamed) == weights(kept)
    documents = [made.bundle.document for made in (kept, streamed)]
    assert documents[0].inputs_digest == documents[1].inputs_digest
    assert documents[0].trained_on == documents[1].trained_on
    assert documents[0].normalisation == documents[1].normalisation


def test_a_training_goes_on_when_a_lost_file_is_back(
    folder_recipe: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(folder_recipe, 1, "whole")
    light = folder / "train/light"
    real, batches = streamed_views._views, iter(range(99))

    def remove_and_decode(request: Request) -> Decoded:
        if next(batches) == 3:  # the second batch of the second epoch
            light.rename(light.with_name("away"))
        return real(request)

    monkeypatch.setattr(streamed_views, "_views", remove_and_decode)
    with pytest.raises(DataError, match=f"Cannot open {light}"):
        trained(folder_recipe, 0, "run")
    assert not (folder_recipe.parent / "run/teacher").exists()
    light.with_name("away").rename(light)
    notes: list[str] = []
    observer = Observer()
    observer.note = notes.append  # type: ignore[method-assign]
    again = trained(folder_recipe, 1, "run", observer, resume=True)  # with photos that are kept
    assert "continuing in epoch 2, after step 3 of the training" in notes
    assert weights(again) == weights(whole)
