"""The manifest of a folder of stages, and the files that it names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from erde_cli.core.errors import STAGES_AGAIN, BundleError, InputError
from erde_cli.core.storage.files import digest_of_file
from erde_cli.core.storage.json_files import read_json

MANIFEST = "manifest.json"
# A name, not a path: no file outside the folder is ever opened.
FILE, DIGEST = r"^[A-Za-z0-9_-]+\.onnx$", r"^[0-9a-f]{64}$"


StageFile = tuple[str, str]  # name and digest
Stages = tuple[list[StageFile], dict[str, Any]]  # in order, and the whole manifest as JSON


def read_stages(folder: Path) -> Stages:
    """Stages that a manifest names, in order, and the whole manifest as JSON; no file is read yet.

    Raises:
        BundleError: the manifest is missing, or not what erde writes.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(
            f"{folder} has no {MANIFEST}.", expected="a folder of stages", hint=STAGES_AGAIN
        )
    try:
        document = read_json(path)
        stages = _stages(document)
    except (InputError, ValueError) as error:
        raise BundleError(
            f"{path} is not what erde writes.",
            got=error.message if isinstance(error, InputError) else str(error),
            hint=STAGES_AGAIN,
            expected="a manifest written by erde export",
        ) from error
    return stages, document


def unchanged_files(folder: Path, stages: Sequence[StageFile]) -> list[Path]:
    """Files of the stages, in order. Each is read whole, so check their number first.

    Raises:
        BundleError: a file is missing or damaged.
    """
    return [_unchanged(folder, name, digest) for name, digest in stages]


def _stages(document: Any) -> list[StageFile]:
    """Name and digest of each file."""
    if not isinstance(document, dict) or not isinstance(document.get("stages"), list):
        raise ValueError("stages: a list expected")
    if not isinstance(document.get("network"), dict):
        raise ValueError("network: an object expected")
    found = []
    for number, stage in enumerate(document["stages"]):
        one = stage if isinstance(stage, dict) else {}
        for key, pattern in (("file", FILE), ("digest", DIGEST)):
            value = one.get(key)
            if not isinstance(value, str) or not re.fullmatch(pattern.rstrip("$"), value):
                raise ValueError(f"stages.{number}.{key}: a text of the pattern {pattern} expected")
        found.append((one["file"], one["digest"]))
    if len({name for name, _ in found}) < len(found):
        raise ValueError("stages: a file is named twice")
    return found


def _unchanged(folder: Path, name: str, expected: str) -> Path:
    file = folder / name
    if not file.is_file():
        raise BundleError(
            f"{folder} has no {name}.",
            hint=STAGES_AGAIN,
            expected="all files named in its manifest",
        )
    if (digest := digest_of_file(file)) != expected:
        raise BundleError(
            f"{file} is damaged, or was changed after it was exported.",
            got=f"digest {digest[:12]}",
            expected=f"digest {expected[:12]}",
            hint=STAGES_AGAIN,
        )
    return file
