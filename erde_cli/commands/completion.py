"""Shell completion: shipped recipes, bundles below `runs/`, data sets.

It runs at every TAB, so it imports neither torch nor pydantic. zsh evaluates its output, so only
names of plain characters are offered. If no name matches, shells complete files.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_RECIPES = (_PACKAGE / "recipes", _PACKAGE.parent / "recipes")  # wheel, checkout
_DATASETS = ("cifar10", "cifar100", "svhn")
_RUNS = "runs"
_DEPTH = 4  # below runs/; the students of a comparison are runs/NAME/seed-1/METHOD/student
_PLAIN = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]*")


def recipe_names() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(path.stem for folder in _RECIPES for path in folder.glob("*.yaml"))


def dataset_names() -> list[str]:
    """Names of the data sets that can be downloaded."""
    return list(_DATASETS)


def bundle_paths(incomplete: str) -> list[str]:
    """Paths of the bundles below `runs/`; only folders that match the typed text are opened."""
    bundles = []
    for folder, inside, files in os.walk(_RUNS, followlinks=True):
        if "bundle.json" in files:
            bundles.append(folder)
        if "bundle.json" in files or folder.count("/") == _DEPTH:
            inside.clear()
        inside[:] = [name for name in inside if _leads_to(incomplete, f"{folder}/{name}", name)]
    return sorted(bundles)


def _leads_to(typed: str, path: str, name: str) -> bool:
    on_the_way = path.startswith(typed) or typed.startswith(f"{path}/")
    return on_the_way and _PLAIN.fullmatch(name) is not None
