"""Chunks of files that `erde predict` has read, while the network answers them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from erde_cli.core.images.decoding import Decoded
from erde_cli.core.images.named_paths import Named
from erde_cli.core.images.pixels import Traits
from erde_cli.core.inference.at_once import Answer
from erde_cli.core.inference.prediction import Predicted


@dataclass(frozen=True)
class Chunk:
    """Files that were read, those that could not be, and the network's answers."""

    paths: Sequence[str] = ()
    failed: Sequence[Named] = ()
    traits: Traits = field(default_factory=Traits)
    predicted: Callable[[], Predicted] | None = None


def started_chunks(
    chunks: Iterable[tuple[Sequence[str], Decoded | None]],
    missing: deque[Named],
    answer: Answer,
    size: int,
    ahead: int,
) -> Iterator[Chunk]:
    """Chunks in order, while the network answers those up to `ahead` of them.

    Args:
        chunks: paths, and the files read from them; None: no file has arrived.
        missing: paths that lead to no file; the next chunk takes them.
        answer: starts to answer images.
        size: of the images, in pixels.
        ahead: chunks that are read before the first of them is given on.
    """
    waiting: deque[Chunk] = deque()
    try:
        for paths, decoded in chunks:
            failed = [missing.popleft() for _ in range(len(missing))]
            waiting.append(_started(paths, decoded, failed, answer, size))
            if len(waiting) > ahead:
                yield waiting.popleft()
    except Exception:  # what was read before is answered
        yield from waiting
        raise
    yield from waiting


def _started(
    paths: Sequence[str], decoded: Decoded | None, failed: list[Named], answer: Answer, size: int
) -> Chunk:
    if decoded is None:
        return Chunk(paths, failed)
    bad = {**decoded.unreadable, **decoded.unopened}
    failed = failed + [Named(paths[place], reason) for place, reason in sorted(bad.items())]
    good = [place for place in range(len(paths)) if place not in bad]
    if not good:
        return Chunk([], failed, decoded.traits)
    # A copy: torch wants writable memory, and the bytes can be read-only.
    pixels = torch.frombuffer(bytearray(decoded.pixels), dtype=torch.uint8)
    pixels = pixels.view(-1, size, size, 3)
    if bad:
        pixels = pixels[torch.tensor(good)]
    return Chunk([paths[place] for place in good], failed, decoded.traits, answer(pixels))
