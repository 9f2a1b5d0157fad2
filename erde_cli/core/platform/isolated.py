"""A Python process that imports nothing from the current folder."""

from __future__ import annotations

import json
import sys

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "


def isolated_python(code: str) -> list[str]:
    """Command line that runs `code` with the import path of this process.

    By default, Python searches the current folder first, so a `json.py` next to the user's images
    would run. `-I` excludes that folder, the PYTHON variables of the environment and the user's
    site folder. `-S` excludes what `site` would import.
    """
    path = json.dumps([folder for folder in sys.path if folder])
    return [sys.executable, "-I", "-S", "-c", _START + code, path]
