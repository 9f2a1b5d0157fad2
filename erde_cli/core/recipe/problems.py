"""Validation errors of a recipe as messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from erde_cli.core.errors import Problem
from erde_cli.core.recipe.schema import Recipe

Overrides = dict[str, Any]  # values of --set and --seed, by dotted key

COMMAND_LINE = "command line"
_RULES = {  # replace the messages of pydantic
    "missing": "is required",
    "model_type": "must be a section with keys",
    "string_pattern_mismatch": "must consist of letters, digits, _, - and dots, and start with a "
    "letter, digit or _",
}
_LABEL_MIXING = ("mixup", "cutmix", "label_mixing", "mixup_alpha", "cutmix_alpha")
_NO_MIXING = (
    "is not supported: if labels are mixed, it is undefined whether the teacher is right; erde "
    "supports crop, flip and cutout"
)


def problems_of(error: ValidationError, file: str, overrides: Overrides) -> list[Problem]:
    """One problem for each wrong key, with the file or the command line as its origin."""
    problems: dict[str, Problem] = {}
    for item in error.errors():
        rules = item.get("ctx", {}).get("rules", [("", "")])
        for key, rule in rules:
            path = _dotted(item["loc"], key)
            problem = _problem(item, path, _origin(path, file, overrides), key, rule)
            problems.setdefault(path, problem)
    return list(problems.values())


def _dotted(location: Sequence[str | int], key: str | None) -> str:
    """Path in the recipe, without the branches of unions in pydantic's location."""
    parts: list[str] = []
    model: type[BaseModel] | None = Recipe
    for part in location:
        if isinstance(part, int):  # of a list, whose model is that of its items
            pass
        elif model is not None:
            field = model.model_fields.get(str(part))
            model = _section(field.annotation) if field is not None else None
        else:
            continue
        parts.append(str(part))
    return ".".join(parts + ([key] if key else []))


def _section(annotation: Any) -> type[BaseModel] | None:
    if get_origin(annotation) is list:
        annotation = get_args(annotation)[0]
    is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_section else None


def _origin(path: str, file: str, overrides: Overrides) -> str:
    for dotted in overrides:
        if path == dotted or path.startswith(f"{dotted}.") or dotted.startswith(f"{path}."):
            return COMMAND_LINE
    section = path.split(".")[0]
    changed = any(dotted.split(".")[0] == section for dotted in overrides)
    return f"{file}, changed on the {COMMAND_LINE}" if changed else file


def _problem(item: Mapping[str, Any], path: str, origin: str, key: str, rule: str) -> Problem:
    kind, value = item["type"], item["input"]
    value = _value_at(value, key) if key else value
    shown = "" if isinstance(value, dict | BaseModel) else shortened(value)
    if kind in _RULES:
        return Problem(origin, path, "" if kind == "missing" else shortened(value), _RULES[kind])
    if kind == "extra_forbidden":
        mixes_labels = path.rpartition(".")[2] in _LABEL_MIXING
        known = _NO_MIXING if mixes_labels else ""
        nearest = "" if known else _nearest_path(path)
        return Problem(origin, path, shown, known or "unknown key", nearest)
    if kind == "literal_error":
        expected = item["ctx"]["expected"].replace(" or ", ",")
        allowed = [text.strip(" '") for text in expected.split(",")]
        near = get_close_matches(str(value), allowed, n=1)
        rule = f"must be {' or '.join(allowed)}"
        return Problem(origin, path, shown, rule, near[0] if near else "")
    message = rule or item["msg"].replace("Input should", "must")
    return Problem(origin, path, shown, message[:1].lower() + message[1:])


def _value_at(value: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
    return value


def shortened(value: Any) -> str:
    """A value as messages show it, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _nearest_path(path: str) -> str:
    section, _, key = path.rpartition(".")
    paths = _all_paths(Recipe)
    siblings = {p.rpartition(".")[2]: p for p in paths if p.rpartition(".")[0] == section}
    near = get_close_matches(key, list(siblings), n=1)
    if near:
        return siblings[near[0]]
    elsewhere = [p for p in paths if p.rpartition(".")[2] == key]
    return next(iter(elsewhere or get_close_matches(path, paths, n=1, cutoff=0.5)), "")


def _all_paths(model: type[BaseModel], prefix: str = "") -> list[str]:
    paths = []
    for name, field in model.model_fields.items():
        paths.append(f"{prefix}{name}")
        section = _section(field.annotation)
        if section is not None:
            paths += _all_paths(section, f"{prefix}{name}.")
    return paths
