"""The git commit of the code that runs, where it comes from git."""

from __future__ import annotations

import json
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

_PACKAGES = ("erde-cli", "torch", "numpy", "safetensors")

_SECONDS = 10.0  # that git may take, on a slow disk


@cache
def source_commit() -> str | None:
    """Commit of erde's own code, 40 hexadecimal digits; None where there is none to be known.

    A checkout with changes has `-dirty` behind it. An installed package knows its commit where pip
    was given a git address (PEP 610).
    """
    return _of_checkout(Path(__file__).with_name("__init__.py")) or _of_installation()


def _of_checkout(module: Path) -> str | None:
    """Commit of the checkout that has this very module; not of one around an environment."""
    folder = module.parent
    if _git(folder, "ls-files", "--error-unmatch", module.name) is None:
        return None
    return _git(folder, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None where there is no git, or it fails."""
    try:
        done = subprocess.run(  # noqa: S603 (its arguments stand above)
            ["git", "-C", str(folder), *arguments],  # noqa: S607 (whichever git the user has)
            capture_output=True, text=True, check=True, timeout=_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _of_installation() -> str | None:
    try:
        text = distribution("erde-cli").read_text("direct_url.json")
        commit = json.loads(text or "{}")["vcs_info"]["commit_id"]
    except (PackageNotFoundError, ValueError, KeyError, TypeError):
        return None
    return str(commit)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide numbers."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def versions_of(*packages: str) -> dict[str, str]:
    """Version of each package that had a part in an export."""
    return {name: version(name) for name in packages}
