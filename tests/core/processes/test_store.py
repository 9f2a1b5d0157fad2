"""What other processes have written is untrusted; who has ended is noticed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from torch.distributed import HashStore

from erde_cli.core.errors import InputError
from erde_cli.core.processes import store as module
from erde_cli.core.processes.environment import Place
from erde_cli.core.processes.lost import LostProcessError
from erde_cli.core.processes.store import SharedStore

SENT = [
    b"", b"{", b"\xff\xfe", b"[]", b"1", b"null", b'"text"', b'{"a": 1}', b'{"a": null}',
    b'{"a": {"b": "c"}}', b'{"a": ["b"]}', b'{"a": NaN}', b"[" * 100_000, b'{"a":' * 100_000,
    b'{"a": "' + b"x" * 1_000_000 + b'"}',
]  # fmt: skip


def two(found: HashStore) -> tuple[SharedStore, SharedStore]:
    """Those of rank 0 and 1 of two, on one store."""
    first, second = (Place(rank, 2, rank, "127.0.0.1", 1, served=True) for rank in (0, 1))
    return SharedStore(found, first), SharedStore(found, second)


def process_that_has_ended() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        return ended.pid


@pytest.mark.parametrize("content", SENT, ids=lambda content: str(content[:20]))
def test_what_is_no_object_of_texts_is_refused(content: bytes) -> None:
    found = HashStore()
    found.set("key", content)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Another process has sent what erde does not send") as it:
        two(found)[1].take("key")
    assert it.value.hint


def test_texts_arrive_as_they_are() -> None:
    first, second = two(HashStore())
    texts = {"a": "1", "θ": "\x1b[31m\n", "": ""}
    first.put("key", texts)
    assert second.take("key") == texts


@pytest.mark.parametrize("number", ["-1", "0x1", "", "1e3", "9" * 30, "²", "../1"])
def test_what_is_no_process_number_names_no_process(number: str) -> None:
    found = HashStore()
    first, second = two(found)
    first.put("process/0", {"host": module._host(), "number": number})
    second.introduce()
    assert not second.is_near(0)


def test_a_process_that_has_ended_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    found = HashStore()
    first, second = two(found)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    first.put("process/0", {"host": module._host(), "number": str(ended.pid)})
    second.introduce()
    with pytest.raises(LostProcessError, match="The training has lost rank 0: killed") as it:
        second.take("never")  # its parent has not waited for it: it counts as ended all the same
    assert not it.value.reported
    ended.wait()


def test_a_process_on_another_host_is_not_looked_for() -> None:
    found = HashStore()
    first, second = two(found)
    first.put("process/0", {"host": "another", "number": str(os.getpid())})
    second.introduce()
    assert not second.is_near(0)


def test_the_first_that_fails_reports() -> None:
    first, second = two(HashStore())
    assert second.may_report()
    assert not first.may_report()
    with pytest.raises(LostProcessError) as it:
        first.take("never")
    assert it.value.reported


def test_one_that_has_parted_and_ended_is_not_counted_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rank 0 serves the store of three: rank 1 has done its part and ended, rank 2 has not."""
    monkeypatch.setattr(module, "_SERVE_FOR", 0.3)
    found = HashStore()
    first, second, third = (
        SharedStore(found, Place(rank, 3, rank, "127.0.0.1", 1)) for rank in range(3)
    )
    second.part()
    first._neighbours[1] = process_that_has_ended()
    start = time.monotonic()
    first.part()
    assert time.monotonic() - start > 0.25
    third.part()
    monkeypatch.setattr(module, "_SERVE_FOR", 60)
    start = time.monotonic()
    first.part()
    assert time.monotonic() - start < 30


def test_two_processes_of_one_rank_are_refused() -> None:
    found = HashStore()
    _, second = two(found)
    found.add("rank/1", 1)
    with pytest.raises(InputError, match="Two processes have the rank 1"):
        second.introduce()


def test_one_that_does_not_come_is_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT", timedelta(seconds=0.3))
    first, _ = two(HashStore())
    with pytest.raises(InputError, match=r"not all have answered within 0\.005 minutes"):
        first.introduce()


def test_that_limit_ends_once_all_have_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT", timedelta(seconds=0.3))
    first, second = two(HashStore())
    second.put("process/1", {})
    first.introduce()
    end = time.monotonic() + 0.6
    first.wait(lambda: time.monotonic() > end)
