"""The page `docs/recipes.md`, made from the schema: `make docs` writes it, a test compares it."""

from __future__ import annotations

import json
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.comparison import (
    REFERENCES,
    STATIC,
    ComparedStudent,
    StudentTraining,
)
from erde_cli.core.recipe.sections.training import Training

SCHEMA_FILE = "recipe.schema.json"  # beside the shipped recipes, whose first lines name it

_HEAD = """\
# Recipes

A recipe is one YAML file that says everything a run depends on. List the shipped ones with
`erde recipes`, copy one with `erde recipes show image-folder > mine.yaml`, change one value for a
run with `--set section.key=value`.

- Unknown keys are refused, all mistakes are told at once. `3e-4` is a number; aliases (`*name`) and
  repeated keys are refused; nothing in a recipe is ever run.
- Editors with a YAML language server check and complete a recipe by its JSON Schema: save it beside
  yours with `erde recipes schema > recipe.schema.json`; the comment at the head names it.
- Which backbones there are, and what they cost: [backbones](backbones.md).
- `data.root` is relative to the recipe; given by `--set` it is relative to where you are.
- The splits depend on the images and `data.split_seed`, not on `seed`.
- `precision: auto` is a fixed rule, never a timing: bfloat16 where the processor has bfloat16
  arithmetic (CUDA from compute capability 8.0; x86 with AVX512-BF16 or AMX), else float32.
  `memory_format: auto` is channels-last on a CPU, and elsewhere with bfloat16 and float16. What
  they came to is written into the run before the first step (`logs/*/context.json`). Parameters,
  losses and the optimiser are float32 either way. Inference is float32 unless `--precision` says
  otherwise.
- `precision: float16` scales the gradients; a step whose gradients overflow is skipped and lowers
  the scale, as the first few do. In distillation the teacher's logits are computed in the student's
  precision.
- `compile: true` compiles the training steps with torch.compile, which needs a C++ compiler and
  takes a minute or so at the start. The dropout masks are drawn in another way, so the trained
  bytes differ from those of `compile: false`; the bundle has the same form.
- What is fastest on your machine, `erde tune RECIPE` measures, and prints what to write here. Only
  what the recipe says is ever used.
- The same seed on the same machine with the same number of threads gives the same bytes.

This page is made from the schema by `make docs`.

| key | type | default | meaning |
|---|---|---|---|
"""


def reference() -> str:
    """Markdown text that describes every key of a recipe."""
    return _HEAD + "".join(_rows(Recipe, ""))


def _rows(model: type[BaseModel], prefix: str) -> list[str]:
    rows: list[str] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            rows += _rows(kind, f"{prefix}{name}.")
            continue
        meaning = (field.description or "").replace("|", "\\|")
        rows.append(f"| `{prefix}{name}` | {_type(kind)} | {_default(field)} | {meaning} |\n")
    return rows


def _type(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " \\| ".join(f"`{value}`" for value in get_args(kind))
    names = {str: "text", int: "whole number", float: "number", bool: "`true` \\| `false`"}
    if kind in names:
        return names[kind]
    if kind is type(None):
        return "`null`"
    if get_origin(kind) is dict:
        return f"mapping of names to {_type(get_args(kind)[1])}s"
    if get_origin(kind) is list:
        return f"list of {_type(get_args(kind)[0])}s"
    if kind is ComparedStudent:
        return "student"
    if hasattr(kind, "__metadata__"):
        return _type(get_args(kind)[0])
    return " or ".join(_type(part) for part in get_args(kind))


def _default(field: FieldInfo) -> str:
    if field.annotation == list[ComparedStudent]:
        return f"`{json.dumps(REFERENCES)}`"
    return "required" if field.default is PydanticUndefined else f"`{json.dumps(field.default)}`"


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a recipe's file.

    It knows every key, type and bound, but not the rules between keys; those are checked when a
    recipe is loaded. `name` is optional in a file, where the file's own name stands in for it.
    """
    schema = Recipe.model_json_schema()
    schema["required"] = [key for key in schema["required"] if key != "name"]
    kinds = schema["$defs"]
    kinds["ComparedStudent"]["properties"]["distillation"] = {"$ref": "#/$defs/Distillation"}
    kinds["StudentTraining"]["properties"]["student"] = {
        "description": StudentTraining.model_fields["student"].description,
        "type": "object",
        "additionalProperties": False,
        "properties": {
            key: {"$ref": f"#/$defs/Training/properties/{key}"} for key in Training.model_fields
        },
    }
    students = kinds["Comparison"]["properties"]["students"]
    students["items"] = {"anyOf": [{"enum": [*REFERENCES, STATIC]}, students["items"]]}
    students["default"] = [*REFERENCES]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "A recipe of erde",
    }
