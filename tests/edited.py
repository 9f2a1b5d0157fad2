"""Files of a bundle changed by hand, with digests made anew: what a reader says is its own."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

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
        if "seal" in document:
            seen = ThresholdsDocument.model_validate(document).model_dump()
            del seen["seal"]
            document["seal"] = digest_of(seen)
    return document
