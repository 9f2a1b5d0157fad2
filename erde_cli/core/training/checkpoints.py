"""Checkpoints: saved states of a training, from which it can continue.

A file name contains the step and the digest of the bytes, so that damage is noticed before a file
is read. Reading runs no code: torch's restricted reader accepts only tensors, numbers and strings.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from erde_cli.core.storage.archives import require_plain_parts
from erde_cli.core.storage.files import write_file

_FORMAT = 2
_KEPT = 2  # if the newest is damaged, the one before it is used
_KEYS = {"format", "inputs_digest", "made_by", "state", "metrics", "timings"}
_DIGITS = 16  # of the digest in a file name


@dataclass(frozen=True)
class Saved:
    """The content of a checkpoint.

    made_by: device, precision, threads and versions. state: of `TrainState`. metrics, timings: the
    rows of finished epochs.
    """

    made_by: dict[str, Any]
    state: dict[str, Any]
    metrics: list[dict[str, Any]]
    timings: list[dict[str, Any]]


class Checkpoints:
    """Checkpoints of one network in a run folder. Those of other inputs are ignored."""

    def __init__(self, folder: Path, inputs_digest: str) -> None:
        self.folder = folder
        self._inputs_digest = inputs_digest

    def save(self, step: int, saved: Saved) -> None:
        """Write a state, then delete all but it and the one before.

        Raises:
            ErdeError: it cannot be written; earlier ones are kept.
        """
        document = {"format": _FORMAT, "inputs_digest": self._inputs_digest, **vars(saved)}
        stream = io.BytesIO()
        torch.save(document, stream)
        content = stream.getvalue()
        path = self.folder / f"step-{step:09}-{_digest(content)}.pt"
        write_file(path, lambda temporary: temporary.write_bytes(content))
        for older in self._paths()[_KEPT:]:
            older.unlink(missing_ok=True)

    def latest(
        self, warn: Callable[[str], object], mismatch: Callable[[Saved], str] = lambda saved: ""
    ) -> Saved | None:
        """The newest undamaged state of these inputs; None if there is none.

        Args:
            warn: receives a message for every damaged file.
            mismatch: the reason why a state is not of this training; empty if it is.
        """
        for path in self._paths():
            saved = self._read(path)
            if isinstance(saved, Saved) and (reason := mismatch(saved)):
                saved = f"it is not what erde writes ({reason})"
            if isinstance(saved, Saved):
                return saved
            if saved:
                warn(f"{path} is ignored: {saved}.")
        return None

    def clear(self) -> None:
        """Delete all checkpoints, because the network is finished or starts again."""
        for path in self._paths():
            path.unlink(missing_ok=True)
        for folder in (self.folder, self.folder.parent):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def _paths(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob("step-*.pt"), reverse=True)

    def _read(self, path: Path) -> Saved | str:
        """The state, or what is wrong with the file; empty for a state of other inputs."""
        try:
            content = path.read_bytes()
        except OSError as error:
            return f"it cannot be read ({error.strerror})"
        if path.stem.rpartition("-")[2] != _digest(content):
            return "it is damaged"
        try:
            require_plain_parts(io.BytesIO(content))
            found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:  # noqa: BLE001 (untrusted bytes can raise any exception)
            return f"it is not what erde writes ({(str(error).splitlines() or [repr(error)])[0]})"
        if not isinstance(found, dict) or set(found) != _KEYS or found["format"] != _FORMAT:
            return "it was written by another version of erde"
        if found["inputs_digest"] != self._inputs_digest:
            return ""
        return Saved(**{name: found[name] for name in Saved.__dataclass_fields__})


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_DIGITS]
