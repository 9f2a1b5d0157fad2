"""Files of a bundle changed by hand, with digests made anew: what a reader says is its own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from erde_cli.core.files import digest_of

_SEALS = ("digest", "seal")  # of bundle.json, of thresholds.json


def edit_json(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change a document, and the digest of itself that it holds."""
    document = json.loads(path.read_text())
    edit(document)
    for seal in _SEALS:
        if seal in document:
            rest = {name: value for name, value in document.items() if name != seal}
            document[seal] = digest_of(rest)
    path.write_text(json.dumps(document))


def update_json(path: Path, **values: object) -> None:
    """Give some keys of a document other values."""
    edit_json(path, lambda document: document.update(values))
