"""The trackers of `--track`, one row each. Light, because a wrong name must be refused at once.

A new tracker is a module next to this one with a subclass of `TrackerListener`, and a row here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from erde_cli.core.errors import InputError, brief
from erde_cli.core.platform.extras import require_extra
from erde_cli.core.tracking.destination import HIDDEN, Destination

if TYPE_CHECKING:
    from erde_cli.core.events import Observer
    from erde_cli.core.tracking.listener import TrackerListener


@dataclass(frozen=True)
class Tracker:
    """One tracker: its name, which is also that of its extra, and its title.

    builder: "module:class" of this package, imported only if the tracker is named.
    takes: what an address can be. example: an address. schemes: of an address; (): only a folder;
    None: the tracker decides. one_file: whether all runs of a folder are in one file by default.
    """

    name: str
    title: str
    builder: str
    takes: str
    example: str
    schemes: tuple[str, ...] | None
    one_file: bool = False

    def accepts(self, address: str) -> bool:
        """Whether an address has a form that the tracker takes."""
        scheme, found, rest = address.partition("://")
        if self.schemes is None or not address:
            return True
        return bool(rest) and scheme in self.schemes if self.schemes else not found


TRACKERS = {
    row.name: row
    for row in (
        Tracker(
            "tensorboard",
            "TensorBoard",
            "tensorboard:TensorBoard",
            takes="a folder whose name contains no @ and no colon",
            example="tensorboard:runs/tensorboard",
            schemes=(),
        ),
        Tracker(
            "mlflow",
            "MLflow",
            "mlflow:MLflow",
            takes="an address of a tracking server or a database, with its ://",
            example="mlflow:https://mlflow.example.com",
            schemes=None,
            one_file=True,
        ),
        Tracker(
            "wandb",
            "Weights & Biases",
            "wandb:WandB",
            takes="the address of a server, with its https://",
            example="wandb:https://wandb.example.com",
            schemes=("https", "http"),
        ),
    )
}


@dataclass(frozen=True)
class Tracking:
    """The trackers of a command.

    root: its run folder, below which trackers keep their files. thumbnails: whether they receive
    small calibration images.
    """

    tracks: tuple[tuple[Tracker, Destination], ...] = ()
    root: Path = Path()
    thumbnails: bool = False

    @contextmanager
    def listeners(self, shown: Observer) -> Iterator[list[TrackerListener]]:
        """The listeners, to which events are sent until the end of the block.

        `shown` receives a warning if a tracker fails, since a run continues without it.
        """
        made: list[TrackerListener] = []
        for tracker, destination in self.tracks:
            build = resolve_name(f"{__package__}.{tracker.builder}")
            made.append(build(tracker, destination, self.root, shown))
            made[-1].wants_thumbnails = self.thumbnails
        try:
            yield made
        finally:
            for listener in made:
                listener.leave()


def read_tracks(
    texts: Sequence[str], *, images: bool = False
) -> tuple[tuple[Tracker, Destination], ...]:
    """Read the values of `--track`, NAME or NAME:ADDRESS. No message repeats a credential.

    Args:
        texts: one for each tracker.
        images: whether `--track-images` is set.

    Raises:
        InputError: a name is unknown or repeated, an address has another form, the package of a
            tracker is not installed, or there are images for no tracker.
    """
    if images and not texts:
        raise InputError(
            "--track-images needs a tracker.",
            got="no --track",
            expected="--track together with --track-images",
            hint="for example: --track tensorboard --track-images",
        )
    tracks = tuple(_read(text) for text in texts)
    names = [tracker.name for tracker, _ in tracks]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"--track names {name} more than once.",
                got=f"{names.count(name)} times --track {name}",
                expected="each tracker once",
                hint=f"leave out all but one --track {name}",
            )
    for tracker, _ in tracks:
        require_extra(tracker.name, f"--track {tracker.name}")
    return tracks


def refuse_one_file(tracks: Sequence[tuple[Tracker, Destination]]) -> None:
    """Refuse a tracker that keeps one file in a run folder that several commands write to.

    Raises:
        InputError: there is one, without an address.
    """
    for tracker, destination in tracks:
        if tracker.one_file and not destination.shown:
            raise InputError(
                f"Several shards cannot share the file that --track {tracker.name} writes into "
                "the run folder.",
                got=f"--shard and --track {tracker.name} without an address",
                expected=f"--track {tracker.name}:ADDRESS",
                hint=f"for example: --track {tracker.example}",
            )


def _read(text: str) -> tuple[Tracker, Destination]:
    name, colon, address = text.partition(":")
    tracker = TRACKERS.get(name)
    if tracker is None:
        near = get_close_matches(name.lower(), TRACKERS, n=1)
        raise InputError(
            "--track does not name a tracker.",
            got=HIDDEN if "@" in name else brief(repr(name)),
            expected=", ".join(TRACKERS),
            hint=f"did you mean {near[0]}?" if near else "for example: --track tensorboard",
        )
    try:
        destination = Destination.read(address.strip())
    except ValueError:
        destination = None
    shown = destination.shown if destination else ""
    hidden = f"{HIDDEN} (it may contain a password)" if address.strip() else "nothing"
    if destination is None or (colon and not shown) or not tracker.accepts(shown):
        raise InputError(
            f"--track {name} does not take this address.",
            got=brief(shown) or hidden,
            expected=tracker.takes,
            hint=f"for example: --track {tracker.example}",
        )
    return tracker, destination
