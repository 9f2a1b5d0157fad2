"""Trainings that fill a cache of views; each function is run in every process."""

from __future__ import annotations

from pathlib import Path

from erde_cli.core.events import Observer
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.train import distill, train_teacher
from tests.core.processes.training import engine_of_this_process


class _Computed(Observer):
    """Names of the views that this process has computed."""

    def __init__(self) -> None:
        self.views: list[str] = []

    def progress(self, title: str, done: int, total: int) -> None:
        if done == total and ", view " in title:
            self.views.append(title)


def _new(folder: str) -> Path:
    """A run folder that no training has used."""
    return next(path for n in range(9) if not (path := Path(folder) / f"run{n}").exists())


def logits(folder: str, recipe: str, teacher: str) -> list[str]:
    """Distill a student from kept logits; names of the views that this process has computed."""
    seen = _Computed()
    options = Options("cpu", 1, seen, engine=engine_of_this_process())
    settings = ["distillation.teacher_cache.views=3"]
    distill(load_recipe(recipe, settings), _new(folder), Path(teacher), options)
    return seen.views


def features(folder: str, recipe: str) -> list[str]:
    """Train heads on kept features; names of the views that this process has computed."""
    seen = _Computed()
    options = Options("cpu", 1, seen, engine=engine_of_this_process())
    settings = ["training.teacher.views=3", "training.teacher.epochs=3"]
    train_teacher(load_recipe(recipe, settings), _new(folder), options)
    return seen.views
