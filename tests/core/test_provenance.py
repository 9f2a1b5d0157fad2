"""The commit in a bundle is that of erde's code, or none."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from erde_cli.core import provenance as module


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "package").mkdir()
    (tmp_path / "package/module.py").write_text("code\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    git(tmp_path, "tag", "v1")
    return tmp_path


def test_it_is_the_checkouts_and_tells_of_changes(checkout: Path) -> None:
    path = checkout / "package/module.py"
    commit = git(checkout, "rev-parse", "HEAD")
    assert len(commit) == 40
    assert module._of_checkout(path) == commit
    path.write_text("other code\n")
    assert module._of_checkout(path) == f"{commit}-dirty"


def test_it_is_not_that_of_a_project_around_an_environment(checkout: Path) -> None:
    installed = checkout / "venv/site-packages/module.py"
    installed.parent.mkdir(parents=True)
    installed.write_text("code\n")
    assert module._of_checkout(installed) is None


def test_without_git_there_is_none(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    assert module._of_checkout(checkout / "package/module.py") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (json.dumps({"url": "u", "vcs_info": {"vcs": "git", "commit_id": "a" * 40}}), "a" * 40),
        (json.dumps({"url": "file:///here", "dir_info": {"editable": True}}), None),
        (None, None),
        ("no JSON", None),
    ],
)
def test_pip_knows_it_where_it_came_from_git(
    text: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = SimpleNamespace(read_text=lambda name: text if name == "direct_url.json" else None)
    monkeypatch.setattr(module, "distribution", lambda name: found)
    assert module._of_installation() == expected


def test_it_stands_in_every_bundle(finished_run: Path) -> None:
    for role in ("teacher", "student"):
        document = json.loads((finished_run / role / "bundle.json").read_text())
        assert document["git_commit"] == module.source_commit()
        assert document["recipe"]["seed"] == 3
        assert set(document["versions"]) >= {"python", "torch", "numpy", "erde-cli"}
