"""Reads `results.json` of a comparison, which `Results.to_json` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from erde_cli.core.comparison.document import Decision, NetworkResult, Results
from erde_cli.core.comparison.paired import Difference
from erde_cli.core.errors import InputError, RunError
from erde_cli.core.storage.json_files import Json, not_what_erde_writes, read_json
from erde_cli.core.thresholds.written import read_threshold

_HINT = "type the same erde compare command again: it trains nothing twice"
_EXPECTED = "what erde compare writes"


def read_results(path: Path) -> Results:
    """The results in a file.

    Raises:
        RunError: the file is not what erde writes.
    """
    try:
        found: Results = TypeAdapter(Results).validate_python(_nested(read_json(path)))
    except ValidationError as error:
        raise not_what_erde_writes(path, error, _HINT, RunError, _EXPECTED) from error
    except (InputError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise _refused(path, "another structure") from error
    if not _is_complete(found):
        raise _refused(path, "lists of different lengths")
    return found


def _refused(path: Path, got: str) -> RunError:
    return RunError(f"{path} is not what erde writes.", got=got, expected=_EXPECTED, hint=_HINT)


def _nested(document: Json) -> Json:
    """The objects of the file in the form of the dataclasses, before they are validated."""
    same = document["one_threshold"]
    return {
        **document,
        "labels": document["methods"],
        "teachers": [_with_network(one) for one in document["teachers"]],
        "students": [_student(one) for one in document["students"]],
        "summary": [_labelled(one) for one in document["summary"]],
        "differences": [_difference(one) for one in document["differences"]],
        "one_threshold": {**same, "differences": [_difference(one) for one in same["differences"]]},
        "failed": [_labelled(one) for one in document["failed"]],
    }


def _labelled(one: Json) -> Json:
    return {**one, "label": one["method"]}


def _parts(one: Json, kind: type) -> Json:
    """The keys of an object that are fields of a dataclass."""
    names = [field.name for field in fields(kind)]
    return {name: one[name] for name in names if name in one}


def _with_network(one: Json) -> Json:
    exits = [{**exit_, "quality": exit_} for exit_ in one["exits"]]
    return {**one, "network": {**_parts(one, NetworkResult), "exits": exits}}


def _student(one: Json) -> Json:
    savings = one["savings"]
    if savings is not None:
        savings = [{**saved, "thresholds": _values(saved["thresholds"])} for saved in savings]
    return {**_with_network(_labelled(one)), "savings": savings}


def _values(thresholds: Sequence[Any] | None) -> list[float] | None:
    return None if thresholds is None else [read_threshold(one) for one in thresholds]


def _difference(one: Json) -> Json:
    return {**one, "found": _parts(one, Difference), "decision": _parts(one, Decision)}


def _is_complete(found: Results) -> bool:
    """Whether lists have the lengths that the tables and curves rely on."""
    budgets, sweep = len(found.budgets), len(found.one_threshold.thresholds)
    networks = [*(one.network for one in found.teachers), *(one.network for one in found.students)]
    exits = {one.label: len(one.network.exits) for one in found.students}
    return (
        bool(found.students and found.seeds and sweep)
        and all(one.points and one.exits for one in networks)
        and all(len(one.at_budgets) == budgets for one in networks)
        and all(len(one.at_budgets) == budgets for one in found.summary)
        and all(len(one.network.exits) == exits[one.label] for one in found.students)
        and all(
            len(one.cost) == len(one.accuracy) == sweep
            for one in (student.one_threshold for student in found.students)
        )
        and all(
            len(one.one_threshold.cost) == len(one.one_threshold.accuracy) == sweep
            for one in found.summary
            if one.seeds
        )
        and all(one.seeds and one.accuracy for one in found.static_rivals)
        and all(each.accuracy != [] for one in found.static_rivals for each in one.against)
    )
