"""Several processes that do not fit together: one message of one of them, and all end."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from erde_cli.core.storage.run_lock import one_writer

from .case import RECIPE, Case, recipe, snapshot, written
from .conftest import Refused
from .ranks import ROOT, SECONDS, Forks, Rank, foreign_port, free_port
from .test_bundles import weights

RUN = "run a.yaml --out out --quiet"
TEACHER = "train-teacher a.yaml --out out --quiet"


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    started = Forks(tmp_path_factory.mktemp("cache"))
    yield started
    started.close()


@dataclass(frozen=True)
class Ranks:
    """What each process is given, and what the one message has to name.

    speaker: rank that shows it; None if any of them may.
    """

    name: str
    ranks: list[Rank]
    says: tuple[str, ...]
    speaker: int | None = 1

    def __str__(self) -> str:
        return self.name


def differ(name: str, first: str, second: str, *says: str, speaker: int | None = 1) -> Ranks:
    return Ranks(name, [Rank(first), Rank(second)], says, speaker)


def placed(name: str, environments: list[dict[str, str]], *says: str) -> Ranks:
    ranks = [Rank(RUN, environment) for environment in environments]
    return Ranks(name, ranks, says, None)


OTHERS = [
    differ("a key", RUN, f"{RUN} --set training.student.epochs=9",
           "Rank 1", "training.student.epochs: 9", "training.student.epochs: 3"),
    differ("many keys", RUN, f"{RUN} --set teacher.depth=20 --set teacher.width=9 --set seed=4 "
           "--set training.teacher.epochs=2 --set training.student.epochs=2 "
           "--set training.student.batch_size=32", "and 1 more"),
    differ("a seed", TEACHER, f"{TEACHER} --seed 4", "seed: 4", "seed: 3"),
    differ("force", RUN, f"{RUN} --force", "--force: True", "--force: False"),
    differ("resume", f"{TEACHER} --resume", TEACHER, "--resume: None", "--resume: True"),
    differ("a command", RUN, TEACHER, "erde train-teacher", "erde run"),
    differ("a recipe with a mistake", RUN, f"{RUN} --set seed=many", "seed", "many"),
    differ("a mistake of rank 0", f"{RUN} --set seed=many", RUN, "seed", "many", speaker=0),
    differ("an unknown option", RUN, f"{RUN} --outt b", "--outt"),
    differ("no recipe", RUN, "run b.yaml --out out", "b.yaml"),
    differ("a folder", RUN, "run a.yaml --out other --quiet", "Rank 1", "run folder", "other"),
    Ranks("a working folder", [Rank(RUN), Rank("run ../a.yaml --out out --quiet", folder="one")],
          ("Rank 1", "one/out", "share")),
    Ranks("a cache", [Rank(RUN), Rank(RUN, {"ERDE_CACHE": "elsewhere"})],
          ("Rank 1", "cache folder", "elsewhere", "ERDE_CACHE=FOLDER")),
    Ranks("a version", [Rank(RUN), Rank(RUN, {"PYTHONPATH": "older"})],
          ("version of safetensors: 0.0.1",)),
    Ranks("images", [Rank("run images.yaml --out out --quiet"),
                     Rank("run images.yaml --out ../out --quiet", folder="one")],
          ("Rank 1", "data.root", "one/images")),
    Ranks("a teacher", [Rank("distill a.yaml --out out --teacher teacher --quiet"),
                        Rank("distill ../a.yaml --out ../out --teacher teacher --quiet",
                             folder="one")],
          ("Rank 1", "--teacher: weights", "same teacher")),
    placed("another WORLD_SIZE", [{}, {"WORLD_SIZE": "3"}], "WORLD_SIZE: 3", "WORLD_SIZE: 2"),
    placed("a rank twice", [{}, {"WORLD_SIZE": "3"}, {"RANK": "1"}], "RANK=1 twice"),
    Ranks("a batch of three shares", [Rank(RUN)] * 3,
          ("3 processes", "64 images", "--set training.teacher.batch_size=63"), None),
    Ranks("a batch of the student", [Rank(f"{RUN} --set training.student.batch_size=33")] * 2,
          ("2 processes", "33 images", "--set training.student.batch_size=32"), None),
]  # fmt: skip


def pictures(folder: Path, shade: int) -> None:
    for name in "ab":
        (folder / name).mkdir(parents=True)
        for number in range(12):
            one = Image.new("RGB", (8, 8), (shade, number, ord(name)))
            one.save(folder / name / f"{number}.png")


@pytest.fixture
def put(here: Path, finished_run: Path) -> Path:
    """Recipes, images and teachers; rank 1 sees others of the same name in the folder `one`."""
    (here / "a.yaml").write_text(written(RECIPE))
    images = {"data": {"dataset": "imagefolder", "root": "images", "image_size": 8}}
    for folder in (here, here / "one"):
        folder.mkdir(exist_ok=True)
        (folder / "images.yaml").write_text(written(recipe() | images))
    older = here / "older" / "safetensors-0.0.1.dist-info"
    older.mkdir(parents=True)
    (older / "METADATA").write_text("Name: safetensors\nVersion: 0.0.1\n")
    pictures(here / "images", 1)
    pictures(here / "one" / "images", 2)
    shutil.copytree(finished_run / "teacher", here / "teacher")
    shutil.copytree(finished_run / "teacher", here / "one" / "teacher")
    weights(lambda state: next(iter(state.values())).add_(1))(here / "one" / "teacher")
    return here


def check(case: Ranks, ended: list[Any], code: int = 2) -> None:
    """One message on one stderr, without a traceback; every process ended by itself."""
    err = "".join(f"--- {rank}: {one.code}\n{one.err}" for rank, one in enumerate(ended))
    speakers = [rank for rank, one in enumerate(ended) if "Error: " in one.err]
    assert len(re.findall(r"^Error: ", err, re.MULTILINE)) == 1, err
    assert "Traceback" not in err, err
    assert "bug in erde" not in err, err
    assert "[W" not in err, err  # of torch's C++
    assert all(one.code in (1, 2) for one in ended), err
    assert ended[speakers[0]].code == code, err
    assert case.speaker in (None, speakers[0]), err
    for part in case.says:
        assert part in err, f"{part!r} is not in:\n{err}"
    assert re.search(r"^  next:     \S", err, re.MULTILINE), err
    assert not any(one.out for one in ended)


@pytest.mark.parametrize("case", OTHERS, ids=str)
def test_processes_that_differ(case: Ranks, put: Path, forks: Forks) -> None:
    before = snapshot(put)
    check(case, forks.start(put, case.ranks))
    shutil.rmtree(put / "elsewhere", ignore_errors=True)  # a cache may be made
    assert snapshot(put) == before


def test_only_rank_0_writes_the_recipe_that_it_chooses(put: Path, forks: Forks) -> None:
    line = "run images --quiet --out"
    case = differ("a folder of images", f"{line} out", f"{line} other", "Rank 1")
    check(case, forks.start(put, case.ranks))
    assert [path.name for path in (put / "out").iterdir()] == ["recipe.yaml"]
    assert not (put / "other").exists()


def test_a_folder_that_another_command_writes(put: Path, forks: Forks) -> None:
    case = Ranks("locked", [Rank(RUN)] * 2, ("Another erde process", "out"), 0)
    with one_writer(put / "out"):
        check(case, forks.start(put, case.ranks))


def test_a_rank_that_never_starts(put: Path, forks: Forks) -> None:
    alone = Ranks("alone", [Rank(RUN, {"WORLD_SIZE": "2"})], ("Rank 0", "1/2 clients joined"), 0)
    check(alone, forks.start(put, alone.ranks, connect=1))


def test_no_rank_0(put: Path, forks: Forks) -> None:
    late = Ranks("late", [Rank(RUN, {"WORLD_SIZE": "2", "RANK": "1"})], ("Rank 1", "MASTER"), 0)
    check(late, forks.start(put, late.ranks, connect=1))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_port_that_another_program_uses(rank: int, put: Path, forks: Forks) -> None:
    with foreign_port() as port:
        given = {"WORLD_SIZE": "2", "RANK": str(rank), "MASTER_PORT": str(port)}
        case = Ranks("busy", [Rank(RUN, given)], (f"Rank {rank}", str(port), "--master-port"), 0)
        check(case, forks.start(put, case.ranks, connect=1))


TWO = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


def alone(line: str, environment: dict[str, str], *says: str) -> Case:
    name = f"{line} {' '.join(f'{name}={text}' for name, text in environment.items())}"[:120]
    return Case(name, line, says, {"a.yaml": written(RECIPE)}, environment=environment)


PLACES = [
    *(
        alone(line, TWO, f"erde {line.split()[0]} runs in one process", "train-teacher")
        for line in (
            "predict run/student a.png", "calibrate run/student --max-drop 1", "plan a.yaml",
            "evaluate run/student", "compare a.yaml", "data fetch cifar10", "recipes",
        )
    ),
    *(
        alone("run a.yaml", TWO | changed, *(f"{name}={text}" for name, text in changed.items()))
        for changed in (
            {"RANK": "2"}, {"RANK": "-1"}, {"RANK": "one"}, {"WORLD_SIZE": "many"},
            {"WORLD_SIZE": "0"}, {"WORLD_SIZE": "2.0"}, {"LOCAL_RANK": "x"}, {"MASTER_PORT": "0"},
            {"MASTER_PORT": "65536"}, {"LOCAL_WORLD_SIZE": "0"}, {"LOCAL_WORLD_SIZE": "3"},
        )
    ),
    alone("run a.yaml", TWO | {"WORLD_SIZE": "9" * 5000}, "WORLD_SIZE=999", "999..."),
]  # fmt: skip


@pytest.mark.parametrize("case", PLACES, ids=str)
def test_places_that_are_none(case: Case, refused: Refused) -> None:
    refused(case)


def test_torchrun_with_one_process_is_one_process(
    here: Path, cli: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**TWO, "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    assert cli("recipes")[0] == 0


def test_torchrun_itself(put: Path) -> None:
    """The message is shown once, and torchrun ends."""
    ended = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "3",
         "--master-port", str(free_port()), "-m", "erde_cli", *RUN.split()],
        cwd=put, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=2 * SECONDS, check=False,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr  # of torchrun: a process has failed
    assert len(re.findall(r"^Error: ", ended.stderr, re.MULTILINE)) == 1, ended.stderr
    assert "3 processes cannot share batches of 64 images equally." in ended.stderr
    assert "exitcode  : 2" in ended.stderr


def test_the_message_with_json(put: Path, forks: Forks) -> None:
    """Rank 1 prints the object that a script reads; rank 0 prints nothing."""
    lines = (f"{RUN} --json", f"{RUN} --json --set seed=5")
    first, second = forks.start(put, [Rank(line) for line in lines])
    assert first.out == ""
    assert json.loads(second.out)["error"]["exit_code"] == 2
