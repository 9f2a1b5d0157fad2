"""Runs, bundles and comparisons as documents of a report. No path of this machine gets in."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from erde_cli.core.bundle.bundle import Bundle, load_bundle
from erde_cli.core.bundle.document import DOCUMENT, BundleDocument, read_bundle_document
from erde_cli.core.comparison.document import Results
from erde_cli.core.comparison.files import JSON
from erde_cli.core.comparison.plan import read_claim
from erde_cli.core.comparison.report import in_words
from erde_cli.core.comparison.stored import read_results
from erde_cli.core.comparison.students import differing_settings
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.errors import BundleError, InputError
from erde_cli.core.inference.answers_file import digest_in
from erde_cli.core.recipe.schema import ROLES, Recipe
from erde_cli.core.recipe.sections.comparison import REFERENCES, STATIC, Comparison
from erde_cli.core.report.collect.comparison import collect_comparison
from erde_cli.core.report.collect.reproduce import data_table, reproduce, without_folders
from erde_cli.core.report.collect.run import Source, collect, unfinished
from erde_cli.core.report.collect.typed import Typed
from erde_cli.core.report.document import Fact, ReportDocument, Table
from erde_cli.core.storage.json_files import Json, read_json
from erde_cli.core.workflows.journal import REPORT, RunDocument, read_run, stored_recipe
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.report_format import is_report
from erde_cli.core.workflows.report_networks import open_network, open_teacher

_OTHER_VERSION = "use the version of erde that wrote it"


def of_bundle(path: Path, options: Options, *, images: bool) -> ReportDocument:
    """The report of a bundle."""
    bundle = load_bundle(path)
    recipe = _recipe_of(bundle)
    missing = (*_without_recipe(recipe), "Training: it is in the report of the run.")
    name = str(bundle.document.recipe.get("name", path.name))
    typed = Typed.of(path)
    opened = open_network(bundle, recipe, options, typed, images=images)
    source = Source("bundle", name, typed, recipe, missing=(*missing, *opened.missing))
    return collect(source, opened.network, None, opened.context if images else None)


def of_run(
    run: Path,
    options: Options,
    dataset: Dataset | None = None,
    loaded: Mapping[str, Bundle] | None = None,
    *,
    images: bool,
) -> ReportDocument:
    """The report of a run, finished or not: what there is, and what is missing.

    dataset, loaded: its data set and the bundles of its roles, if they are open already.
    """
    stored = read_run(run)
    bundles = loaded or {
        role: load_bundle(run / role) for role in ROLES if (run / role / DOCUMENT).is_file()
    }
    recipe = None if stored is None else stored_recipe(stored.recipe, run, _OTHER_VERSION)
    recipe = recipe or next((_recipe_of(one) for one in bundles.values()), None)
    data, missing = _data(run)
    folders = {str(role): run / "logs" / role for role in ROLES}
    logs = {role: folder for role, folder in folders.items() if folder.is_dir()}
    name = run.resolve().name if recipe is None else recipe.name
    role: str = next((one for one in reversed(ROLES) if one in bundles), "student")
    source = Source(
        "run", name, Typed.of(run, role), recipe, logs, data, _digests(stored),
        (*_without_recipe(recipe), *missing, *_changed(run, stored)),
    )  # fmt: skip
    if not bundles:
        return unfinished(source)
    opened = open_network(bundles[role], recipe, options, source.typed, dataset, images=images)
    teacher = (
        open_teacher(bundles["teacher"], Typed.of(run, "teacher"))
        if {*bundles} == {*ROLES}
        else None
    )
    absent = [f"The {one}: it is not trained yet." for one in ROLES if one not in bundles]
    source = replace(source, missing=(*source.missing, *absent, *opened.missing))
    return collect(source, opened.network, teacher, opened.context if images else None)


def of_comparison(run: Path, found: Results | None = None) -> ReportDocument:
    """The report of a comparison, from its results or those in its folder."""
    if found is None and (run / JSON).is_file():
        found = read_results(run / JSON)
    if found is not None:
        found = replace(found, settings=without_folders(found.settings))
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
    claimed = read_claim(run)
    recipe = _recipe_of_comparison(run, claimed["recipe"], found, documents)
    student = Typed.of(run, "seed-0/METHOD/student")
    if found is not None and found.students:
        one = found.students[0]
        student = Typed.of(run, f"seed-{one.seed}/{one.label}/student")
    count = len(found.seeds) if found is not None else len(seeds)
    command = " ".join(["erde compare {recipe}", *_methods(recipe), f"--seeds {count}"])
    command += "" if claimed["teacher"] is None else f" --teacher {_last_part(found)}"
    facts = (*reproduce(documents, recipe, command), *_of_students(found, claimed["teacher"]))
    return collect_comparison(found, recipe, facts, logs, student)


def _of_students(found: Results | None, teacher: str | None) -> list[Fact]:
    """Digest of the shared teacher's weights, and what differs between the students."""
    facts = []
    if teacher is not None:
        facts.append(Fact("digest of the weights, shared teacher", teacher))
    if found is None:
        facts.append(Fact("students", "the recipe below lists them once the comparison is done"))
        return facts
    return facts + [Fact(f"only for {n}", in_words(one)) for n, one in found.settings.items()]


def _methods(recipe: Recipe) -> list[str]:
    """The option that names the students, if they are methods without changes of their own."""
    names, default = (
        [one.name for one in section.students] for section in (recipe.comparison, Comparison())
    )
    if names == default or differing_settings(recipe):
        return []
    return [f"--methods {','.join(names)}"]


def _last_part(found: Results | None) -> str:
    """Name of the folder of the shared teacher, as a word of a shell command to be formatted."""
    if found is None or not found.teachers:
        return "BUNDLE"
    word = shlex.quote(Path(found.teachers[0].bundle).name)
    return word.replace("{", "{{").replace("}", "}}")


def _recipe_of_comparison(
    run: Path, shared: Json, found: Results | None, documents: Mapping[str, BundleDocument]
) -> Recipe:
    """The recipe of a comparison.

    Args:
        run: its folder.
        shared: what all students share, from `compare.json`; it does not say where images lie.
        found: its results, which name the students; None if it is not finished.
        documents: of the students; name, seed and images are from the first of them.
    """
    made_by = next((one.recipe for one in documents.values()), {})
    data = dict(shared.get("data", {}))
    data["root"] = made_by.get("data", {}).get("root")
    if not documents and data.get("dataset") == "imagefolder":
        data["root"] = "images"
    whole = {"name": run.resolve().name, **made_by, **shared, "data": data}
    if found is not None:
        whole |= {"name": found.recipe, "seed": found.seeds[0]}
        whole["comparison"] = {"students": _students(found)}
    return _with_method(stored_recipe(whole, run, _OTHER_VERSION), documents, run)


def _students(found: Results) -> list[Json]:
    """The students as a recipe lists them; static networks are the last."""
    listed: list[Json] = [{"name": name, **found.settings.get(name, {})} for name in found.labels]
    failed = any(one.label.startswith(f"{STATIC}-") for one in found.failed)
    return [*listed, {"name": STATIC}] if found.static_rivals or failed else listed


def _with_method(recipe: Recipe, documents: Mapping[str, BundleDocument], run: Path) -> Recipe:
    """The recipe with its own method, as a student without a method of its own has it."""
    listed = [one for one in recipe.comparison.students if one.name not in (*REFERENCES, STATIC)]
    without = {one.name for one in listed if "method" not in one.distillation}
    for name, document in documents.items():
        if name.rpartition(", ")[0] in without:
            method = stored_recipe(document.recipe, run, _OTHER_VERSION).distillation.method
            distillation = recipe.distillation.model_copy(update={"method": method})
            return recipe.model_copy(update={"distillation": distillation})
    return recipe


def _recipe_of(bundle: Bundle) -> Recipe | None:
    """The recipe of a bundle; None if this version of erde cannot read it."""
    try:
        return bundle.recipe
    except BundleError:
        return None


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
