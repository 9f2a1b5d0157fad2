"""Damaged files of a run: noticed and named, the way on told; nothing is computed of them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ..conftest import Cli
from ..edited import update_json

FLIPS = 12  # bits, spread over a file
BUNDLE = ("bundle.json", "thresholds.json", "model.safetensors")


def flip(path: Path, share: float) -> None:
    """Flip a bit at some share of a file."""
    content = bytearray(path.read_bytes())
    bit = min(int(share * 8 * len(content)), 8 * len(content) - 1)
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def cut(path: Path, share: float) -> None:
    """Keep the first share of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


@pytest.fixture(scope="module")
def expected(finished_run: Path) -> dict[str, object]:
    """What the student is evaluated as."""
    path = finished_run / "student/evaluation/test/evaluation.json"
    found: dict[str, object] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("damage", [flip, cut], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", BUNDLE)
def test_a_damaged_file_of_a_bundle_is_named_with_the_way_on(
    name: str, damage: Callable[[Path, float], None], run_copy: Path, cli: Cli,
    expected: dict[str, object],
) -> None:  # fmt: skip
    """A flipped bit can leave the meaning of a JSON file as it was: 1e-05 is 1E-05."""
    path = run_copy / "student" / name
    content, refused = path.read_bytes(), 0
    for share in np.random.default_rng(len(name)).random(FLIPS):
        damage(path, share)
        code, out, err = cli("evaluate", run_copy / "student", "--json")
        if code == 0:
            found = json.loads(out)
            assert {key: found[key] for key in expected} == expected
        else:
            refused += 1
            assert code == 2, err
            assert name in err
            assert "  next:  " in err
            assert "Traceback" not in err
        path.write_bytes(content)
    assert refused >= FLIPS - 1


def test_every_bit_of_a_value_counts(run_copy: Path, cli: Cli) -> None:
    """Files that are still what they should look like, with other numbers in them."""
    student = run_copy / "student"
    for name, old, new in (
        ("bundle.json", '"seed": 3', '"seed": 2'),
        ("bundle.json", '"9"\n', '"8"\n'),
        ("thresholds.json", '"how": "searched"', '"how": "picked"'),
        ("thresholds.json", '"images": 144', '"images": 145'),
    ):
        path = student / name
        text = path.read_text()
        assert text.count(old) >= 1, old
        path.write_text(text.replace(old, new, 1))
        code, _, err = cli("evaluate", student)
        assert code == 2
        assert str(path) in err
        path.write_text(text)


def test_a_run_makes_a_damaged_bundle_again_where_it_is_told_to(
    tiny_recipe: Path, finished_run: Path, run_copy: Path, cli: Cli
) -> None:
    path = run_copy / "student/model.safetensors"
    flip(path, 0.7)
    line = ("run", tiny_recipe, "--out", run_copy)
    code, _, err = cli(*line)
    assert code == 2
    assert str(path) in err
    assert "--force" in err
    code, _, err = cli(*line, "--force")
    assert code == 0, err
    assert "teacher: nothing has changed, kept" in err
    assert path.read_bytes() == (finished_run / "student/model.safetensors").read_bytes()


@pytest.mark.parametrize("damage", [flip, cut], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", ["run.json", "report.json"])
def test_a_damaged_file_of_a_run_is_named_or_made_again(
    name: str, damage: Callable[[Path, float], None], tiny_recipe: Path, finished_run: Path,
    run_copy: Path, cli: Cli,
) -> None:  # fmt: skip
    line = ("run", tiny_recipe, "--out", run_copy)
    path = run_copy / name
    expected = {**json.loads((finished_run / "report.json").read_text()), "seconds": 0}
    for share in np.random.default_rng(len(name)).random(FLIPS // 2):
        damage(path, share)
        code, _, err = cli(*line)
        assert code in (0, 2)
        assert "Traceback" not in err
        if code == 2:
            assert name in err
            assert "  next:  " in err
            path.unlink()
            assert cli(*line)[0] == 0
        report = json.loads((run_copy / "report.json").read_text())
        assert {**report, "seconds": 0} == expected


@pytest.mark.parametrize("name", ["run.json", "student/bundle.json", "student/thresholds.json"])
def test_a_run_of_a_newer_version_is_refused_by_name(
    name: str, tiny_recipe: Path, run_copy: Path, cli: Cli
) -> None:
    path = run_copy / name
    update_json(path, format=9)
    before = path.read_bytes()
    code, _, err = cli("run", tiny_recipe, "--out", run_copy)
    assert code == 2
    assert f"This version of erde cannot read the format of {path}." in err
    assert "got:      format 9" in err
    assert "  next:  " in err
    assert path.read_bytes() == before


def test_answers_that_are_damaged_are_asked_for_again(
    tiny_recipe: Path, finished_run: Path, tmp_path: Path, cli: Cli
) -> None:
    shutil.copytree(finished_run / "teacher", tmp_path / "teacher")
    run = tmp_path / "compared"
    line = (
        "compare", tiny_recipe, "--methods", "cross_entropy", "--seeds", 1, "--out", run,
        "--teacher", tmp_path / "teacher", "--set", "training.student.epochs=1",
    )  # fmt: skip
    assert cli(*line)[0] == 0
    results = (run / "results.json").read_bytes()
    [path] = run.glob("seed-*/cross_entropy/answers.safetensors")
    content = path.read_bytes()
    for share in (0.2, 0.6, 0.999):
        flip(path, share)
        code, _, err = cli(*line)
        assert code == 0, err
        assert f"{path} is damaged. Its network answers the images again." in err.replace("\n", " ")
        assert path.read_bytes() == content
        assert (run / "results.json").read_bytes() == results
