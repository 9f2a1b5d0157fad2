"""Python in a process of its own, which imports nothing from the folder it is started in."""

from __future__ import annotations

import json
import sys

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "


def isolated_python(code: str) -> list[str]:
    """Command line that runs `code`, with this process's modules and nothing of its surroundings.

    Started as usual, Python looks for its first imports in the current folder: a `json.py` next to
    the user's images would be run. `-I` keeps it from that, from the environment's PYTHON
    variables, and from the user's site folder; `-S` from whatever `site` would import.
    """
    path = json.dumps([folder for folder in sys.path if folder])
    return [sys.executable, "-I", "-S", "-c", _START + code, path]
