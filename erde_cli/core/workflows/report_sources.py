"""Runs, bundles and comparisons as documents of a report. No path of this machine gets in."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from erde_cli.core.bundle.bundle import Bundle, load_bundle
from erde_cli.core.bundle.document import DOCUMENT, BundleDocument, read_bundle_document
from erde_cli.core.comparison.document import Results
from erde_cli.core.comparison.files import JSON
from erde_cli.core.comparison.plan import read_claim
from erde_cli.core.comparison.report import in_words
from erde_cli.core.comparison.stored import read_results
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.errors import BundleError, InputError, RunError, first_reason
from erde_cli.core.inference.answers_file import digest_in
from erde_cli.core.recipe.schema import ROLES, Recipe
from erde_cli.core.report.collect.comparison import collect_comparison
from erde_cli.core.report.collect.reproduce import data_table, reproduce
from erde_cli.core.report.collect.run import Source, collect, unfinished
from erde_cli.core.report.document import Fact, ReportDocument, Table
from erde_cli.core.storage.json_files import Json, read_json
from erde_cli.core.workflows.journal import REPORT, RunDocument, read_run
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.report_format import is_report
from erde_cli.core.workflows.report_networks import open_network, open_teacher


def of_bundle(path: Path, options: Options, *, images: bool) -> ReportDocument:
    """The report of a bundle."""
    bundle = load_bundle(path)
    recipe = _recipe_of(bundle)
    missing = (*_without_recipe(recipe), "Training: it is in the report of the run.")
    name = str(bundle.document.recipe.get("name", path.name))
    source = Source("bundle", name, _word(path), recipe, missing=missing)
    opened = open_network(bundle, recipe, options, images=images)
    source = replace(source, missing=(*missing, *opened.missing))
    return collect(source, opened.network, None, opened.context if images else None)


def of_run(
    run: Path, options: Options, dataset: Dataset | None = None, *, images: bool
) -> ReportDocument:
    """The report of a run, finished or not: what there is, and what is missing."""
    stored = read_run(run)
    bundles: dict[str, Bundle] = {
        role: load_bundle(run / role) for role in ROLES if (run / role / DOCUMENT).is_file()
    }
    recipe = None if stored is None else _recipe(stored.recipe, run)
    recipe = recipe or next((_recipe_of(one) for one in bundles.values()), None)
    data, missing = _data(run)
    folders = {str(role): run / "logs" / role for role in ROLES}
    logs = {role: folder for role, folder in folders.items() if folder.is_dir()}
    name = run.resolve().name if recipe is None else recipe.name
    role: str = next((one for one in reversed(ROLES) if one in bundles), "student")
    source = Source(
        "run", name, _word(run, role), recipe, logs, data, _digests(stored),
        (*_without_recipe(recipe), *missing, *_changed(run, stored)),
    )  # fmt: skip
    if not bundles:
        return unfinished(source)
    opened = open_network(bundles[role], recipe, options, dataset, images=images)
    teacher = open_teacher(bundles["teacher"]) if {*bundles} == {*ROLES} else None
    absent = [f"The {one}: it is not trained yet." for one in ROLES if one not in bundles]
    source = replace(source, missing=(*source.missing, *absent, *opened.missing))
    return collect(source, opened.network, teacher, opened.context if images else None)


def of_comparison(run: Path, found: Results | None = None) -> ReportDocument:
    """The report of a comparison, from its results or those in its folder."""
    if found is None and (run / JSON).is_file():
        found = read_results(run / JSON)
    if found is not None:
        found = replace(found, settings=_without_folders(found.settings))
    seeds = sorted(run.glob("seed-*"), key=lambda one: (len(one.name), one.name))
    logs: dict[str, Path] = {}
    documents: dict[str, BundleDocument] = {}
    for seed in seeds:
        for path in sorted(seed.glob(f"*/student/{DOCUMENT}")):
            documents[f"{path.parents[1].name}, {seed.name}"] = read_bundle_document(path.parent)
        if seed == seeds[0]:
            names = sorted(seed.glob("*/logs/student"))
            logs |= {f"{one.parents[1].name}, {seed.name}": one for one in names}
            logs |= {f"teacher, {seed.name}": one for one in seed.glob("logs/teacher")}
    recipe = _recipe_of_comparison(run, next(iter(documents.values()), None))
    student = _word(run, "seed-0/METHOD/student")
    if found is not None and found.students:
        one = found.students[0]
        student = _word(run, f"seed-{one.seed}/{one.label}/student")
    count = len(found.seeds) if found is not None else len(seeds)
    facts = [*reproduce(documents, recipe, f"erde compare {{recipe}} --seeds {count}")]
    settings = {} if found is None else found.settings
    facts += [Fact(f"only for {name}", in_words(one)) for name, one in settings.items()]
    return collect_comparison(found, recipe, facts, logs, student)


def _recipe_of_comparison(run: Path, student: BundleDocument | None) -> Recipe:
    """The recipe that all students share, with name, seed and images from one of them."""
    shared, made_by = read_claim(run)["recipe"], {} if student is None else student.recipe
    data = dict(shared.get("data", {}))  # does not say where the images lie
    data["root"] = made_by.get("data", {}).get("root")
    if student is None and data.get("dataset") == "imagefolder":
        data["root"] = "images"
    return _recipe({"name": run.resolve().name, **made_by, **shared, "data": data}, run)


def _without_folders(value: Any) -> Any:
    """Settings of students, with only the last part of absolute paths, such as of weights."""
    if isinstance(value, dict):
        return {name: _without_folders(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_folders(one) for one in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _recipe_of(bundle: Bundle) -> Recipe | None:
    """The recipe of a bundle; None if this version of erde cannot read it."""
    try:
        return bundle.recipe
    except BundleError:
        return None


def _recipe(stored: Json, run: Path) -> Recipe:
    try:
        return Recipe.model_validate(stored)
    except ValidationError as error:
        raise RunError(
            f"The recipe in {run} cannot be read.",
            got=first_reason(error),
            expected="a recipe that this version of erde can read",
            hint="use the version of erde that wrote it",
        ) from error


def _without_recipe(recipe: Recipe | None) -> tuple[str, ...]:
    missing = "Recipe: this version of erde cannot read it."
    return (missing,) if recipe is None else ()


def _data(run: Path) -> tuple[Table | None, list[str]]:
    """Images by class and split, from the run's `report.json`."""
    try:
        report = read_json(run / REPORT) if (run / REPORT).is_file() else None
        if report is None:
            return None, ["Number of images: the final evaluation counts them (erde run)."]
        if is_report(report):
            return data_table(report["data"]), []
    except (InputError, LookupError, TypeError, ValueError, AttributeError):
        pass  # the same sentence
    return None, [f"Number of images: {REPORT} is damaged."]


def _digests(stored: RunDocument | None) -> tuple[Fact, ...]:
    answers = {} if stored is None else stored.answers
    return tuple(Fact(f"digest of {name}", digest) for name, digest in answers.items())


def _changed(run: Path, stored: RunDocument | None) -> list[str]:
    """Sentences about answers that were not kept by the run itself."""
    answers = {} if stored is None else stored.answers
    return [
        f"{name}: it was written after the run's own evaluation."
        for name, digest in answers.items()
        if digest_in(run / name) not in (None, digest)
    ]


def _word(path: Path, inside: str = "") -> str:
    """A path as a word of a shell command: as it was typed, or only its last part.

    Absolute paths, and those that leave the current folder, name folders of this machine.
    """
    if path.is_absolute() or ".." in path.parts:
        path = Path(path.resolve().name)
    return shlex.quote(str(path / inside))
