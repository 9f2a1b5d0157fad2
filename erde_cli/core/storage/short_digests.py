"""Files identified by the first 8 bytes of their SHA-256: compact, and enough for millions.

Among a million files, two different ones share them with a probability of 3 in a hundred million.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

ShortDigests = NDArray[np.uint64]
_HEX = 16  # digits


def short_digests(digests: Iterable[str]) -> ShortDigests:
    """First 8 bytes of digests in hexadecimal, uint64 [files]."""
    return np.array([int(digest[:_HEX], 16) for digest in digests], dtype=np.uint64)


def first_of_each(digests: ShortDigests) -> NDArray[np.int64]:
    """For each file the number of the first one with the same content, int64 [files]."""
    _, first, group = np.unique(digests, return_index=True, return_inverse=True)
    found: NDArray[np.int64] = first[group].astype(np.int64)
    return found
