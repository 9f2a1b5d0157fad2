"""The formats of `erde export`, one row each. Light, because `--help` reads it.

A new format is a module next to this one, which writes and runs it, and a row here. Each export is
opened again and must give the answers of the bundle (`check.verify`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Literal

from erde_cli.core.runner.manifest import MANIFEST

if TYPE_CHECKING:
    from erde_cli.core.export.check import Exported
    from erde_cli.core.export.network import ExportNetwork
    from erde_cli.core.export.runtimes import Runtime

FormatName = Literal["onnx", "onnx-staged", "torch-export"]


@dataclass(frozen=True)
class Format:
    """One format.

    summary: help of `--format`. about: shown after the path of an export.
    kind: name in messages, after "a".
    writer: "module:function" of this package: (network, path) → writes the file, or into the
        existing folder.
    opener: "module:function" of this package: (path, threads) → `Exported`.
    suffix: of its files; with `needs_suffix` it is required. marker: the file that identifies a
        folder; a format with a marker is a folder.
    runtime: of `erde predict`; None: it cannot run it, and `why_not` states why.
    extra: the extra of this package that it needs. versions: packages named in its record.
    """

    name: FormatName
    summary: str
    about: str
    kind: str
    writer: str
    opener: str
    suffix: str = ""
    needs_suffix: bool = False
    marker: str = ""
    runtime: Runtime | None = None
    why_not: str = ""
    extra: str | None = None
    versions: tuple[str, ...] = ()

    @property
    def int8(self) -> bool:
        """Whether it can be quantised."""
        return any(one.format == self.name and "--int8" in one.options for one in COMBINATIONS)

    def write(self, network: ExportNetwork, place: Path) -> None:
        """Write a network; imports the packages of the extra."""
        resolve_name(f"{__package__}.{self.writer}")(network, place)

    def open(self, place: Path, threads: int | None) -> Exported:
        """Open an export, ready to answer."""
        exported: Exported = resolve_name(f"{__package__}.{self.opener}")(place, threads)
        return exported

    def is_meant(self, path: Path) -> bool:
        """Whether a path is an export of this format."""
        return (path / self.marker).is_file() if self.marker else path.suffix == self.suffix


FORMATS: dict[FormatName, Format] = {
    row.name: row
    for row in (
        Format(
            "onnx",
            summary="one file for single images that stops early",
            about="one image at a time; the file itself stops early",
            kind="file of ONNX",
            writer="onnx_single:write_onnx_file",
            opener="onnx_runtime:open_exported",
            suffix=".onnx",
            runtime="onnx",
            extra="onnx",
            versions=("onnx", "onnxscript"),
        ),
        Format(
            "onnx-staged",
            summary="a folder of stages for batches",
            about="a file per stage, for batches; manifest.json describes them",
            kind="folder of stages",
            writer="onnx_staged:write_stages",
            opener="onnx_runtime:open_exported",
            marker=MANIFEST,
            runtime="onnx",
            extra="onnx",
            versions=("onnx", "onnxscript"),
        ),
        Format(
            "torch-export",
            summary="all exits for torch",
            about="every exit of a batch; torch.export.load opens it",
            kind="file of torch.export",
            writer="torch_export:write_torch_export",
            opener="torch_export:TorchExported",
            suffix=".pt2",
            needs_suffix=True,
            why_not="which computes every exit and never leaves early",
        ),
    )
}


@dataclass(frozen=True)
class Combination:
    """Options that can be used together with a format."""

    format: FormatName
    options: frozenset[str]

    def __str__(self) -> str:
        written = {"--exit": "--exit N"}
        names = [written.get(name, name) for name in OPTIONS if name in self.options]
        return " ".join([f"--format {self.format}", *names])


# The options that decide what is written. Every set of them that is not listed below is refused.
OPTIONS = ("--exit", "--int8", "--portable", "--input any", "--no-preprocessing")
_RAW = "--no-preprocessing"
_SETS: dict[FormatName, tuple[tuple[str, ...], ...]] = {
    "onnx": (
        (), (_RAW,), ("--int8",), ("--int8", _RAW),
        ("--exit",), ("--exit", _RAW), ("--exit", "--portable"), ("--input any",),
    ),
    "onnx-staged": ((), (_RAW,), ("--int8",), ("--int8", _RAW), ("--portable",)),
    "torch-export": ((), (_RAW,), ("--exit",), ("--exit", _RAW)),
}  # fmt: skip
COMBINATIONS = tuple(
    Combination(name, frozenset(options)) for name, sets in _SETS.items() for options in sets
)


def alternatives_to(form: FormatName, options: frozenset[str]) -> list[Combination]:
    """The legal combinations nearest to one that is not; empty if it is legal.

    They have as many of its options as possible, and no others but --exit where it is needed.
    """
    if Combination(form, options) in COMBINATIONS:
        return []
    kept = [one for one in COMBINATIONS if one.options <= options | {"--exit"}]
    most = max(len(one.options & options) for one in kept)
    nearest = [one for one in kept if len(one.options & options) == most]
    return [
        one
        for one in nearest
        if not any(o.format == one.format and o.options < one.options for o in nearest)
    ]


def combinations_table() -> str:
    """The legal combinations as a table in Markdown."""
    lines = [
        f"| `--format` | {' | '.join(f'`{name}`' for name in OPTIONS)} |",
        f"|---|{'---|' * len(OPTIONS)}",
    ]
    for one in COMBINATIONS:
        marks = (" yes |" if name in one.options else " |" for name in OPTIONS)
        lines.append(f"| `{one.format}` |{''.join(marks)}")
    return "\n".join(lines)


def format_of(path: Path) -> Format | None:
    """The format of an export, by its path; None: a bundle."""
    return next((row for row in FORMATS.values() if row.is_meant(path)), None)


def named(condition: Callable[[Format], object], between: str = " or ") -> str:
    """Names of the formats that fulfil a condition, joined for a sentence."""
    return between.join(row.name for row in FORMATS.values() if condition(row))
