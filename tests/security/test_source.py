"""What the package may not even say: what runs, unpickles or downloads whatever is given."""

import ast
import re
import socket
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import erde_cli

from ..conftest import Cli

PACKAGE = Path(erde_cli.__file__).parent
BANNED_NAMES = {"eval", "exec", "compile", "__import__", "execfile"}
BANNED_MODULES = {
    "pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "requests", "httpx",
    "aiohttp", "ftplib", "urllib.request", "urllib3", "xmlrpc", "webbrowser", "runpy", "code",
}  # fmt: skip
# `erde report --open` starts the browser with the file that it has just written.
MODULES_ALONE = {("commands/report.py", "webbrowser")}
# Each call that would be dangerous with other arguments, and the only files that make it.
ALONE = {
    "yaml.load": {"core/recipe/yaml_text.py"},  # with a SafeLoader of its own
    "torch.load": {
        "core/training/checkpoints.py",
        "core/models/library/weights_file.py",
    },  # weights_only
    "torch.export.load": {"core/export/torch_export.py"},  # of a file written a moment ago
    "import_module": {  # of names in the code
        "core/platform/torchvision_import.py",
        "core/models/architecture.py",  # builders in the tables of families and heads
        "core/models/library/networks.py",  # timm
    },
    # an entry point of the group erde.backbones, which the user installed and a recipe names
    "entry.load": {"core/models/library/packages.py"},
    # of what the user named in the environment, and of names in the code
    "resolve_name": {
        "__init__.py",
        "core/events.py",
        "core/export/formats.py",
        "core/tracking/trackers.py",
    },
    # Python itself, with a text of its own
    "Popen": {
        "core/images/decoders.py",
        "core/measurement/training_speed_process.py",
        "core/workflows/worker_process.py",
    },
    "subprocess.run": {"core/provenance.py"},  # git, in the folder of erde's own code
}
BANNED_CALLS = {
    "np.load", "numpy.load", "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter",
    "yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "pickle.load", "pickle.loads",
    "os.system", "os.popen", "os.execv", "os.spawnl", "subprocess.call",
    "extractall", "extract_archive", "unpack_archive", "urlopen", "urlretrieve",
}  # fmt: skip
# Of torch.distributed: they unpickle what other processes send.
BANNED_WORDS = (
    "all_gather_object", "broadcast_object_list", "gather_object", "scatter_object_list",
    "send_object_list", "recv_object_list", "distributed.rpc", "_object_to_tensor",
    "_tensor_to_object",
)  # fmt: skip


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield str(path.relative_to(PACKAGE)), ast.parse(path.read_text())


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Every call: its file, its dotted name and itself."""
    for file, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield file, ast.unparse(node.func), node


def named(name: str, wanted: str) -> bool:
    return (
        name == wanted
        or name.endswith(f".{wanted}")
        or (wanted.endswith(f".{name}") and "." in name)
    )


def test_nothing_is_called_that_runs_or_unpickles_what_it_is_given() -> None:
    made = {(file, name) for file, name, _ in calls()}
    assert len(made) > 1000
    assert not {one for one in made if one[1] in BANNED_NAMES}
    assert not {one for one in made for banned in BANNED_CALLS if named(one[1], banned)}
    for wanted, files in ALONE.items():
        found = {file for file, name in made if name == wanted}
        assert found == files, wanted


def test_no_process_unpickles_what_another_has_sent() -> None:
    texts = {str(path.relative_to(PACKAGE)): path.read_text() for path in PACKAGE.rglob("*.py")}
    assert "all_reduce" in texts["core/processes/torchrun.py"]
    assert not {
        (file, word) for file, text in texts.items() for word in BANNED_WORDS if word in text
    }


def test_dangerous_calls_have_the_arguments_that_make_them_harmless() -> None:
    for file, name, call in calls():
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert "shell" not in given, file
        assert given.get("allow_pickle", "False") == "False", file
        if name == "torch.load":
            assert given["weights_only"] == "True", file
        if name == "yaml.load":
            assert given["Loader"] == "_Loader", file
    from yaml import SafeLoader

    from erde_cli.core.recipe.yaml_text import _Loader

    assert issubclass(_Loader, SafeLoader)


def test_nothing_is_imported_that_unpickles_or_downloads() -> None:
    for file, tree in trees():
        for node in ast.walk(tree):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            bad = [n for n in names if n in BANNED_MODULES or n.split(".")[0] in BANNED_MODULES]
            assert {(file, name) for name in bad} <= MODULES_ALONE, (file, bad)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


@pytest.mark.usefixtures("no_network")
def test_no_command_but_fetch_reaches_for_the_network(
    run_copy: Path, tiny_recipe: Path, digit_files: Path, tmp_path: Path, cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("ERDE_DATA", str(tmp_path / "data"))
    student = run_copy / "student"
    for command in (
        ["run", tiny_recipe, "--out", run_copy], ["evaluate", student], ["profile", student],
        ["predict", student, digit_files / "0"], ["calibrate", student, "--max-drop", "3"],
        ["export", student, "--format", "torch-export", "--out", tmp_path / "m.pt2"],
        ["recipes"], ["data"], ["--version"],
    ):  # fmt: skip
        assert cli(*command)[0] == 0, command
    for recipe in ("cifar10", "svhn"):
        code, _, err = cli("run", recipe, "--out", tmp_path / "other")
        assert (code, "erde data fetch" in err) == (2, True)
    code, _, err = cli("data", "fetch", "cifar10")
    assert (code, "a socket was opened" in err) == (1, True)


def test_every_dependency_has_a_lowest_and_a_highest_version() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    listed = [
        *project["build-system"]["requires"], *project["project"]["dependencies"],
        *(one for extra in extras.values() for one in extra),
    ]  # fmt: skip
    assert len(listed) > 25
    for one in listed:
        assert "==" in one or (">=" in one and "<" in one), one
    pinned = (PACKAGE.parent / "constraints.txt").read_text().lower().replace("_", "-")
    for one in [*project["project"]["dependencies"], *extras["dev"], *extras["audit"]]:
        assert f"\n{re.split('[><=]', one)[0].lower()}==" in pinned, one
