"""`erde data`, and whole runs on published data sets, through the real command line."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from erde_cli.core.recipe.inputs import comparable, relevant
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.recipe.sections.data import NAMED

from ..conftest import Cli, JsonOf
from ..edited import edit_json
from ..published_files import (
    CIFAR10_NAMES,
    FILES,
    Server,
    accept,
    publish,
    serving,
    write_cifar10,
    write_cifar100,
    write_svhn,
)

SMALL = """\
data: {dataset: cifar10}
teacher: {depth: 8, width: 2, exits: 2}
student: {depth: 8, width: 1, exits: 2, head: gap}
training:
  teacher: {epochs: 1, batch_size: 32, learning_rate: 0.05}
  student: {epochs: 1, batch_size: 32, learning_rate: 0.05}
"""


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All three data sets, tiny and whole; read only."""
    root = tmp_path_factory.mktemp("origin")
    write_cifar10(root, 12, 4)
    write_cifar100(root, 2, 2)
    write_svhn(root, 2, 2, extra_per_class=2)
    return root


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of data sets, by $ERDE_DATA; not there yet."""
    monkeypatch.setenv("ERDE_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def filled(root: Path, origin: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, with all three data sets."""
    shutil.copytree(origin, root)
    accept(monkeypatch, root)
    return root


@pytest.fixture
def server(origin: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving() as server:
        publish(monkeypatch, server, origin)
        yield server


# erde data


def states(document: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["state"] for one in document["datasets"]}


def test_the_list_has_the_documented_keys_and_the_published_sizes(
    root: Path, json_of: JsonOf
) -> None:
    found = json_of("data")
    assert set(found) == {"folder", "datasets"}
    assert found["folder"] == str(root)
    assert set(found["datasets"][0]) == {
        "name", "classes", "train_images", "test_images", "state", "missing", "corrupt",
    }  # fmt: skip
    sizes = [
        (one["name"], one["classes"], one["train_images"], one["test_images"])
        for one in found["datasets"]
    ]
    assert sizes == [
        ("digits", 10, 1_797, None),
        ("cifar10", 10, 50_000, 10_000),
        ("cifar100", 100, 50_000, 10_000),
        ("svhn", 10, 73_257, 26_032),
        ("svhn --extra", 10, 531_131, 0),
    ]
    assert set(NAMED) < {one["name"] for one in found["datasets"]}


def test_the_list_tells_what_is_there_missing_and_corrupt(filled: Path, json_of: JsonOf) -> None:
    assert states(json_of("data")) == {
        "digits": "built in",
        "cifar10": "present",
        "cifar100": "present",
        "svhn": "present",
        "svhn --extra": "present",
    }
    (filled / "cifar-100-python/train").write_bytes(b"")
    (filled / "cifar-100-python/meta").unlink()
    (filled / "extra_32x32.mat").unlink()
    found = json_of("data")
    assert states(found) == {
        "digits": "built in",
        "cifar10": "present",
        "cifar100": "corrupt",
        "svhn": "present",
        "svhn --extra": "missing",
    }
    of_cifar100 = found["datasets"][2]
    assert of_cifar100["missing"] == ["cifar-100-python/meta"]
    assert of_cifar100["corrupt"] == ["cifar-100-python/train"]


def test_the_table_says_the_same(filled: Path, cli: Cli) -> None:
    (filled / "test_32x32.mat").unlink()
    code, out, err = cli("data")
    assert (code, err) == (0, "")
    for line, parts in {
        "digits": ("10", "1,797", "built in"),
        "cifar100": ("100", "50,000", "10,000", "present"),
        "svhn ": ("10", "73,257", "26,032", "missing: 1 file"),
        "svhn --extra": ("531,131", "present"),
    }.items():
        [found] = [text for text in out.splitlines() if line in text][:1]
        assert all(part in found for part in parts), found
    assert f"folder: {filled}" in out
    assert "erde data fetch NAME" in out
    assert max(len(text) for text in out.splitlines() if "folder" not in text) <= 80


# erde data fetch


@pytest.mark.parametrize("name", NAMED)
def test_fetch_downloads_verifies_and_says_where(
    server: Server, root: Path, json_of: JsonOf, name: str
) -> None:
    found = json_of("data", "fetch", name)
    assert set(found) == {"name", "extra", "folder", "downloaded"}
    assert (found["name"], found["folder"], found["extra"]) == (name, str(root), False)
    assert [f"/{archive}" for archive in found["downloaded"]] == list(dict.fromkeys(server.asked))
    assert states(json_of("data"))[name] == "present"


def test_fetch_puts_the_files_where_it_is_told_to(
    server: Server, root: Path, tmp_path: Path, cli: Cli
) -> None:
    there = tmp_path / "a folder [not a colour]"
    code, out, err = cli("data", "fetch", "svhn", "--extra", "--root", there)
    assert code == 0, err
    assert out.replace("\n", "") == f"svhn is downloaded and verified: {there}"
    assert sorted(path.name for path in there.iterdir()) == [
        "extra_32x32.mat", "test_32x32.mat", "train_32x32.mat",
    ]  # fmt: skip
    assert not root.exists()
    assert err.count("Downloading http://127.0.0.1") == 3


def test_what_is_there_and_whole_is_not_downloaded(
    server: Server, filled: Path, cli: Cli, json_of: JsonOf
) -> None:
    code, out, _ = cli("data", "fetch", "cifar10")
    assert code == 0
    assert out.replace("\n", "") == f"cifar10 is already there and complete: {filled}"
    assert json_of("data", "fetch", "cifar10")["downloaded"] == []
    assert server.asked == []


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_quiet_and_json_leave_stderr_to_errors(
    server: Server, root: Path, capfd: pytest.CaptureFixture[str], option: str
) -> None:
    from erde_cli.app import main

    capfd.readouterr()
    assert main(["data", "fetch", "svhn", option]) == 0
    assert capfd.readouterr().err == ""
    server.content.clear()
    shutil.rmtree(root)
    assert main(["data", "fetch", "svhn", option]) == 1
    err = capfd.readouterr().err
    assert err.startswith("Error: svhn cannot be downloaded")
    assert "%" not in err


def test_a_failed_download_is_an_object_and_exit_code_1(
    origin: Path, root: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as server:
        publish(monkeypatch, server, origin)
    code, out, err = cli("data", "fetch", "cifar100", "--json")
    assert code == 1
    error = json.loads(out)["error"]
    assert (error["type"], error["exit_code"]) == ("DownloadError", 1)
    assert error["got"] == "Connection refused"
    assert "cifar-100-python.tar.gz (md5 " in error["expected"]
    assert f"tar -xzf {root}/cifar-100-python.tar.gz -C {root}" in error["hint"]
    assert "Traceback" not in err


def test_a_root_that_cannot_be_made_is_told_in_one_sentence(
    server: Server, tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "file").write_text("")
    below = tmp_path / "file" / "deeper"
    code, _, err = cli("data", "fetch", "cifar10", "--root", below)
    assert code == 2
    assert f"Cannot write into {below}: Not a directory." in err
    assert server.asked == []


def test_every_command_takes_the_shared_options(filled: Path, cli: Cli) -> None:
    shared = ["--quiet", "--device", "cpu", "--threads", "1"]
    assert cli("data", *shared)[0] == 0
    assert cli("data", "fetch", "svhn", *shared)[0] == 0


# Runs


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="module")
def run(recipe: Path, origin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run on tiny CIFAR-10; read only."""
    from erde_cli.app import main

    out = tmp_path_factory.mktemp("runs") / "small"
    with pytest.MonkeyPatch.context() as monkeypatch:
        accept(monkeypatch, origin)
        monkeypatch.setenv("ERDE_DATA", str(origin))
        assert main(["run", str(recipe), "--out", str(out), "--quiet", "--threads", "1"]) == 0
    return out


@pytest.fixture
def run_copy(run: Path, tmp_path: Path) -> Path:
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def test_a_whole_run_on_cifar10_knows_its_classes_and_the_published_test_split(run: Path) -> None:
    for role in ("teacher", "student"):
        bundle = json.loads((run / role / "bundle.json").read_text())
        assert bundle["class_names"] == list(CIFAR10_NAMES)
    report = json.loads((run / "report.json").read_text())
    assert report["student"]["images"] == 40


@pytest.mark.parametrize("where", ["variable", "root"])
def test_a_second_run_keeps_every_phase_wherever_the_images_lie_and_however_they_came(
    run_copy: Path, recipe: Path, filled: Path, server: Server, cli: Cli, where: str
) -> None:
    settings = ["--set", "data.download=true"]
    settings += ["--set", f"data.root={filled}"] if where == "root" else []
    report = (run_copy / "report.json").read_text()
    code, _, err = cli("run", recipe, "--out", run_copy, *settings)
    assert code == 0, err
    assert err.count("nothing has changed, kept") == 4
    assert (run_copy / "report.json").read_text() == report
    assert server.asked == []
    (run_copy / "run.json").unlink()
    code, _, err = cli("run", recipe, "--out", run_copy, *settings)
    assert code == 0, err
    assert err.count(": nothing has changed, kept") == 3


def test_whereabouts_make_no_other_recipe_and_everything_else_does(recipe: Path) -> None:
    plain = load_recipe(str(recipe))
    moved = load_recipe(
        str(recipe), ["data.download=true", "data.root=elsewhere", "data.memory_limit=0"]
    )
    other = load_recipe(str(recipe), ["data.split_seed=1"])
    for role in ("teacher", "student"):
        assert relevant(moved, role) == relevant(plain, role) != relevant(other, role)
    found, same, another = (comparable(one) for one in (plain, moved, other))
    assert same == found != another


@pytest.mark.parametrize("command", ["run", "train-teacher"])
def test_a_run_downloads_what_its_recipe_asks_for(
    root: Path, recipe: Path, server: Server, tmp_path: Path, cli: Cli, command: str
) -> None:
    arguments = [command, recipe, "--out", tmp_path / "run", "--threads", "1"]
    code, _, err = cli(*arguments)
    assert code == 2
    assert "Files of cifar10 are missing" in err
    assert server.asked == []
    assert not (tmp_path / "run").exists()
    code, _, err = cli(*arguments, "--set", "data.download=true")
    assert code == 0, err
    assert f"Downloading {server.address}/cifar-10-python.tar.gz into {root}" in err
    assert all((root / file).is_file() for file in FILES["cifar10"])


def test_a_bundle_never_downloads_and_says_how_to_fetch(
    run_copy: Path, root: Path, server: Server, cli: Cli
) -> None:
    change_data(run_copy / "student", download=True)
    code, _, err = cli("evaluate", run_copy / "student")
    assert code == 2
    assert "Files of cifar10 are missing" in err
    assert "erde data fetch cifar10, or" in err
    assert f"erde evaluate {run_copy / 'student'} --data FOLDER" in err
    assert server.asked == []


def test_a_bundle_from_another_machine_finds_the_users_own_files(
    run_copy: Path, filled: Path, tmp_path: Path, json_of: JsonOf, cli: Cli
) -> None:
    change_data(run_copy / "student", root=str(tmp_path / "of another machine"))
    assert json_of("evaluate", run_copy / "student")["images"] == 40
    (tmp_path / "of another machine").mkdir()  # it is there: it is what the recipe means
    code, _, err = cli("evaluate", run_copy / "student")
    assert code == 2
    assert f"missing or corrupt in {tmp_path / 'of another machine'}" in err


def change_data(bundle: Path, **settings: object) -> None:
    edit_json(bundle / "bundle.json", lambda document: document["recipe"]["data"].update(settings))
