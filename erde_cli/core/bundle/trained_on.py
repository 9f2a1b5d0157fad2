"""`trained_on.bin` of a bundle: which files its network was trained on, by their content.

The sorted first 8 bytes of the SHA-256 of each file, little-endian. Whoever holds a file can tell
whether it was among them; what was in them, nobody can (SECURITY.md).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from erde_cli.core.bundle.document import TrainedOnDocument
from erde_cli.core.errors import BundleError
from erde_cli.core.storage.files import write_file
from erde_cli.core.storage.short_digests import ShortDigests

TRAINED_ON = "trained_on.bin"
_BYTES = 8  # of each file


def write_trained_on(folder: Path, digests: ShortDigests) -> dict[str, Any]:
    """Write the file into a bundle that is being made; return what `bundle.json` says of it."""
    content = np.unique(digests).astype("<u8").tobytes()
    write_file(folder / TRAINED_ON, lambda beside: beside.write_bytes(content))
    return {"files": len(content) // _BYTES, "digest": hashlib.sha256(content).hexdigest()}


def trained_on_again(
    bundle: Path, document: TrainedOnDocument | None, digests: ShortDigests
) -> NDArray[np.bool_] | None:
    """Which of some files a network was trained on, bool [files]; None: its bundle says nothing.

    Args:
        bundle: its folder.
        document: what its `bundle.json` says of the file.
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
            f"{path} is missing or damaged, so nobody knows what the network was trained on.",
            expected=f"digest {document.digest[:12]}",
            hint="copy the folder again, or train it again",
        )
    return np.isin(digests, np.frombuffer(content, "<u8"))
