"""The lock of a run folder: one writer, or several that share it."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from erde_cli.core.errors import RunError
from erde_cli.core.platform.isolated import isolated_python
from erde_cli.core.storage.run_lock import LOCK, one_of_several, one_writer, wait_for_holders

TAKE = (
    "from pathlib import Path; from erde_cli.core.storage import run_lock; "
    "folder = Path({1!r}); say = lambda word: print(word, flush=True)\n"
    "{0}\n"
)
SHARE = (
    "with run_lock.one_of_several(folder) as settled:\n"
    "    say('in'); sys.stdin.readline(); settled(); say('settled'); sys.stdin.readline()"
)
HOLD = "run_lock.hold(folder); say('held'); sys.stdin.readline()"


@contextmanager
def another(code: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that does something with a folder, and goes on with every line."""
    with subprocess.Popen(
        isolated_python(TAKE.format(code, str(folder))), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_several_share_a_folder_and_the_last_one_removes_the_lock(tmp_path: Path) -> None:
    with another(SHARE, tmp_path) as first:
        assert heard(first) == "in"
        go_on(first)
        assert heard(first) == "settled"
        with another(SHARE, tmp_path) as second:
            assert heard(second) == "in"
            for process in (first, second):
                with pytest.raises(RunError) as refused, one_writer(tmp_path):
                    pass
                assert refused.value.got == "one or more of --shard"
                for _ in range(2):  # settled by now, or to settle and to end
                    go_on(process)
                process.wait(60)
    assert not (tmp_path / LOCK).exists()
    with one_writer(tmp_path):
        pass


def test_the_first_has_the_folder_alone_until_it_lets_others_in(tmp_path: Path) -> None:
    with another(SHARE, tmp_path) as first:
        assert heard(first) == "in"
        with another(SHARE, tmp_path) as second:
            with pytest.raises(subprocess.TimeoutExpired):
                second.wait(0.5)
            go_on(first)
            assert heard(first) == "settled"
            assert heard(second) == "in"


def test_a_killed_one_of_several_leaves_nothing_that_refuses(tmp_path: Path) -> None:
    with another(SHARE, tmp_path) as process:
        assert heard(process) == "in"
    assert (tmp_path / LOCK).read_text() == "shards"
    with one_writer(tmp_path):
        assert (tmp_path / LOCK).read_text() != "shards"
    with one_of_several(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


def test_a_folder_that_a_process_holds_is_waited_for(tmp_path: Path) -> None:
    wait_for_holders(tmp_path / "nowhere", lambda: pytest.fail("there is nobody"))
    with another(HOLD, tmp_path) as process:
        assert heard(process) == "held"
        told: list[int] = []

        def end() -> None:
            told.append(1)
            go_on(process)

        wait_for_holders(tmp_path, end)
        assert told == [1]
        assert process.wait(60) == 0
    wait_for_holders(tmp_path, lambda: pytest.fail("it has ended"))
