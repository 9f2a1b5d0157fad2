"""Load a recipe from a file, `--set` and `--seed`, and report all its mistakes at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from pydantic import ValidationError

from erde_cli.core.errors import InputError, Problem, RecipeError
from erde_cli.core.recipe.packages import entry_point_of, package_of
from erde_cli.core.recipe.problems import COMMAND_LINE, Overrides, problems_of, shortened
from erde_cli.core.recipe.schema import ROLES, Recipe, pairing_rules
from erde_cli.core.recipe.sections.calibration import OF_RISK
from erde_cli.core.recipe.sections.distillation import Distillation
from erde_cli.core.recipe.sections.network import Network
from erde_cli.core.recipe.shipped import shipped_recipe, shipped_recipes
from erde_cli.core.recipe.yaml_text import LARGEST_TEXT, encoding_of, parse_yaml
from erde_cli.core.thresholds.targets import TARGETS

_PARTS = ("train", "views", "stage_rates", "heads_first")  # keys that need first weights
_PATHS = {  # keys that hold a path, with what it leads to
    "data.root": "the folder of the images",
    "teacher.weights": "a file of weights",
    "student.weights": "a file of weights",
}


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
        overrides: texts such as `section.key=value`, merged before validation.
        seed: replaces the seed of the recipe.
        teacher: replaces the section `teacher`.

    Raises:
        RecipeError: the file or an override is wrong; it lists all mistakes.
        InputError: the recipe does not exist or cannot be read.
    """
    path = _find(reference)
    return _recipe(_document(path), path, overrides, seed, teacher)


def recipe_from(
    text: str, path: Path, overrides: Sequence[str] = (), *, seed: int | None = None
) -> Recipe:
    """Read a recipe from a text, as if the text were the file at `path`.

    Raises:
        RecipeError: as `load_recipe`.
    """
    return _recipe(parse_yaml(text, str(path)), path, overrides, seed, None)


def _recipe(
    document: dict[str, Any],
    path: Path,
    overrides: Sequence[str],
    seed: int | None,
    teacher: Mapping[str, Any] | None,
) -> Recipe:
    document.setdefault("name", name_of(path.stem))
    _resolve_paths(document, path.parent, str(path))
    if teacher is not None:
        document["teacher"] = dict(teacher)
        _drop_parts(document)
    given = parse_overrides(overrides)
    for dotted, value in given.items():
        if dotted in _PATHS and isinstance(value, str):
            given[dotted] = _absolute(dotted, value, Path.cwd(), COMMAND_LINE)
    _resolve_paths(given, Path.cwd(), COMMAND_LINE)
    if seed is not None:
        _refuse_another_seed(given, seed)
        given["seed"] = seed
    _drop_other_targets(document, given)
    for dotted, value in given.items():
        _merge(document, dotted, value)
    try:
        recipe = Recipe.model_validate(document)
    except ValidationError as error:
        problems = problems_of(error, str(path), given)
        raise RecipeError(problems + _hidden_rules(document, problems, str(path))) from None
    if missing := _missing_packages(recipe, path):
        raise RecipeError(missing)
    return recipe


def _missing_packages(recipe: Recipe, path: Path) -> list[Problem]:
    """Backbones of packages that cannot be used. Stored recipes name them without a check."""
    problems = []
    for role in ROLES:
        name = recipe.network_of(role).backbone
        try:
            if package_of(name):
                entry_point_of(name)
        except InputError as error:
            rule = f"must be a network of a library or package. {error.message.removesuffix('.')}"
            problems.append(Problem(str(path), f"{role}.backbone", repr(name), rule))
    return problems


def _drop_parts(document: dict[str, Any]) -> None:
    """Drop keys of first weights, which a teacher that is already trained does not have."""
    training = document.get("training")
    if isinstance(training, dict) and isinstance(training.get("teacher"), dict):
        kept = {key: value for key, value in training["teacher"].items() if key not in _PARTS}
        document["training"] = {**training, "teacher": kept}


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
        raise RecipeError(problems, hint="type for instance --set training.student.epochs=5")
    return overrides


def differences(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> list[str]:
    """One line for each key in which two recipes, as plain mappings, differ."""
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
        if path.is_dir() and reference not in {"", *(one.name for one in shipped_recipes())}:
            raise InputError(
                f"{reference} is a folder, not a recipe.",
                got="a folder",
                expected="a YAML file, or the name of a shipped recipe",
                hint=f"make a recipe for its images: erde init {quote(reference)}",
            )
        if path.is_symlink():
            got = "a broken link"
        elif path.exists():  # reading from a pipe could block forever
            got = "neither a file nor a folder"
    except (OSError, RuntimeError, ValueError):  # too long, no such user, a null character
        pass
    return shipped_recipe(reference, got).path


def _document(path: Path) -> dict[str, Any]:
    """The content of a recipe's file, as a mapping."""
    try:
        size = path.stat().st_size
        if size > LARGEST_TEXT:
            rule = f"has {size:,} bytes, but a recipe can have at most {LARGEST_TEXT:,}"
            raise RecipeError([Problem(str(path), "", "", rule)])
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"Cannot read the recipe {path}: {error.strerror or error}.",
            expected="a readable text file in UTF-8",
            hint="make a new one with: erde recipes show digits > mine.yaml",
        ) from error
    document = parse_yaml(_text(content, path), str(path))
    if not isinstance(document, dict):
        got = "nothing" if document is None else type(document).__name__
        rule = f"a recipe must be a mapping of sections, got {got}"
        raise RecipeError([Problem(str(path), "", "", rule)])
    return document


def _text(content: bytes, path: Path) -> str:
    """Decode the content of a recipe's file.

    Raises:
        InputError: it is not UTF-8; the error names the likely encoding.
    """
    encoding, convert = encoding_of(content)
    if encoding == "UTF-8":
        return content.decode().replace("\r\n", "\n").replace("\r", "\n")
    source, target = quote(str(path)), quote(str(path.with_stem(path.stem + "-utf8")))
    hint = f"iconv -f {convert} -t UTF-8 {source} > {target}, and use that file"
    raise InputError(
        f"The recipe {path} is not in UTF-8.",
        got=encoding,
        expected="a text file in UTF-8",
        hint=hint if convert else "use a text file such as: erde recipes show digits",
    )


def name_of(text: str) -> str:
    """Name of a run, from the name of a file or folder.

    Only letters and digits are kept: Python and the regular expression that checks a name disagree
    on other word characters, such as ½.
    """
    kept = (c if c.isalpha() or c.isdecimal() or c in "_.-" else " " for c in text)
    return re.sub(" +", "-", "".join(kept)).strip("-.")[:100] or "recipe"


def _resolve_paths(document: dict[str, Any], base: Path, file: str) -> None:
    """Make the paths in the sections of a recipe absolute."""
    for dotted in _PATHS:
        section, _, key = dotted.partition(".")
        inner = document.get(section)
        if isinstance(inner, dict) and isinstance(inner.get(key), str):
            inner[key] = _absolute(dotted, inner[key], base, file)


def _absolute(dotted: str, path: str, base: Path, file: str) -> str:
    if not path.strip():
        raise RecipeError([Problem(file, dotted, "nothing", f"must be {_PATHS[dotted]}")])
    try:
        return str((base / Path(path).expanduser()).resolve())
    except (OSError, RuntimeError, ValueError) as error:
        problem = Problem(file, dotted, shortened(path), f"is not a usable path ({error})")
        raise RecipeError([problem]) from error


def _refuse_another_seed(overrides: Overrides, seed: int) -> None:
    other = overrides.get("seed", seed)
    if other != seed:
        rule = f"contradicts --seed {seed}: leave one of them out"
        raise RecipeError([Problem(COMMAND_LINE, "seed", shortened(other), rule)])


def _drop_other_targets(document: dict[str, Any], overrides: Overrides) -> None:
    """Remove the recipe's target if the command line sets one."""
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


def _hidden_rules(document: dict[str, Any], found: list[Problem], file: str) -> list[Problem]:
    """Broken rules between sections; pydantic does not check them while a section is wrong."""
    try:
        rules = pairing_rules(
            Network.model_validate(document.get("teacher")),
            Network.model_validate(document.get("student")),
            Distillation.model_validate(document.get("distillation", {})),
        )
    except ValidationError:
        return []
    reported = {problem.path for problem in found}
    return [Problem(file, path, "", rule) for path, rule in rules if path not in reported]
