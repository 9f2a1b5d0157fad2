"""`erde export FILE --check`: run an export on the check vector that travels in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from erde_cli.core.errors import EXPORT_AGAIN, InputError
from erde_cli.core.export.check_vector import CheckVector
from erde_cli.core.export.record import ExportRecord
from erde_cli.core.export.self_check import CheckedExit, check_vector
from erde_cli.core.runner.manifest import MANIFEST
from erde_cli.core.storage.json_files import Json
from erde_cli.core.workflows.options import Options


@dataclass(frozen=True)
class CheckedExport:
    """An export, its check vector, and what each exit answered."""

    path: Path
    record: ExportRecord
    vector: CheckVector
    exits: list[CheckedExit]

    @property
    def is_right(self) -> bool:
        """Whether every exit answers as expected."""
        return all(one.is_right for one in self.exits)

    def to_json(self) -> Json:
        """The object that `--json` prints."""
        return {
            "export": str(self.path),
            "right": self.is_right,
            "tolerance": self.vector.tolerance,
            "exits": [one.to_json() for one in self.exits],
        }


def check_export(path: Path, options: Options) -> CheckedExport:
    """Run an export on its check vector.

    Args:
        path: of an ONNX file, a folder of stages or its manifest; not of torch.export, whose
            files can run code.
        options: threads, observer.

    Raises:
        BundleError: the export is missing, damaged, or was not written by erde.
        InputError: it has no check vector.
    """
    from erde_cli.core.export.onnx_logits import open_any  # an extra

    place = path.parent if path.name == MANIFEST else path
    options.observer.phase("Checking")
    network = open_any(place, options.context("float32").threads)
    vector = network.record.test
    if vector is None:
        raise InputError(
            f"{path} has no check vector.",
            got=f"an export of format {network.record.format}, without erde.test",
            expected="an export with erde.test in its metadata",
            hint=EXPORT_AGAIN,
        )
    return CheckedExport(path, network.record, vector, check_vector(network, vector))
