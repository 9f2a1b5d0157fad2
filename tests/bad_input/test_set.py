"""Mistakes in `--set`."""

from __future__ import annotations

from shlex import quote

import pytest

from .case import Case
from .conftest import Refused


def settings(name: str, given: str | list[str], *says: str) -> Case:
    """One or several `--set`."""
    texts = [given] if isinstance(given, str) else given
    line = " ".join(["run", "digits", "--out", "out", *(f"--set {quote(text)}" for text in texts)])
    return Case(name, line, says)


CASES = [
    settings("no equals sign", "training.student.epochs", "training.student.epochs",
             "expected section.key=value"),
    settings("a colon", "training.student.epochs: 3", "expected section.key=value"),
    settings("nothing", "", "--set", "expected section.key=value"),
    settings("an equals sign alone", "=", "--set: =:", "expected section.key=value"),
    settings("no key", "=3", "--set: =3:", "expected section.key=value"),
    settings("a dot before the key", ".seed=3", "--set: .seed=3:", "expected section.key=value"),
    settings("a dot behind the key", "seed.=3", "--set: seed.=3:", "expected section.key=value"),
    settings("two dots", "training..student.epochs=3", "expected section.key=value"),
    settings("a blank inside the key", "training.student. epochs=3", "unknown key"),
    settings("an unknown section", "optimizer.name=adam", "optimizer", "unknown key"),
    settings("an unknown key", "training.student.lr=0.1", "training.student.lr", "unknown key"),
    settings("a key misspelled", "training.student.epoch=3",
             "did you mean training.student.epochs?"),
    settings("a section misspelled", "trainign.student.epochs=3", "did you mean"),
    settings("a key without its section", "epochs=3", "did you mean training.teacher.epochs?"),
    settings("a capital", "Seed=3", "did you mean seed?"),
    settings("an equals sign too many", "seed==3", "seed", "'=3'", "integer"),
    settings("a comparison", "seed<=3", "seed<", "did you mean seed?"),
    settings("no value", "training.student.epochs=", "training.student.epochs", "None"),
    settings("a word for a number", "training.student.epochs=many", "'many'", "integer"),
    settings("a fraction of an epoch", "training.student.epochs=2.5", "2.5", "integer"),
    settings("a number with a unit", "training.student.epochs=3x", "'3x'", "integer"),
    settings("a decimal comma", "training.student.learning_rate=0,1", "'0,1'", "number"),
    settings("nan", "training.student.learning_rate=.nan", "nan", "finite"),
    settings("an infinite rate", "training.student.learning_rate=1e999", "inf", "finite"),
    settings("a negative seed", "seed=-1", "-1", "greater than or equal to 0"),
    settings("a giant seed", f"seed={2**70}", "less than or equal to"),
    settings("an endless number", f"seed={'9' * 5000}", "--set seed", "not valid YAML"),
    settings("a section as a number", "training=3", "training", "must be a section"),
    settings("a key below a number", "seed.value=3", "seed", "integer"),
    settings("one of a list", "student.exits.0=2", "student.exits", "number of exits"),
    settings("two settings in one", "seed=1,training.student.epochs=3", "seed", "integer"),
    settings("two settings with a blank", "seed=1 training.student.epochs=3", "seed", "integer"),
    settings("an open bracket", "student.exits=[1, 2", "--set student.exits", "not valid"),
    settings("an open quote", "name='mine", "--set name", "not valid"),
    settings("a key twice in a value", "student={depth: 8, depth: 14}", "'depth' is repeated"),
    settings("an alias", "student=&a [*a]", "--set student", "aliases"),
    settings("a Python object", "seed=!!python/name:os.system", "--set seed", "not valid"),
    settings("a tab", "student={\tdepth: 8\n\t}x", "--set student", "not valid"),
    settings("a null character is no value", "name=\x01", "--set name", "not valid"),
    settings("10 MB", "name=" + "n" * 120_000, "name", "at most 100"),
    settings("a very long key", "k" * 100_000 + "=1", "kkk...", "unknown key"),
    settings("1,000 levels", ".".join("k" * 1000) + "=1", "unknown key"),
    settings("a target and another", ["calibration.max_drop=1", "calibration.max_macs=0.5"],
             "calibration", "exactly one of"),
    settings("a key and its section", ["seed=3", "data=5"], "data", "must be a section"),
    settings("three mistakes at once", ["seed=-1", "name=", "data.dataset=mnist"],
             "3 problems", "seed", "name", "'mnist'"),
    settings("a wrong one among good ones", ["seed=4", "seed", "name=mine"], "--set: seed"),
    settings("a root that is no path", "data.root=a\\0b", "data.root", "digits are built in"),
    settings("nobody's home", "data.root=~nobody-here", "data.root", "is not a usable path"),
    Case("another seed in --seed", "run digits --out out --seed 1 --set seed=2",
         ("seed", "--seed 1", "2")),
    Case("--set without a text", "run digits --set", ("--set", "argument")),
    Case("--set and the next option", "run digits --set --quiet", ("--quiet",)),
    Case("--set of tune", "tune digits --set training.teacher.lr=1", ("training.teacher.lr",)),
    Case("--set of compare", "compare digits --set seed=-1", ("seed", "-1")),
    Case("--set of distill", "distill digits --set seed=-1", ("seed", "-1")),
    Case("--set of train-teacher", "train-teacher digits --set teacher.depth=9", ("6n + 2",)),
    Case("--set of calibrate", "calibrate run/student --set seed=1", ("--set",)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_bad_setting_is_refused(case: Case, refused: Refused) -> None:
    refused(case)
