"""The git commit of the running code, and the versions of its packages."""

from __future__ import annotations

import json
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

_PACKAGES = ("erde-cli", "torch", "numpy", "safetensors")

_SECONDS = 10.0  # time limit of a git command; disks can be slow


@cache
def source_commit() -> str | None:
    """Commit of erde's own code, 40 hexadecimal digits; None if it is unknown.

    The commit of a checkout with changes ends in `-dirty`. The commit of an installed package is
    known if pip installed it from a git address (PEP 610).
    """
    return _of_checkout(Path(__file__).with_name("__init__.py")) or _of_installation()


def _of_checkout(module: Path) -> str | None:
    """Commit of the checkout that tracks this module, not of one that contains the environment."""
    folder = module.parent
    if _git(folder, "ls-files", "--error-unmatch", module.name) is None:
        return None
    return _git(folder, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command; None if git is missing or fails."""
    try:
        completed = subprocess.run(  # noqa: S603 (the arguments are above)
            ["git", "-C", str(folder), *arguments],  # noqa: S607 (the git of the user)
            capture_output=True, text=True, check=True, timeout=_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return completed.stdout.strip()


def _of_installation() -> str | None:
    try:
        text = distribution("erde-cli").read_text("direct_url.json")
        commit = json.loads(text or "{}")["vcs_info"]["commit_id"]
    except (PackageNotFoundError, ValueError, KeyError, TypeError):
        return None
    return str(commit)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect results."""
    return {"python": platform.python_version(), **versions_of(*_PACKAGES)}


def versions_of(*packages: str) -> dict[str, str]:
    """Version of each package, by name."""
    return {name: version(name) for name in packages}
