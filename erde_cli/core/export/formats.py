"""What `erde export` writes, one row for each format; light, since `--help` reads it.

A new format is a module next to this one, which writes it and runs it, and its row here. All are
checked alike: what was written is opened, and must answer as the bundle does (`check.verify`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from erde_cli.core.export.check import Exported
    from erde_cli.core.export.network import ExportNetwork
    from erde_cli.core.export.runtimes import Runtime

FormatName = Literal["onnx", "onnx-staged", "torch-export"]

MANIFEST = "manifest.json"  # of a folder of stages


@dataclass(frozen=True)
class Format:
    """One of them.

    summary: of `--format` in the help. about: stands behind the name of what was written.
    kind: as messages call it, after "a".
    writer: "module:function" of this package, takes a network and the place, which exists.
    opener: the same, takes the place and the number of threads, gives what answers.
    suffix: tells its files, and with `needs_suffix` they must have it. marker: the file that tells
        a folder; a format with one is a folder.
    runtime: what `erde predict` runs it in; None: not at all, and `why_not` says why.
    extra: of this package, that brings what it needs. versions: packages that its record names.
    int8: whether it can be quantised.
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
    int8: bool = False

    def write(self, network: ExportNetwork, place: Path) -> None:
        """Write a network; only now are the packages of an extra imported."""
        resolve_name(f"{__package__}.{self.writer}")(network, place)

    def open(self, place: Path, threads: int | None) -> Exported:
        """Open what was written, ready to answer."""
        found: Exported = resolve_name(f"{__package__}.{self.opener}")(place, threads)
        return found

    def is_meant(self, path: Path) -> bool:
        """Whether a path is meant as one of these."""
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
            about="a file per stage, for batches; manifest.json says what is what",
            kind="folder of stages",
            writer="onnx_staged:write_stages",
            opener="onnx_runtime:open_exported",
            marker=MANIFEST,
            runtime="onnx",
            extra="onnx",
            versions=("onnx", "onnxscript"),
            int8=True,
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
            why_not="which computes every exit and leaves at none",
        ),
    )
}


def format_of(path: Path) -> Format | None:
    """The format that a path is meant as; None: a bundle."""
    return next((row for row in FORMATS.values() if row.is_meant(path)), None)


def named(rows: Callable[[Format], object], between: str = " or ") -> str:
    """Names of the formats of which something is true, as a sentence has them."""
    return between.join(row.name for row in FORMATS.values() if rows(row))
