"""A whole run on the built-in digits, tiny and made once, for all tests that need bundles."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from PIL import Image
from torch.onnx._internal.exporter._registration import ONNXRegistry

from erde_cli.app import main
from erde_cli.core.bundle.bundle import load_bundle
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.workflows import step_times

TINY = """\
seed: 3
data:
  dataset: digits
  image_size: 8
  augmentation: {crop: 1}
teacher: {depth: 14, width: 6, exits: [2, 4]}
student: {depth: 8, width: 4, exits: 3, head: gap}
training:
  teacher: {epochs: 4, batch_size: 64, learning_rate: 0.1}
  student: {epochs: 3, batch_size: 64, learning_rate: 0.1}
calibration: {max_drop: 2}
"""

Cli = Callable[..., tuple[int, str, str]]
JsonOf = Callable[..., dict[str, Any]]


# A shell lets what it starts in the background ignore Ctrl-C, and so would the commands under test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Begin every test in one thread, whatever a command of an earlier one has set.

    These networks are so small that a second thread only costs time.
    """
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or fills the cache of whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ERDE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_command_line() -> Iterator[None]:
    """The command line is made once, not for every call, of which it would be four fifths."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", cache(typer.main.get_command))
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_registry() -> Iterator[None]:
    """torch's ONNX exporter parses the source of its operators once, not for every graph.

    That would be half of the time of an export, and an export has a graph for each stage.
    """
    with pytest.MonkeyPatch.context() as patch:
        once = staticmethod(cache(ONNXRegistry.from_torchlib))
        patch.setattr(ONNXRegistry, "from_torchlib", once)
        yield


@pytest.fixture
def short_timings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans that time a step or two: how long they take is not looked at."""
    monkeypatch.setattr(step_times, "_SECONDS", 1e-9)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run the real command line in this process: (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def json_of(cli: Cli) -> JsonOf:
    """Run a command that must succeed with `--json`, and read its one object."""

    def run(*arguments: object) -> dict[str, Any]:
        code, out, err = cli(*arguments, "--json")
        assert code == 0, err
        document = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
        assert isinstance(document, dict)
        return document

    return run


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a recipe that trains in a few seconds."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def finished_run(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of the tiny recipe; read only, copy it with `run_copy` to change it."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["run", str(tiny_recipe), "--out", str(run), "--quiet"]) == 0
    made = set(run.rglob("*"))
    yield run
    assert set(run.rglob("*")) == made, "a test has added or removed files of the shared run"


@pytest.fixture(scope="session")
def report(finished_run: Path) -> dict[str, Any]:
    """`report.json` of the finished run."""
    document: dict[str, Any] = json.loads((finished_run / "report.json").read_text())
    return document


@pytest.fixture(scope="session")
def digit_files(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test split as files, in subfolders, in the order of the split."""
    folder = tmp_path_factory.mktemp("digits")
    store = open_dataset(load_bundle(finished_run / "student").recipe.data).load("test")
    for number, pixels in enumerate(store.part(0, len(store)).numpy()):
        path = folder / f"{number // 100}" / f"{number:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


@pytest.fixture
def run_copy(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may change."""
    copy = tmp_path / "run"
    shutil.copytree(finished_run, copy)
    return copy


@pytest.fixture
def student(run_copy: Path) -> Path:
    """The student's bundle in that copy."""
    return run_copy / "student"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image folder: two colours told apart by brightness, 24 train and 6 test images each."""
    root = tmp_path / "images"
    for split, count in (("train", 24), ("test", 6)):
        for label, name in enumerate(("dark", "light")):
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                grey = 150 * label + 3 * index + (split == "test")  # no image is in both
                image = Image.new("RGB", (10, 8), (grey, grey, 255 - grey))
                image.save(root / split / name / f"{index:02}.png")
    return root


@pytest.fixture
def folder_recipe(folder: Path) -> Path:
    """A recipe for `folder`, with a path relative to the recipe."""
    path = folder.parent / "folder.yaml"
    path.write_text(
        "data: {dataset: imagefolder, root: images, image_size: 8, augmentation: {crop: 1}}\n"
        "teacher: {depth: 8, width: 2, exits: 2}\n"
        "student: {depth: 8, width: 1, exits: 2}\n"
        "training:\n"
        "  teacher: {epochs: 2, batch_size: 16, learning_rate: 0.05}\n"
        "  student: {epochs: 2, batch_size: 16, learning_rate: 0.05}\n"
    )
    return path
