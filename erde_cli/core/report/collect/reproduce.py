"""How to make a run again: command, recipe, versions, digests. No path of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from erde_cli.core.bundle.document import BundleDocument
from erde_cli.core.data.splits import SPLITS
from erde_cli.core.recipe.schema import ROLES, Recipe
from erde_cli.core.report.document import Fact, Table
from erde_cli.core.storage.json_files import Json


def recipe_text(recipe: Recipe) -> str:
    """The recipe as YAML: the keys that are not at their defaults, and of paths the last part."""
    document = recipe.model_dump(exclude_defaults=True)
    for section, key in (("data", "root"), *((role, "weights") for role in ROLES)):
        value = document.get(section, {}).get(key)
        if value is not None:
            document[section][key] = Path(value).name
    if "comparison" in document:
        listed = without_folders(document["comparison"]["students"])
        students = [one["name"] if len(one) == 1 else one for one in listed]
        document["comparison"]["students"] = students
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)


def without_folders(value: Any) -> Any:
    """Settings of students, with only the last part of absolute paths, such as of weights."""
    if isinstance(value, dict):
        return {name: without_folders(one) for name, one in value.items()}
    if isinstance(value, list):
        return [without_folders(one) for one in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def reproduce(
    documents: Mapping[str, BundleDocument], recipe: Recipe | None, command: str
) -> tuple[Fact, ...]:
    """What one needs to make networks again, and to check that they are the same.

    Args:
        documents: of the networks by name, such as 'student'.
        recipe: of all of them; None: unknown.
        command: of erde, with `{recipe}` where the recipe's file goes.
    """
    facts = []
    if recipe is not None:
        file = f"{recipe.name}.yaml"
        facts += [
            Fact("command", command.format(recipe=file)),
            Fact("recipe", f"{file}: the text below"),
            Fact("seed", str(recipe.seed)),
        ]
        if recipe.data.root is not None:
            facts.append(Fact("images", "the folder that data.root names, as it was then"))
    for document in list(documents.values())[:1]:
        facts += [Fact(f"version of {name}", text) for name, text in document.versions.items()]
        facts.append(Fact("commit of erde", document.git_commit or "not known"))
        facts.append(Fact("digest of images and splits", document.split_fingerprint))
    for name, document in documents.items():
        facts.append(Fact(f"digest of the weights, {name}", document.weights_digest))
        facts += _machine(name, document.training)
    return tuple(facts)


def _machine(name: str, training: Mapping[str, Any]) -> list[Fact]:
    """Device, precision and threads of a training; what else a bundle says is left out."""
    keys = ("device", "precision", "memory_format", "threads")
    said = [f"{key} {training[key]}" for key in keys if isinstance(training.get(key), str | int)]
    return [Fact(f"training, {name}", ", ".join(said))] if said else []


def data_table(data: Json) -> Table:
    """Images by class and split, from the summary in `report.json`."""
    rows = [
        (str(row["class_name"]), *(f"{row[split]:,}" for split in SPLITS))
        for row in data["classes"]
    ]
    totals = (f"{sum(row[split] for row in data['classes']):,}" for split in SPLITS)
    origins = "; ".join(f"{split}: {origin}" for split, origin in data["origins"].items())
    return Table("Images", ("class", *SPLITS), (*rows, ("all", *totals)), origins)
