"""Draw figures of results and write them as PNG or SVG."""

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
# No version, date or random names, so that the same figure gives the same bytes.
_METADATA = {"png": {"Software": None}, "svg": {"Date": None}}
STAR = 300  # points², large enough to show the mark of an exit inside


@dataclass(frozen=True)
class Point:
    """Accuracy (a fraction) at a cost (MACs per image)."""

    macs: float
    accuracy: float


def marks(
    axes: Axes, points: Sequence[Point], marker: str, colour: str, size: float, label: str,
    *, hollow: bool = False,
) -> list[Artist]:  # fmt: skip
    """Draw points as unclipped marks; a hollow mark does not hide what is below it."""
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
    """Write a figure as PNG or SVG, by the suffix of `path`; None if it cannot be drawn.

    A failure is only a warning, since results do not depend on the figure. An older figure at
    `path` is then removed, because it shows other results.

    Raises:
        InputError: the folder cannot be created.
        ErdeError: the file cannot be written.
    """
    kind = path.suffix[1:]
    content = io.BytesIO()
    try:
        with _own_settings():
            make().savefig(content, format=kind, metadata=_METADATA[kind])
    except Exception as error:  # noqa: BLE001 (a broken matplotlib raises anything)
        reason = brief(" ".join(f"{type(error).__name__}: {error}".split()))
        observer.warning(f"Cannot draw the figure {path}: {reason}")
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return None
    write_file(path, lambda temporary: temporary.write_bytes(content.getvalue()))
    observer.artifact(path, "picture")
    return path


@contextmanager
def _own_settings() -> Iterator[None]:
    """Use the default settings of matplotlib, not the user's."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.CRITICAL)  # without a home folder, it warns about its cache
    try:
        _import_matplotlib()
        from matplotlib import rc_context, rcParamsDefault

        with rc_context({**rcParamsDefault, "svg.hashsalt": "erde"}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # class names in any script
            yield
    finally:
        log.setLevel(level)


def _import_matplotlib() -> None:
    """Import matplotlib without the user's settings.

    matplotlib looks for `matplotlibrc` in the current folder first. The current folder is therefore
    the one with matplotlib's own file during the import. A backend that the environment names may
    not be installed, and none is needed.
    """
    spec = find_spec("matplotlib")
    if "matplotlib" in sys.modules or spec is None or spec.origin is None:
        return  # without matplotlib, the import by the caller fails
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        with chdir(Path(spec.origin).with_name("mpl-data")):
            import matplotlib  # noqa: F401
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
