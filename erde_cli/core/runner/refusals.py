"""Files that erde exported but does not run, recognised by their metadata."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from erde_cli.core.errors import EXPORT_AGAIN, STAGES_AGAIN, BundleError
from erde_cli.core.runner.manifest import MANIFEST
from erde_cli.core.runner.metadata import Document

_STAGE, _STATIC = "erde.stage", "erde.static_exit"


def is_static(metadata: Mapping[str, str]) -> bool:
    """Whether the metadata of a file are those of a static network."""
    return _STAGE not in metadata and metadata.get(_STATIC, "null") != "null"


def require_whole(
    path: Path, metadata: Mapping[str, str], document: Document, inputs: Collection[str]
) -> None:
    """Check that an ONNX file with metadata of erde is one file that stops early, as exported.

    Args:
        path: of the file.
        metadata: of the file.
        document: its entries about the network, as JSON; they are validated elsewhere.
        inputs: names of its inputs, those with a default included.

    Raises:
        BundleError: it is a stage, a static network, or was changed by another tool.
    """
    if _STAGE in metadata:
        raise BundleError(
            f"{path} is one stage of a network, which cannot classify alone.",
            got=f"stage {_number(metadata[_STAGE])}",
            hint=f"give the folder of all stages: {path.parent}"
            if (path.parent / MANIFEST).is_file()
            else "give the folder of all stages",
            expected="a folder of stages, or one file that stops early",
        )
    if is_static(metadata):
        raise BundleError(
            f"{path} is a static network for other runtimes. It returns logits and never leaves "
            "early.",
            got="an export with --exit",
            hint=EXPORT_AGAIN,
            expected="an export without --exit",
        )
    if "thresholds" not in inputs and _early_exits(document):
        raise BundleError(
            f"{path} has no input `thresholds` any more: a tool such as onnxsim or onnxslim turned "
            "it into a constant.",
            got=f"inputs {', '.join(inputs)}",
            hint="use the file as erde exported it, or " + EXPORT_AGAIN,
            expected="inputs image, thresholds",
        )


def require_runnable_stages(folder: Path, portable: bool) -> None:
    """Check that stages give answers, not logits.

    Raises:
        BundleError: they are portable.
    """
    if portable:
        raise BundleError(
            f"{folder} contains portable stages for other runtimes. They return logits.",
            got="an export with --portable",
            hint=STAGES_AGAIN,
            expected="an export without --portable",
        )


def _early_exits(document: Document) -> bool:
    """Whether the metadata list thresholds."""
    calibration = document.get("calibration")
    return isinstance(calibration, dict) and bool(calibration.get("thresholds"))


def _number(stage: str) -> str:
    """Number of a stage as on screen, from 1."""
    return str(int(stage) + 1) if stage.isdecimal() and len(stage) < 4 else "unknown"
