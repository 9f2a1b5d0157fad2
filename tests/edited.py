"""Files of a bundle changed by hand, with digests made anew: what a reader says is its own."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from erde_cli.core.bundle.document import BundleDocument
from erde_cli.core.calibration.thresholds_file import ThresholdsDocument
from erde_cli.core.storage.json_files import digest_of


def edit_json(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change a document, and the digest of itself that it holds."""
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(sealed(document)))


def update_json(path: Path, **values: object) -> None:
    """Give some keys of a document other values."""
    edit_json(path, lambda document: document.update(values))


def in_format_2(document: dict[str, Any]) -> dict[str, Any]:
    """`thresholds.json` as it was before it named the metric; of thresholds by accuracy."""
    held_out = [document["held_out"], *(one["held_out"] for one in document["frontier"])]
    for one in (document, *document["frontier"], *held_out):
        for name in ("balanced_accuracy", "full_balanced_accuracy", "exit_balanced_accuracy"):
            assert (one or {}).pop(name, None) is None
    assert document["target"].pop("metric", "accuracy") == "accuracy"
    rest = {**document, "format": 2}
    del rest["seal"]
    return {**rest, "seal": digest_of(rest)}


def sealed(document: Any) -> Any:
    """A document with the digest of itself that it is to hold, whatever else is in it."""
    if not isinstance(document, dict):
        return document
    for name in ("digest", "seal"):  # of bundle.json, of thresholds.json
        if name in document:
            rest = {key: value for key, value in document.items() if key != name}
            with suppress(ValueError, TypeError, RecursionError):  # NaN, for instance
                document = {**document, name: digest_of(rest)}
    with suppress(ValidationError, ValueError, TypeError):  # as a reader will see it: 1 as 1.0
        if "digest" in document:
            document["digest"] = BundleDocument.model_validate(document).sealed().digest
        elif "seal" in document:
            seen = ThresholdsDocument.model_validate(document).model_dump()
            del seen["seal"]
            document["seal"] = digest_of(seen)
    return document
