"""Whole commands in several processes: what they write and say, and what ends them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.commands.disturbed import failing, signalled
from tests.faults.runs import differences, files_of, strays
from tests.ranks import Ended, Ranks, erde, said

SMALL = ("--set", "training.teacher.batch_size=48", "--set", "training.student.batch_size=48",
         "--set", "training.teacher.epochs=3", "--set", "training.student.epochs=3")  # fmt: skip
STEPS = 26  # of an epoch
LAUNCHER = (sys.executable, "-m", "torch.distributed.run", "--standalone")
Line = Callable[..., tuple[str, ...]]


@pytest.fixture(scope="module")
def line(tiny_recipe: Path) -> Line:
    """A command line of the tiny recipe, whose batches 2 and 3 processes can share."""
    return lambda command, run, *more: (
        command, str(tiny_recipe), "--out", str(run), *SMALL, *map(str, more),
    )  # fmt: skip


def _launched(
    world_size: int, *arguments: str, launcher: Sequence[object] = (), **environment: str
) -> subprocess.Popen[str]:
    options = map(str, (*launcher, "--nproc-per-node", world_size))
    return subprocess.Popen(
        [*LAUNCHER, *options, "-m", "erde_cli", *arguments], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(line: Line, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """A run of so many processes that nothing disturbs; read only."""
    made: dict[int, Path] = {}

    def run(world_size: int) -> Path:
        if world_size not in made:
            folder = tmp_path_factory.mktemp(f"undisturbed-{world_size}")
            with Ranks(folder / "said", world_size, erde, *line("run", folder / "run")) as ranks:
                ended = ranks.ended()
            assert [one.code for one in ended] == [0] * world_size, said(ended)
            made[world_size] = folder / "run"
        return made[world_size]

    return run


def messages(err: str) -> list[str]:
    """Messages of erde about failures."""
    return [text for text in err.splitlines() if text.startswith("Error: ")]


def finish(folder: Path, world_size: int, *arguments: str) -> list[Ended]:
    """Type a command that succeeds."""
    with Ranks(folder, world_size, erde, *arguments) as ranks:
        ended = ranks.ended()
    assert [one.code for one in ended] == [0] * world_size, said(ended)
    return ended


def test_torchrun_runs_a_recipe_and_one_process_writes_and_prints(
    line: Line, undisturbed: Callable[[int], Path], finished_run: Path, tmp_path: Path
) -> None:
    """Whatever starts them, the bytes are the same."""
    run = tmp_path / "run"
    with _launched(2, *line("run", run, "--json")) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    [document] = [json.loads(text) for text in out.splitlines()]
    assert document["student"]["full_accuracy"] > 0
    assert err.count("2 processes, 1 thread each") == 2, err
    for told in ("Training the teacher", "Distilling the student by erde", "epoch 2/3"):
        assert err.count(told) == (2 if told.startswith("epoch") else 1), err
    assert set(files_of(run)) == set(files_of(finished_run))
    assert differences(run, undisturbed(2)) == []
    for role in ("teacher", "student"):
        context = json.loads((run / "logs" / role / "context.json").read_text())
        assert (context["rank"], context["world_size"], context["threads"]) == (0, 2, 1)


def test_threads_that_are_given_win_over_those_of_torchrun(line: Line, tmp_path: Path) -> None:
    more = ("--threads", 2, "--set", "training.teacher.epochs=1")
    ended = finish(tmp_path / "said", 2, *line("train-teacher", tmp_path / "run", *more))
    assert "2 processes, 2 threads each" in ended[0].err
    assert ended[1].err == ended[1].out == ""
    context = json.loads((tmp_path / "run/logs/teacher/context.json").read_text())
    assert context["threads"] == 2


AT = {"teacher": ("teacher", STEPS + 8), "student": ("student", 2 * STEPS + 5)}


def _disturb(
    folder: Path, world_size: int, arguments: tuple[str, ...], role: str, signals: dict[int, int],
    *, by_torchrun: bool = True, often: bool = False,
) -> list[Ended]:  # fmt: skip
    """Send signals to processes within an epoch of a network's training."""
    environment = {"ERDE_CHECKPOINT_SECONDS": "0"} if often else {}
    numbers = {str(rank): int(number) for rank, number in signals.items()}
    given = (signalled, AT[role], numbers, *arguments)
    with Ranks(folder, world_size, *given, **environment) as ranks:
        return ranks.ended(120, by_torchrun=by_torchrun)


def _assert_killed(ended: list[Ended], killed: int) -> None:
    assert ended[killed].code == -signal.SIGKILL
    others = [one.code for rank, one in enumerate(ended) if rank != killed]
    assert set(others) <= {1, -signal.SIGTERM}
    [message] = messages(said(ended))
    assert message == (
        f"Error: The training has lost rank {killed}: killed, or ended without a message."
    )


def _kills() -> Iterator[Any]:
    """Every process of 2 and 3, in either training, with and without a state of the last step."""
    usual = {(2, 1, "teacher", True), (2, 0, "student", False)}
    for world_size in (2, 3):
        for one in product((world_size,), range(world_size), AT, (False, True)):
            yield pytest.param(*one, marks=() if one in usual else pytest.mark.slow)


@pytest.mark.parametrize(("world_size", "killed", "role", "often"), list(_kills()))
def test_a_run_of_which_a_process_is_killed_goes_on_to_the_same_bytes(
    world_size: int, killed: int, role: str, often: bool, line: Line,
    undisturbed: Callable[[int], Path], tmp_path: Path,
) -> None:  # fmt: skip
    run = tmp_path / "run"
    arguments = line("run", run)
    ended = _disturb(
        tmp_path / "killed", world_size, arguments, role, {killed: signal.SIGKILL},
        by_torchrun=often, often=often,
    )  # fmt: skip
    _assert_killed(ended, killed)
    [continued] = _continued(finish(tmp_path / "again", world_size, *arguments))
    assert AT[role][1] - continued <= (1 if often else STEPS)
    assert differences(run, undisturbed(world_size)) == []
    assert strays(run) == []


def _continued(ended: list[Ended]) -> list[int]:
    """Steps after which trainings went on, as rank 0 tells."""
    assert not said(ended[1:])
    found = re.findall(r"continuing in epoch \d+, after step (\d+)", ended[0].err)
    return [int(step) for step in found]


@pytest.mark.parametrize(
    ("role", "signals"),
    [
        ("teacher", {1: signal.SIGTERM}),
        ("student", {0: signal.SIGINT, 1: signal.SIGINT}),  # as of a terminal
        pytest.param("teacher", {0: signal.SIGINT}, marks=pytest.mark.slow),
        pytest.param("student", {0: signal.SIGTERM, 1: signal.SIGTERM}, marks=pytest.mark.slow),
        pytest.param("student", {2: signal.SIGTERM}, marks=pytest.mark.slow),
    ],
)
def test_a_signal_of_one_process_stops_all_after_the_same_step(
    role: str, signals: dict[int, int], line: Line, undisturbed: Callable[[int], Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    run, world_size = tmp_path / "run", max(2, *signals) + (2 in signals)
    arguments = line("run", run)
    ended = _disturb(tmp_path / "stopped", world_size, arguments, role, signals)
    [number] = set(signals.values())
    assert [one.code for one in ended] == [128 + number] * world_size, said(ended)
    [message] = messages(said(ended))
    assert f"after step {AT[role][1]} of the training; nothing is lost." in message
    assert messages(ended[0].err) == [message]
    assert _continued(finish(tmp_path / "again", world_size, *arguments)) == [AT[role][1]]
    assert differences(run, undisturbed(world_size)) == []


def test_another_number_of_processes_is_told_and_goes_on(line: Line, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = line("train-teacher", run)
    _disturb(tmp_path / "stopped", 2, arguments, "teacher", {0: signal.SIGTERM})
    ended = finish(tmp_path / "again", 3, *arguments, "--resume")
    assert _continued(ended) == [AT["teacher"][1]]
    warned = ended[0].err.replace("\n", " ")
    assert "under other conditions (world_size was 2, is 3)" in warned
    assert "not bit-identical to that of an uninterrupted run" in warned


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        ("data", "Error: Rank 1: Cannot read cat.png: it has no pixels.", 2),
        ("bug", "Error: Rank 1: This is a bug in erde: ZeroDivisionError: none of zero", 1),
        pytest.param(
            "memory",
            "Error: Rank 1: There is not enough free memory: none left.",
            1,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "disk",
            "Error: Rank 1: The operating system reported: cat.png: No space",
            1,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_one_message_names_the_process_that_failed_and_the_cause(
    error: str, message: str, code: int, line: Line, tmp_path: Path
) -> None:
    arguments = (*line("train-teacher", tmp_path / "run"), "--json")
    given = (failing, ("teacher", 5), 1, error, *arguments)
    with Ranks(tmp_path / "said", 2, *given) as ranks:
        ended = ranks.ended(120, by_torchrun=True)
    [told] = messages(said(ended))
    assert told.startswith(message)
    assert ended[1].code == code
    assert ended[0].code in (1, -signal.SIGTERM)
    [document] = [json.loads(one.out) for one in ended if one.out]
    assert document["error"]["message"].startswith("Rank 1: ")


def _state(run: Path, role: str, process: subprocess.Popen[str]) -> None:
    """Wait for a saved state of a network's training."""
    while not list((run / "checkpoints" / role).glob("step-*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def _process_of(rank: int, launcher: int) -> int:
    """Number of the process that a launcher has started for a rank."""
    numbers = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    found = [
        int(number)
        for number in numbers
        if f"RANK={rank}".encode() in Path(f"/proc/{number}/environ").read_bytes().split(b"\0")
    ]
    assert len(found) == 1
    return found[0]


def _starting(logs: Path, process: subprocess.Popen[str], count: int) -> dict[int, int]:
    """Numbers of the processes by their ranks, once all run and before they have met."""
    while process.poll() is None:
        texts = [path.read_text().split() for path in logs.rglob("erde-starting")]
        if len(texts) == count and all(len(words) == 2 for words in texts):
            return {int(rank): int(number) for number, rank in texts}
        time.sleep(0.002)
    pytest.fail(str(process.communicate()))


@pytest.mark.parametrize(
    ("count", "killed", "opening"),
    [(2, (0,), False), (2, (1,), False), (3, (1, 2), False), (2, (0,), True), (2, (1,), True)],
)
def test_processes_killed_before_all_are_connected_are_named_once(
    count: int, killed: tuple[int, ...], opening: bool, line: Line, tmp_path: Path
) -> None:
    """Before they have met, or while they open the connections of collectives."""
    logs = tmp_path / "logs"
    arguments = line("run", tmp_path / "run", "--json")
    with _launched(count, *arguments, launcher=("--log-dir", logs)) as process:
        numbers = _starting(logs, process, count)
        while opening and list(logs.rglob("erde-starting")):
            time.sleep(0.002)
        for rank in killed:
            os.kill(numbers[rank], signal.SIGKILL)
        since = time.monotonic()
        out, err = process.communicate(timeout=60)
    assert time.monotonic() - since < 20
    [message] = messages(err)
    ranks = ", ".join(map(str, killed))
    named = f"rank{'s' if len(killed) > 1 else ''} {ranks}"
    assert message.startswith(f"Error: The training has lost {named}: killed"), err
    assert json.loads(out)["error"]["type"] == "LostProcessError"
    assert process.returncode == 1


def test_processes_that_are_stopped_before_all_have_met_are_not_lost(
    line: Line, tmp_path: Path
) -> None:
    logs = tmp_path / "logs"
    arguments = line("run", tmp_path / "run")
    with _launched(2, *arguments, launcher=("--log-dir", logs)) as process:
        _starting(logs, process, 2)
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert messages(err) == []
    assert not list(logs.rglob("erde-starting"))
    assert not (tmp_path / "run").exists()


def test_a_second_sigterm_does_not_interrupt_the_report_of_a_lost_process() -> None:
    code = (
        "import os, signal\n"
        "from erde_cli.commands import processes\n"
        "def lost():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('reported', flush=True)\n"
        "processes._lost = lost\n"
        "processes.note_start()\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.returncode) == ("reported\n", -signal.SIGTERM), ended.stderr[-500:]


def test_a_mistyped_command_is_told_once_even_if_rank_0_is_late(tmp_path: Path) -> None:
    """torchrun ends rank 0 as soon as rank 1 has ended."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, time\ntime.sleep(2 if os.environ.get('RANK') == '0' else 0)\n"
    )
    with _launched(2, "rnu", PYTHONPATH=str(tmp_path)) as process:
        _, err = process.communicate(timeout=60)
    [message] = messages(err)
    assert "rnu" in message


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes below /proc")
def test_ctrl_c_of_torchrun_and_a_killed_process_lose_nothing(
    line: Line, undisturbed: Callable[[int], Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments, often = line("run", run, "--quiet"), {"ERDE_CHECKPOINT_SECONDS": "0"}
    with _launched(2, *arguments, **often) as process:
        _state(run, "teacher", process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    [message] = messages(err)
    assert "nothing is lost" in message
    with _launched(2, *arguments, **often) as process:
        _state(run, "student", process)
        os.kill(_process_of(0, process.pid), signal.SIGKILL)
        _, err = process.communicate(timeout=120)
    [message] = messages(err)
    assert "The training has lost rank 0: killed" in message
    finish(tmp_path / "said", 2, *arguments)
    assert differences(run, undisturbed(2)) == []
