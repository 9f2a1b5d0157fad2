"""`trained_on.bin` of a bundle: digests of the files that its network was trained on.

It contains the sorted first 8 bytes of the SHA-256 of each file, little-endian. They show whether a
given file was among them, but not what the files contain (SECURITY.md).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from erde_cli.core.arrays import BoolArray
from erde_cli.core.bundle.document import TrainedOnDocument
from erde_cli.core.errors import BundleError
from erde_cli.core.storage.files import write_file
from erde_cli.core.storage.short_digests import ShortDigests

TRAINED_ON = "trained_on.bin"
_BYTES = 8  # of each file


def write_trained_on(folder: Path, digests: ShortDigests) -> dict[str, Any]:
    """Write the file into a new bundle; return its entry in `bundle.json`."""
    content = np.unique(digests).astype("<u8").tobytes()
    write_file(folder / TRAINED_ON, lambda path: path.write_bytes(content))
    return {"files": len(content) // _BYTES, "digest": hashlib.sha256(content).hexdigest()}


def was_trained_on(
    bundle: Path, document: TrainedOnDocument | None, digests: ShortDigests
) -> BoolArray | None:
    """Whether a network was trained on each of some files, bool [files]; None: on no files.

    Args:
        bundle: its folder.
        document: entry of `trained_on.bin` in its `bundle.json`.
        digests: of the files, uint64 [files].

    Raises:
        BundleError: the file is missing or damaged.
    """
    if document is None:
        return None
    path = bundle / TRAINED_ON
    content = b""
    if path.is_file() and path.stat().st_size == _BYTES * document.files:
        content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != document.digest:
        raise BundleError(
            f"{path} is missing or damaged, so the images the network was trained on are unknown.",
            expected=f"digest {document.digest[:12]}",
            hint="copy the folder again, or train it again",
        )
    return np.isin(digests, np.frombuffer(content, "<u8"))
