"""The JSON Schema of a recipe, by which editors check and complete one."""

from __future__ import annotations

from typing import Any

from erde_cli.core.recipe.schema import Recipe

SCHEMA_FILE = "recipe.schema.json"  # beside the shipped recipes, whose first lines name it


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a recipe's file.

    It knows every key, type and bound, but not the rules between keys; those are checked when a
    recipe is loaded. `name` is optional in a file, where the file's own name stands in for it.
    """
    schema = Recipe.model_json_schema()
    schema["required"] = [key for key in schema["required"] if key != "name"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "A recipe of erde",
    }
