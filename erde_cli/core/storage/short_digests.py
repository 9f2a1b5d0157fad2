"""The first 8 bytes of a file's SHA-256, a compact identifier that suffices for millions of files.

The probability that two of a million different files share one is 3 in a hundred million.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from erde_cli.core.arrays import IntArray

ShortDigests = NDArray[np.uint64]


def short_digests(digests: Iterable[str]) -> ShortDigests:
    """Short digests from hexadecimal SHA-256 digests, uint64 [files]."""
    return np.array([int(digest[:16], 16) for digest in digests], dtype=np.uint64)


def first_of_each(digests: ShortDigests) -> IntArray:
    """For each file, the number of the first file with the same content, int64 [files]."""
    _, first, group = np.unique(digests, return_index=True, return_inverse=True)
    numbers: IntArray = first[group].astype(np.int64)
    return numbers
