"""Randomness as a pure function of (seed, purpose, position), without generator state.

The draws for image n in epoch e do not depend on earlier draws. A resumed run, a run on more
processes and a run that reads cached teacher logits therefore see the same draws.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def derive_seed(seed: int, purpose: str, *position: int) -> int:
    """Seed in [0, 2⁶³) for one purpose at one position (an epoch, a step, a rank)."""
    text = f"{seed}/{purpose}/" + "/".join(map(str, position))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def permutation(count: int, seed: int, purpose: str, *position: int) -> NDArray[np.int64]:
    """Random permutation of 0 to `count` - 1, int64 [count]."""
    generator = np.random.Generator(np.random.Philox(derive_seed(seed, purpose, *position)))
    return generator.permutation(count).astype(np.int64)


def integers_per_image(
    images: NDArray[np.int64], below: int, seed: int, purpose: str, *position: int
) -> NDArray[np.int64]:
    """One integer in [0, below) for each image number, int64 [images].

    The bits are SplitMix64 of the image's number, keyed by (seed, purpose, position). The modulo
    bias is less than below / 2⁶⁴.

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    key = np.uint64(derive_seed(seed, purpose, *position))
    with np.errstate(over="ignore"):
        bits = images.astype(np.uint64) * _GOLDEN_GAMMA + key
        bits = (bits ^ (bits >> np.uint64(30))) * _MIX_1
        bits = (bits ^ (bits >> np.uint64(27))) * _MIX_2
        bits ^= bits >> np.uint64(31)
    return (bits % np.uint64(below)).astype(np.int64)
