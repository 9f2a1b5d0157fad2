"""Chunks of files while the network answers: their order, and what an error leaves."""

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from torch import Tensor

from erde_cli.core.errors import ErdeError
from erde_cli.core.images.decoding import Decoded
from erde_cli.core.images.named_paths import Named
from erde_cli.core.images.pixels import Traits
from erde_cli.core.inference.prediction import Predicted
from erde_cli.core.workflows.predict_chunks import started_chunks

AHEAD = [0, 1, 3, 9]


def decoded(*values: int, bad: Sequence[int] = ()) -> Decoded:
    pixels = bytearray(np.repeat(np.array(values, np.uint8), 12).tobytes())
    reasons = dict.fromkeys(bad, "no image")
    return Decoded([""] * len(values), [""] * len(values), pixels, reasons, {}, Traits(), [])


def read(
    missing: deque[Named], error: Exception | None = None
) -> Iterator[tuple[list[str], Decoded]]:
    yield ["a", "b"], decoded(1, 2, bad=[1])
    missing.append(Named("nowhere", "No such file"))
    yield ["c"], decoded(3, bad=[0])
    yield ["d", "e"], decoded(4, 5)
    if error:
        raise error


def answer(pixels: Tensor) -> object:
    values = pixels[:, 0, 0, 0].long()
    return lambda: Predicted(values, values, values, values)


@pytest.mark.parametrize("ahead", AHEAD)
def test_answers_and_failures_are_in_the_order_of_the_files(ahead: int) -> None:
    missing: deque[Named] = deque()
    chunks = list(started_chunks(read(missing), missing, answer, 2, ahead))
    assert [list(chunk.paths) for chunk in chunks] == [["a"], [], ["d", "e"]]
    assert [[one.path for one in chunk.failed] for chunk in chunks] == [["b"], ["nowhere", "c"], []]
    labels = [chunk.predicted and chunk.predicted().labels.tolist() for chunk in chunks]
    assert labels == [[1], None, [4, 5]]


@pytest.mark.parametrize("ahead", AHEAD)
def test_what_was_read_before_an_error_is_answered(ahead: int) -> None:
    missing: deque[Named] = deque()
    chunks = started_chunks(read(missing, ErdeError("died")), missing, answer, 2, ahead)
    assert [list(next(chunks).paths) for _ in range(3)] == [["a"], [], ["d", "e"]]
    with pytest.raises(ErdeError, match="died"):
        next(chunks)


def test_no_more_is_read_than_is_asked_for() -> None:
    missing: deque[Named] = deque()
    chunks = started_chunks(read(missing), missing, answer, 2, 1)
    assert list(next(chunks).paths) == ["a"]
    assert not missing  # the second chunk has taken it; the third is not read
