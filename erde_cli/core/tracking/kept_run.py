"""`logs/trackers.json` of a run: the tracker runs that a resumed run continues in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from erde_cli.core.errors import InputError
from erde_cli.core.events import Role
from erde_cli.core.storage.files import make_folder
from erde_cli.core.storage.json_files import read_json, write_json

_FILE = Path("logs/trackers.json")
_FORMAT = 1


class KeptRun(BaseModel):
    """A run in a tracker.

    id: of the tracker. where: the address without credentials. recipe: its digest. epochs: the
    last one that the tracker has received, by role.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=r"^\w[\w.-]{0,199}$")]
    where: str
    recipe: str
    epochs: dict[Role, int]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    runs: dict[str, KeptRun]


def read_kept(folder: Path, tracker: str) -> KeptRun | None:
    """The tracker's run of a run folder; None if there is none, or the file cannot be read."""
    return _read(folder).get(tracker)


def keep(folder: Path, tracker: str, kept: KeptRun) -> None:
    """Store the tracker's run of a run folder."""
    runs = {**_read(folder), tracker: kept}
    make_folder((folder / _FILE).parent)
    write_json(folder / _FILE, _Document(format=_FORMAT, runs=runs).model_dump())


def _read(folder: Path) -> dict[str, KeptRun]:
    if not (folder / _FILE).is_file():
        return {}
    try:
        return _Document.model_validate(read_json(folder / _FILE)).runs
    except (InputError, ValidationError):  # it costs only the continuation
        return {}
