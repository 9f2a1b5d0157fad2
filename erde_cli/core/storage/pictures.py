"""Pictures of results."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from erde_cli.core.errors import brief
from erde_cli.core.events import Observer
from erde_cli.core.storage.files import write_file

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#333333"
STUDENT = "#0072b2"  # colour-blind safe (Okabe and Ito)
OTHER = "#d55e00"
CHOSEN = "#009e73"
# The same picture is the same bytes: no version, no date, no random names.
_METADATA = {"png": {"Software": None}, "svg": {"Date": None}}
STAR = 300  # points², so large that the mark of an exit can be seen inside


@dataclass(frozen=True)
class Point:
    """Accuracy (a fraction) at a cost (MACs per image)."""

    macs: float
    accuracy: float


def marks(
    axes: Axes, points: Sequence[Point], marker: str, colour: str, size: float, label: str,
    *, hollow: bool = False,
) -> list[Artist]:  # fmt: skip
    """Points as marks, whole even at the edge; a hollow one shows what lies under it."""
    if not points:
        return []
    return [
        axes.scatter(
            [point.macs for point in points], [100 * point.accuracy for point in points],
            marker=marker, s=size, label=label, zorder=5 if hollow else 4, clip_on=False,
            facecolors="none" if hollow else colour, edgecolors=colour if hollow else "white",
            linewidths=1.6 if hollow else 0.6,
        )
    ]  # fmt: skip


def draw(path: Path, make: Callable[[], Figure], observer: Observer) -> Path | None:
    """Write a figure as PNG or SVG, by the ending of `path`; None where it cannot be drawn.

    That is a warning and no error: results do not depend on their picture. An older picture is
    removed then, since it shows something else. The same figure is the same bytes.

    Raises:
        InputError: the folder cannot be made.
        ErdeError: the file cannot be written.
    """
    kind = path.suffix[1:]
    content = io.BytesIO()
    try:
        with _own_settings():
            make().savefig(content, format=kind, metadata=_METADATA[kind])
    except Exception as error:  # noqa: BLE001 (a broken matplotlib raises anything)
        reason = brief(" ".join(f"{type(error).__name__}: {error}".split()))
        observer.warning(f"The picture {path} could not be drawn: {reason}")
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return None
    write_file(path, lambda beside: beside.write_bytes(content.getvalue()))
    observer.artifact(path, "picture")
    return path


@contextmanager
def _own_settings() -> Iterator[None]:
    """Let matplotlib draw as it does for everyone, whatever the user's settings for it are."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.CRITICAL)  # without a home, it complains about its own cache
    try:
        _import_matplotlib()
        from matplotlib import rc_context, rcParamsDefault

        with rc_context({**rcParamsDefault, "svg.hashsalt": "erde"}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # names in any script
            yield
    finally:
        log.setLevel(level)


def _import_matplotlib() -> None:
    """Import it so that it reads no settings but its own.

    It takes the first `matplotlibrc` that it finds and looks in the current folder before anywhere
    else, so that is the one with its own file for the moment. A backend named in the environment
    may not be there, and none is needed.
    """
    spec = find_spec("matplotlib")
    if "matplotlib" in sys.modules or spec is None or spec.origin is None:
        return  # whoever needs it will tell
    named = os.environ.pop("MPLBACKEND", None)
    try:
        with chdir(Path(spec.origin).with_name("mpl-data")):
            import matplotlib  # noqa: F401
    finally:
        if named is not None:
            os.environ["MPLBACKEND"] = named
