"""The student that a recipe describes by a family and a budget."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from erde_cli.core.comparison.plan import STUDENT
from erde_cli.core.device import Context
from erde_cli.core.errors import InputError, RunError
from erde_cli.core.events import Table
from erde_cli.core.figures import macs, milliseconds, percent
from erde_cli.core.inference.answers import ready
from erde_cli.core.models.architecture import build_model, resolve_architecture
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.members import members
from erde_cli.core.models.profile import profile_model
from erde_cli.core.recipe.backbones import FAMILIES
from erde_cli.core.recipe.inputs import comparable
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.network import Network
from erde_cli.core.storage.json_files import digest_of, not_what_erde_writes, read_json, write_json
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.tune import count_classes

_WARM, _SECONDS = 3, 0.3  # untimed images; least time of a measurement


class _Document(BaseModel):
    """Content of `student.json`."""

    model_config = ConfigDict(extra="forbid")

    key: str
    student: Network


class _Cost(NamedTuple):
    """A network's cost: multiply-adds of its last exit, parameters, milliseconds if measured."""

    macs: int
    parameters: int
    latency_ms: float = 0.0


def with_sized_student(
    recipe: Recipe, options: Options, run: Path | None = None, *, write: bool = True
) -> Recipe:
    """The recipe, with the largest member of the student's family within its budget.

    A budget in milliseconds is decided by a timing. That choice is kept in the run folder, so that
    the run goes on with the same network.

    Args:
        recipe: the recipe; without a family it is returned as it is.
        options: device, threads; its observer receives the choice and its two neighbours.
        run: where a choice by timing is kept; None: nowhere.
        write: keep a new choice; otherwise only read an earlier one.

    Raises:
        InputError: there is no such family, or its smallest member is over the budget.
    """
    if recipe.student.family is None:
        return recipe
    timed = "latency_ms" in recipe.student.limits
    key = digest_of([comparable(recipe)["student"], recipe.data.image_size])
    kept = run / STUDENT if timed and run is not None else None
    student = _kept(kept, key) if kept is not None and kept.is_file() else None
    if student is not None:
        options.observer.note(f"Student: chosen by an earlier timing, kept in {kept}")
        return _with(recipe, student)
    student = _chosen(recipe, options)
    if timed:
        options.observer.warning(
            "A timing on this machine decided which student is trained. For the same one "
            f"elsewhere, write it into the recipe: student: {_written(student)}"
        )
    if kept is not None and write:
        section = student.model_dump(exclude_defaults=True)
        write_json(kept, {"key": key, "student": section})
    return _with(recipe, student)


def _kept(path: Path, key: str) -> Network | None:
    """The choice in a file, if it was made for the same section and images."""
    try:
        document = _Document.model_validate(read_json(path))
    except ValidationError as error:
        hint = "remove it; the student is then timed again"
        raise not_what_erde_writes(path, error, hint, RunError, "what erde run writes") from error
    return document.student if document.key == key else None


def _chosen(recipe: Recipe, options: Options) -> Network:
    """The largest member within the budget; shows it with its neighbours."""
    ((kind, limit),) = recipe.student.limits.items()
    classes, timed = count_classes(recipe.data), kind == "latency_ms"
    teacher = _cost(recipe.teacher, classes, recipe.data.image_size, None)
    context = options.inference_context("float32") if timed else None
    choices = members(recipe.student, recipe.data.image_size, by_parameters=kind == "parameters")
    scale = 1 if timed else getattr(teacher, kind)

    @cache
    def cost(place: int) -> _Cost:
        return _cost(choices[place], classes, _side(choices[place], recipe), context)

    def share(place: int) -> float:
        return float(getattr(cost(place), kind) / scale)

    chosen = _last_within(share, len(choices), limit)
    if chosen < 0 or not cost(chosen).macs:
        places = range(chosen + 1, len(choices))
        least = next((place for place in places if cost(place).macs), None)
        found = None if least is None else share(least)
        raise _nothing_fits(recipe, choices[least or 0 :], kind, found)
    near = [place for place in (chosen - 1, chosen, chosen + 1) if 0 <= place < len(choices)]
    rows = [(_name(choices[place], recipe), cost(place), place == chosen) for place in near]
    options.observer.table(_table(recipe, rows, teacher, timed))
    return choices[chosen]


def _with(recipe: Recipe, student: Network) -> Recipe:
    """The recipe with another student; all its rules are checked again."""
    sections = recipe.model_dump(exclude={"student"})
    return Recipe.model_validate({**sections, "student": student.model_dump()})


def _side(network: Network, recipe: Recipe) -> int:
    return network.image_size or recipe.data.image_size


def _cost(network: Network, classes: int, size: int, context: Context | None) -> _Cost:
    """The cost of a network; all 0 if its images are too small for it or its heads."""
    try:
        model = build_model(resolve_architecture(network, classes, size))
    except InputError:
        return _Cost(0, 0)
    profile = profile_model(model, size)
    latency = 0.0 if context is None else _milliseconds(model, size, context)
    return _Cost(profile.full_macs, profile.parameters, latency)


@torch.inference_mode()
def _milliseconds(model: EarlyExitNet, size: int, context: Context) -> float:
    """Median time of one image through all exits, in milliseconds."""
    network = ready(model, context)
    image = context.to_device(torch.zeros(1, 3, size, size, dtype=context.dtype))
    image = image.contiguous(memory_format=context.memory_format)
    times: list[float] = []
    while len(times) < _WARM + 5 or sum(times[_WARM:]) < _SECONDS:
        start = perf_counter()
        float(network(image).sum())  # waits for the device
        times.append(perf_counter() - start)
    return 1000 * median(times[_WARM:])


def _last_within(cost: Callable[[int], float], count: int, limit: float) -> int:
    """Last place whose cost is within the limit, -1 if there is none; costs must be rising.

    The steps double from the cheapest place on, so that no giant network is built.
    """
    last, step = -1, 1
    while last + step < count and cost(last + step) <= limit:
        last, step = last + step, 2 * step
    first_over = min(last + step, count)
    while first_over - last > 1:
        middle = (last + first_over) // 2
        if cost(middle) <= limit:
            last = middle
        else:
            first_over = middle
    return last


def _nothing_fits(
    recipe: Recipe, choices: list[Network], kind: str, least: float | None
) -> InputError:
    student = recipe.student
    got = "no member that takes so many exits and images of this size"
    if least is not None:
        name = _name(choices[0], recipe)
        share = f"{percent(least)} % of the teacher's {'MACs' if kind == 'macs' else kind}"
        got = f"{name}: {milliseconds(least) + ' ms' if kind == 'latency_ms' else share}"
    open_key = "depth, so that its width is chosen" if student.depth is None else "width as well"
    own = student.family in FAMILIES and student.width is None
    return InputError(
        f"No member of the family {student.family} is within the student's budget.",
        got=got,
        expected=f"student.budget: {student.budget}",
        hint=f"raise the budget{f', give student.{open_key},' * own} or name another family",
    )


def _written(network: Network) -> str:
    section = network.model_dump(exclude_defaults=True)
    return "{" + ", ".join(f"{key}: {json.dumps(value)}" for key, value in section.items()) + "}"


def _name(network: Network, recipe: Recipe) -> str:
    """The network in the fewest words: its backbone, depth, width and image size."""
    width = "" if network.channels is None else f" {network.depth}, width {network.channels}"
    return f"{network.backbone}{width}, {_side(network, recipe)} px"


def _table(
    recipe: Recipe, rows: list[tuple[str, _Cost, bool]], teacher: _Cost, timed: bool
) -> Table:
    def row(name: str, cost: _Cost) -> tuple[str, ...]:
        if not cost.macs:
            return (name, "too small", "", "", *[""] * timed)
        shares = (percent(cost.macs / teacher.macs, 1), f"{cost.parameters / 1e6:.2f} M")
        return (name, macs(cost.macs), *shares, *[milliseconds(cost.latency_ms)] * timed)

    return Table(
        f"Student of the family {recipe.student.family}",
        ("network", "MACs", "% of teacher", "parameters", *["ms"] * timed),
        (
            *(row(f"{name} (chosen)" if one else name, cost) for name, cost, one in rows),
            row(f"{_name(recipe.teacher, recipe)} (teacher)", teacher)[: 4 + timed],
        ),
        (),
    )
