"""Views that are computed once: each process computes its share, and all read them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.core.conftest import MakeFolder
from tests.core.processes.filling import features, logits
from tests.core.workflows.noise import CLASSES, IMAGES, SIDE, write_recipe
from tests.ranks import results


def _views(cache: Path) -> dict[str, bytes]:
    return {str(path.relative_to(cache)): path.read_bytes() for path in cache.rglob("view-*.npy")}


def _filled(
    folder: Path, world_size: int, task: Callable[..., Any], recipe: Path, *others: Path
) -> tuple[dict[str, bytes], list[list[str]]]:
    """Files of a new cache, and the views that each process has computed."""
    given, cache = (str(recipe), *map(str, others)), folder / "cache"

    def train() -> list[list[str]]:
        ranks = folder / "ranks"
        return results(ranks, world_size, task, str(folder), *given, ERDE_CACHE=str(cache))

    computed = train()
    made = _views(cache)
    assert train() == [[]] * world_size
    assert _views(cache) == made
    return made, computed


@pytest.fixture
def recipe_on_noise(make_images: MakeFolder, tmp_path: Path) -> Path:
    counts = dict.fromkeys(CLASSES, IMAGES)
    root = make_images({"train": counts, "test": counts}, size=(SIDE, SIDE))
    return write_recipe(tmp_path, root)


def test_the_teachers_logits_are_those_of_one_process(
    tiny_recipe: Path, finished_run: Path, tmp_path: Path
) -> None:
    teacher = finished_run / "teacher"
    alone, _ = _filled(tmp_path / "1", 1, logits, tiny_recipe, teacher)
    shared, computed = _filled(tmp_path / "2", 2, logits, tiny_recipe, teacher)
    title = "Teacher's logits, view"
    assert computed == [[f"{title} 1", f"{title} 3"], [f"{title} 2"]]
    assert len(alone) == 3
    assert shared == alone


def test_features_are_those_of_one_process(recipe_on_noise: Path, tmp_path: Path) -> None:
    alone, _ = _filled(tmp_path / "1", 1, features, recipe_on_noise)
    shared, computed = _filled(tmp_path / "2", 2, features, recipe_on_noise)
    title = "Features, view"
    assert computed == [[f"{title} 1", f"{title} 3"], [f"{title} 2"]]
    assert len(alone) == 3
    assert shared == alone
