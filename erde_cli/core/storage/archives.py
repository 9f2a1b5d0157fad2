"""Zip archives from outside, as `torch.save` writes them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import BinaryIO


def require_plain_parts(file: Path | BinaryIO) -> None:
    """Check that no part of an archive is compressed, so that reading needs no more memory.

    Raises:
        ValueError: parts are compressed, or overlap.
        BadZipFile: it is not a zip archive.
    """
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        size = archive.fp.seek(0, 2) if archive.fp else 0
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if packed or sum(entry.file_size for entry in entries) > size:
        raise ValueError("its parts are compressed")
