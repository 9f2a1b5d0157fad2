"""Whether all processes of a training see the same folder: rank 0 marks it, the others look."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from erde_cli.core.errors import InputError

_SEEN_WITHIN = 20.0  # seconds, in which a network file system shows a new file
_SEEN_NEAR = 1.0  # seconds, on the host that has written it
_POLL = 0.05  # seconds
# A temporary file of erde: one that a killed process leaves is removed by the next command.
_BEFORE = ".erde-new-rank-0-"
_NAME = re.compile(re.escape(_BEFORE) + "[0-9a-f]{16}")


def new_mark() -> str:
    """A name that no other file has."""
    return _BEFORE + secrets.token_hex(8)


@contextmanager
def marked(folders: Mapping[str, Path], name: str) -> Iterator[None]:
    """Put a file of this name into each folder; it is removed at the end."""
    with ExitStack() as stack:
        for folder in folders.values():
            stack.callback((folder / name).unlink, missing_ok=True)
            handle = stack.enter_context((folder / name).open("x"))
            with suppress(OSError):  # it is in use as long as it is locked
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def require_marks(folders: Mapping[str, Path], name: str, rank: int, *, same_host: bool) -> None:
    """Check that the files that rank 0 has put into its folders are here too.

    Args:
        folders: by what they are for.
        name: as rank 0 sent it; untrusted.
        rank: of this process.
        same_host: whether rank 0 is on this host, so that its files are seen at once.

    Raises:
        InputError: a folder is another one, or the name is none of erde's.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"Rank 0 has sent a name that erde does not give: {name[:60]!r}.",
            expected=f"{_BEFORE} and 16 hexadecimal digits",
            hint="let only processes of one erde command use this --master-port",
        )
    end = time.monotonic() + (_SEEN_NEAR if same_host else _SEEN_WITHIN)
    for what, folder in folders.items():
        while not (folder / name).exists():
            if time.monotonic() > end:
                raise InputError(
                    f"Rank {rank} does not see what rank 0 writes to the {what} folder.",
                    got=f"{folder.absolute()} on host {socket.gethostname()}",
                    expected="one folder that all processes share",
                    hint="name a shared folder: --out FOLDER for the run, and ERDE_CACHE=FOLDER "
                    "for the cache",
                )
            with suppress(OSError):
                os.listdir(folder)  # noqa: PTH208 (NFS looks again)
            time.sleep(_POLL)
