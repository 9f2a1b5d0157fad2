"""`erde export FILE --check`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from erde_cli.core.errors import InputError
from erde_cli.core.export.formats import format_of


def check_existing_export(
    path: Path, others: Sequence[str], as_json: bool, threads: int | None
) -> None:
    """Run an export on its check vector; exit code 1 if an answer differs.

    Args:
        path: of the export.
        others: options that do not apply but were given.
        as_json: whether one JSON object is printed instead of a table.
        threads: of ONNX Runtime.

    Raises:
        InputError: another option was given, or opening the file could run code that is in it.
    """
    _check(path, others)
    from erde_cli.commands.views.export_check import check_table
    from erde_cli.commands.views.terminal import show, working
    from erde_cli.core.workflows.export_check import check_export

    with working(True, "cpu", threads) as options:
        checked = check_export(path, options)
    show(checked.to_json(), as_json, check_table(checked))
    if not checked.is_right:
        raise typer.Exit(1)


def _check(path: Path, others: Sequence[str]) -> None:
    """Check the options before torch is imported."""
    from erde_cli.core.platform.extras import require_extra

    if others:
        raise InputError(
            "--check runs an existing export and writes nothing.",
            got=", ".join(others),
            expected="--check with --json, --quiet and --threads only",
            hint=f"leave {' and '.join(others)} out",
        )
    row = format_of(path)
    if row is not None and row.runtime is None:
        raise InputError(
            f"{path} is a {row.kind}, and opening one can run code that is in the file.",
            expected="an ONNX file, a folder of stages, or its manifest.json",
            hint="if you trust the file, check it with the Python example in docs/preprocessing.md",
        )
    require_extra("onnx", "--check")
