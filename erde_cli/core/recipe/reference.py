"""The page `docs/recipes.md` and the JSON Schema of a recipe. `make docs` writes both files."""

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

_HEAD = """\
# Recipes

A recipe is one YAML file with all settings of a run. List the shipped recipes with `erde recipes`,
copy one with `erde recipes show image-folder > mine.yaml`, and change a value for one run with
`--set section.key=value`.

- All errors are reported at once. Unknown keys, repeated keys and aliases (`*name`) are refused.
  `3e-4` is a number. A recipe cannot run code.
- Editors with a YAML language server check and complete a recipe by its JSON Schema. Save the
  schema next to your recipe with `erde recipes schema > recipe.schema.json`. The
  `yaml-language-server` comment of a shipped recipe refers to it.
- [Backbones](backbones.md) lists the families and their cost. [Pretrained networks](pretrained.md)
  start from existing weights.
- `data.root` is relative to the recipe. A root from `--set` is relative to the current folder.
- The splits depend on the images and `data.split_seed`, not on `seed`.
- `precision: auto` is a fixed rule, never a timing: bfloat16 if the processor has bfloat16
  arithmetic (CUDA from compute capability 8.0; x86 with AVX512-BF16 or AMX), else float32.
  `memory_format: auto` is channels-last on a CPU, and on other devices with bfloat16 and float16.
  The run stores the resulting values before the first step (`logs/*/context.json`). Parameters,
  losses and the optimiser are always float32. Inference is float32 unless `--precision` is given.
- `precision: float16` scales the gradients. A step whose gradients overflow is skipped and lowers
  the scale; this is normal for the first few steps. Distillation computes the teacher's logits in
  the student's precision.
- `compile: true` compiles the training steps with torch.compile, which needs a C++ compiler and
  takes about a minute at the start. The trained weights differ from those of `compile: false`,
  because the dropout masks are drawn differently. The format of the bundle is the same.
- `erde tune RECIPE` measures what is fastest on your machine and prints the values to set. Training
  uses only the values in the recipe.
- The same seed on the same machine with the same number of threads gives the same bytes.

`make docs` generates this page from the schema.

| key | type | default | meaning |
|---|---|---|---|
"""


def reference() -> str:
    """Markdown page that describes every key of a recipe."""
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

    It has every key, type and bound, but not the rules between keys. Those are checked when a
    recipe is loaded. A file can omit `name`; the name of the file is the default.
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
