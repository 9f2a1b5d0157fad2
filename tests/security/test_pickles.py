"""A malicious pickle in the place of every file that erde reads back: nothing of it ever runs."""

import pickle
import shutil
from pathlib import Path

import pytest

from ..conftest import Cli
from ..edited import update_json
from .conftest import CACHED, KINDS, Payload, under_its_digest

BINARY = {".pt", ".pt2", ".npy", ".safetensors", ".onnx"}  # where a reader could take other kinds


def test_the_payloads_are_live(tmp_path: Path) -> None:
    pickle.loads(KINDS["pickle"](Payload(tmp_path / "owned")))  # noqa: S301
    assert (tmp_path / "owned").is_dir()


def commands_for(path: Path, made: Path, recipe: Path, images: Path) -> list[list[str]]:
    """What reads a file, by where it lies."""
    run, parts = made / "run", path.relative_to(made).parts
    student = str(run / "student")
    if parts[0] == "exported":
        model = str(made / "exported" / parts[1])
        return [["predict", model, str(images)], ["export", model, "--check"]]
    if parts[0] == "cache" or "checkpoints" in parts:
        return [["distill", str(recipe), "--out", str(run), "--resume", *CACHED, "-q"]]
    commands = [["run", str(recipe), "--out", str(run), "-q"]]
    if parts[1:2] == ("student",) and len(parts) == 3:
        commands += [
            ["predict", student, str(images)], ["profile", student], ["evaluate", student],
            ["calibrate", student, "--max-drop", "3"],
            ["export", student, "--format", "torch-export", "--out", str(made / "new.pt2")],
        ]  # fmt: skip
    return commands


def test_in_every_file_of_a_run_nothing_of_it_runs(
    made: Path, everything: Path, content: bytes, tiny_recipe: Path, finished_run: Path,
    tmp_path: Path, cli: Cli,
) -> None:  # fmt: skip
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(finished_run / "student" / "evaluation" / "test" / "tradeoff.png", images)
    done: set[str] = set()
    raw = content.startswith(b"\x80")
    everywhere = sorted(path for path in made.rglob("*") if path.is_file())
    assert len(everywhere) > 25
    for path in everywhere:
        where = str(path.relative_to(made))
        if where in done or (not raw and path.suffix not in BINARY):
            continue
        done.add(where)
        for command in commands_for(path, made, tiny_recipe, images):
            under_its_digest(path, content)
            code, _, err = cli(*command)
            assert "Traceback" not in err, (where, command, err)
            assert code in (0, 2), (where, command, code, err)
            assert not (tmp_path / "owned").exists(), (where, command)
            assert code == 0 or "next:" in err or "expected:" in err, (where, command, err)
            shutil.rmtree(made)
            shutil.copytree(everything, made)
    assert {"run/student/model.safetensors", "exported/m.onnx", "exported/m.pt2"} <= done
    assert raw == ({"run/run.json", "run/report.json", "exported/stages/manifest.json"} <= done)
    assert any(where.startswith("cache/teacher/") for where in done)
    assert any(where.startswith("run/checkpoints/") for where in done)


@pytest.mark.parametrize("name", ["bundle.json", "model.safetensors", "thresholds.json"])
def test_under_a_digest_that_fits_it_is_refused_as_well(
    name: str, made: Path, content: bytes, tmp_path: Path, cli: Cli
) -> None:
    from erde_cli.core.storage.files import digest_of_file

    student = made / "run" / "student"
    (student / name).write_bytes(content)
    if name == "model.safetensors":
        for file in ("bundle.json", "thresholds.json"):
            update_json(student / file, weights_digest=digest_of_file(student / name))
    code, _, err = cli("predict", student, student / "evaluation")
    assert (code, "Traceback" in err) == (2, False), err
    assert not (tmp_path / "owned").exists()
