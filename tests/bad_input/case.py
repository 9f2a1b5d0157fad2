"""One bad input: what is typed where, and what its one message has to name."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import shlex
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

LONGEST = 4000  # characters of a message; a page of a terminal

Document = dict[str, Any]
Files = Mapping[str, str | bytes]

RECIPE: Document = {
    "seed": 3,
    "data": {"dataset": "digits", "image_size": 8, "augmentation": {"crop": 1}},
    "teacher": {"depth": 14, "width": 6, "exits": [2, 4]},
    "student": {"depth": 8, "width": 4, "exits": 3, "head": "gap"},
    "training": {
        "teacher": {"epochs": 4, "batch_size": 64, "learning_rate": 0.1},
        "student": {"epochs": 3, "batch_size": 64, "learning_rate": 0.1},
    },
    "calibration": {"max_drop": 2},
}


@dataclass(frozen=True)
class Case:
    """A command line that is to be refused.

    line: what is typed after `erde`, in a folder of its own, as a shell would split it.
    says: parts of the message: the thing, its value, the rule.
    files: what lies in that folder. prepare: makes there what is more than text.
    locked: a name whose files and folders cannot be opened, whoever asks (root can, otherwise).
    stdin: bytes on standard input. environment: variables, with {here} for the folder.
    """

    name: str
    line: str
    says: tuple[str, ...]
    files: Files = field(default_factory=dict)
    prepare: Callable[[Path], object] | None = None
    locked: str = ""
    stdin: bytes = b""
    environment: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    @property
    def arguments(self) -> list[str]:
        return shlex.split(self.line)

    def put(self, here: Path) -> None:
        """Make the files."""
        for name, content in self.files.items():
            path = here / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        if self.prepare is not None:
            self.prepare(here)


def recipe(changes: Mapping[str, Any] | None = None, base: Document = RECIPE) -> Document:
    """A recipe with dotted keys changed; those that become `...` are left out."""
    document = copy.deepcopy(base)
    for dotted, value in (changes or {}).items():
        *sections, key = dotted.split(".")
        inner = document
        for section in sections:
            inner = inner.setdefault(section, {})
        if value is ...:
            del inner[key]
        else:
            inner[key] = value
    return document


def written(document: object) -> str:
    """A recipe as text."""
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def snapshot(folder: Path) -> dict[str, str]:
    """What there is below a folder, every file by its digest; links are not followed."""
    found = {}
    for above, folders, files in os.walk(folder):
        for name in folders + files:
            path = Path(above, name)
            found[str(path.relative_to(folder))] = _what(path)
    return found


def _what(path: Path) -> str:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return f"link to {path.readlink()}"
    if stat.S_ISREG(mode):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return f"mode {stat.S_IFMT(mode)}"


def check(case: Case, code: int, out: str, err: str, *, as_json: bool) -> None:
    """One clear message: what it is about, what was expected, what to type next."""
    assert "Traceback" not in err, err
    assert "bug in erde" not in err, err
    assert code == 2, (code, err)
    assert len(re.findall(r"^Error: ", err, re.MULTILINE)) == 1, err
    assert len(err) <= LONGEST, f"{len(err)} characters: {err[:500]}"
    for part in case.says:
        assert part in err, f"{part!r} is not in:\n{err}"
    assert re.search(r"^  next:     \S", err, re.MULTILINE), err
    if not as_json:
        assert out == "", out
        return
    document = json.loads(out)
    assert list(document) == ["error"]
    error = document["error"]
    assert error["exit_code"] == 2
    assert error["hint"], err
    rules = [problem["rule"] for problem in error.get("problems", [])]
    by_rule = rules and all(rules)  # a wrong option says in its one sentence what it takes
    assert error["expected"] or by_rule or error["type"] == "UsageError", err
