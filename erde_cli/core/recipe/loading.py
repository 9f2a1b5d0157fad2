"""From a file, `--set` and `--seed` to one validated `Recipe`, or to every mistake at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from erde_cli.core.errors import InputError, Problem, RecipeError
from erde_cli.core.recipe.schema import Recipe, pairing_rules
from erde_cli.core.recipe.sections.calibration import OF_RISK, TARGETS
from erde_cli.core.recipe.sections.distillation import Distillation
from erde_cli.core.recipe.sections.network import Network
from erde_cli.core.recipe.shipped import shipped_recipe
from erde_cli.core.recipe.yaml_text import parse_yaml

Overrides = dict[str, Any]

_LARGEST = 4_000_000  # bytes; enough to see that a text has too many characters
_COMMAND_LINE = "command line"
_LABEL_MIXING = ("mixup", "cutmix", "label_mixing", "mixup_alpha", "cutmix_alpha")
_NO_MIXING = (
    "mixes the labels of images, so whether the teacher is right on one is not defined: erde has "
    "crop, flip and cutout"
)


def load_recipe(
    reference: str,
    overrides: Sequence[str] = (),
    *,
    seed: int | None = None,
    teacher: Mapping[str, Any] | None = None,
) -> Recipe:
    """Read a recipe from a path or by the name of a shipped one.

    Args:
        reference: path of a YAML file, or a name that `erde recipes` lists.
        overrides: `section.key=value` texts, merged before the one validation.
        seed: takes the place of the recipe's seed.
        teacher: takes the place of the recipe's teacher section.

    Raises:
        RecipeError: everything that is wrong with the file and the overrides, at once.
        InputError: there is no such recipe.
    """
    path = _find(reference)
    try:
        with path.open("rb") as handle:  # a giant is told by its beginning
            text = handle.read(_LARGEST).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"Cannot read the recipe {path}: {error}.",
            expected="a text in UTF-8",
            hint="see one with: erde recipes show digits",
        ) from error
    document = parse_yaml(text, str(path))
    if not isinstance(document, dict):
        got = "nothing" if document is None else type(document).__name__
        rule = f"a recipe is a mapping of sections, got {got}"
        hint = "see one with: erde recipes show digits"
        raise RecipeError([Problem(str(path), "", "", rule)], hint=hint)
    document.setdefault("name", _name_of(path))
    data = document.get("data")
    if isinstance(data, dict) and isinstance(data.get("root"), str):
        data["root"] = _absolute(data["root"], path.parent, str(path))
    if teacher is not None:
        document["teacher"] = dict(teacher)
    given = parse_overrides(overrides)
    if isinstance(given.get("data.root"), str):
        given["data.root"] = _absolute(given["data.root"], Path.cwd(), _COMMAND_LINE)
    if seed is not None:
        given["seed"] = seed
    _drop_other_targets(document, given)
    for dotted, value in given.items():
        _merge(document, dotted, value)
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        problems = _problems(error, str(path), given)
        raise RecipeError(problems + _hidden_rules(document, problems, str(path))) from None


def parse_overrides(texts: Sequence[str]) -> Overrides:
    """Read `section.key=value` texts; the values are YAML.

    Raises:
        RecipeError: a text has no `=` or no key.
    """
    overrides: Overrides = {}
    problems: list[Problem] = []
    for text in texts:
        dotted, equals, value = text.partition("=")
        if not equals or not all(dotted.strip().split(".")):
            problems.append(Problem("--set", text, "", "expected section.key=value"))
            continue
        try:
            overrides[dotted.strip()] = parse_yaml(value, f"--set {dotted.strip()}")
        except RecipeError as error:
            problems += error.problems
    if problems:
        raise RecipeError(problems)
    return overrides


def differences(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> list[str]:
    """Say in which keys two recipes (as plain mappings) differ, one line each."""
    lines = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        dotted = f"{path}{key}"
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += differences(before, after, f"{dotted}.")
        elif before != after:
            lines.append(f"{dotted}: {before} there, {after} here")
    return lines


def _find(reference: str) -> Path:
    got = "neither a file nor the name of a shipped recipe"
    try:
        path = Path(reference).expanduser()
        if path.is_file():
            return path
        got = "a folder" if path.is_dir() else got
    except (OSError, RuntimeError, ValueError):  # too long, no such user, a null character
        pass
    return shipped_recipe(reference, got).path


def _name_of(path: Path) -> str:
    """Name of a run, from the recipe's file name."""
    return re.sub(r"[^\w.-]+", "-", path.stem).strip("-.")[:100] or "recipe"


def _absolute(root: str, base: Path, file: str) -> str:
    try:
        return str((base / Path(root).expanduser()).resolve())
    except (OSError, RuntimeError, ValueError) as error:
        problem = Problem(file, "data.root", _shorten(root), f"is no usable path ({error})")
        raise RecipeError([problem]) from error


def _drop_other_targets(document: dict[str, Any], overrides: Overrides) -> None:
    """A target on the command line takes the place of the recipe's, whichever that is."""
    section = document.get("calibration")
    if isinstance(section, dict) and any(f"calibration.{name}" in overrides for name in TARGETS):
        for name in (*TARGETS, *OF_RISK):
            section.pop(name, None)


def _merge(document: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, key = dotted.split(".")
    for section in sections:
        inner = document.get(section)
        if not isinstance(inner, dict):
            inner = document[section] = {}
        document = inner
    document[key] = value


def _problems(error: ValidationError, file: str, overrides: Overrides) -> list[Problem]:
    problems: dict[str, Problem] = {}
    for item in error.errors():
        rules = item.get("ctx", {}).get("rules", [("", "")])
        for key, rule in rules:
            path = _dotted(item["loc"], key)
            problem = _problem(item, path, _origin(path, file, overrides), key, rule)
            problems.setdefault(path, problem)
    return list(problems.values())


def _hidden_rules(document: dict[str, Any], found: list[Problem], file: str) -> list[Problem]:
    """Rules between sections, which pydantic does not reach while a section has a mistake."""
    try:
        rules = pairing_rules(
            Network.model_validate(document.get("teacher")),
            Network.model_validate(document.get("student")),
            Distillation.model_validate(document.get("distillation", {})),
        )
    except ValidationError:
        return []
    told = {problem.path for problem in found}
    return [Problem(file, path, "", rule) for path, rule in rules if path not in told]


def _dotted(location: Sequence[str | int], key: str | None) -> str:
    """Path in the recipe; pydantic's location also names the branches of unions it tried."""
    parts: list[str] = []
    model: type[BaseModel] | None = Recipe
    for part in location:
        if model is not None:
            field = model.model_fields.get(str(part))
            model = _section(field.annotation) if field is not None else None
        elif not isinstance(part, int):
            continue
        parts.append(str(part))
    return ".".join(parts + ([key] if key else []))


def _section(annotation: Any) -> type[BaseModel] | None:
    is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_section else None


def _origin(path: str, file: str, overrides: Overrides) -> str:
    for dotted in overrides:
        if path == dotted or path.startswith(f"{dotted}.") or dotted.startswith(f"{path}."):
            return _COMMAND_LINE
    section = path.split(".")[0]
    changed = any(dotted.split(".")[0] == section for dotted in overrides)
    return f"{file}, changed on the {_COMMAND_LINE}" if changed else file


def _problem(item: Mapping[str, Any], path: str, origin: str, key: str, rule: str) -> Problem:
    kind, value = item["type"], item["input"]
    value = _value_at(value, key) if key else value
    shown = "" if isinstance(value, dict | BaseModel) else _shorten(value)
    if kind == "missing":
        return Problem(origin, path, "", "is required")
    if kind == "extra_forbidden" and path.rpartition(".")[2] in _LABEL_MIXING:
        return Problem(origin, path, shown, _NO_MIXING)
    if kind == "extra_forbidden":
        return Problem(origin, path, shown, "no such key", _nearest_path(path))
    if kind == "literal_error":
        expected = item["ctx"]["expected"].replace(" or ", ",")
        allowed = [text.strip(" '") for text in expected.split(",")]
        near = get_close_matches(str(value), allowed, n=1)
        rule = f"must be {' or '.join(allowed)}"
        return Problem(origin, path, shown, rule, near[0] if near else "")
    message = rule or item["msg"]
    return Problem(origin, path, shown, message[:1].lower() + message[1:])


def _value_at(value: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
    return value


def _shorten(value: Any) -> str:
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
