"""`erde report`: one file about a run, a comparison or a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.bundle.document import DOCUMENT
from erde_cli.core.comparison.document import Results
from erde_cli.core.comparison.plan import FILE as COMPARISON
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.errors import InputError, StoppedError, brief
from erde_cli.core.recipe.schema import ROLES
from erde_cli.core.report.card import MARKER, markdown
from erde_cli.core.report.collect.training import METRICS
from erde_cli.core.report.document import ReportDocument
from erde_cli.core.report.page.page import NO_IMAGES, html
from erde_cli.core.storage.files import check_file_target, write_text
from erde_cli.core.storage.json_files import Json
from erde_cli.core.workflows.journal import RUN_FILE
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.report_sources import of_bundle, of_comparison, of_run

Kind = Literal["run", "comparison", "bundle"]

HTML_REPORT = "report.html"  # in the folder that it is about
_MARKERS = ('<meta name="generator" content="erde report">', MARKER)
_BEGINNING = 4_000  # characters that a marker lies in
_SUFFIXES = (".html", ".md")


@dataclass(frozen=True)
class Report:
    """A written report: its file, and what it shows."""

    path: Path
    document: ReportDocument

    def to_json(self) -> Json:
        """The object that `--json` prints."""
        return {
            "report": str(self.path),
            "kind": self.document.kind,
            "bytes": self.path.stat().st_size,
            "missing": list(self.document.missing),
        }


def report(
    source: Path, options: Options, *, out: Path | None = None, images: bool = True
) -> Report:
    """Write the report of a folder.

    Args:
        source: a run, a comparison or a bundle.
        options: device, threads, observer.
        out: .html or .md file; None: `report.html` in the folder.
        images: whether calibration images are shown.

    Raises:
        InputError: the folder is none of these, or the file is in the way.
        BundleError, RunError: the folder is damaged.
    """
    kind = _kind_of(source)
    path = out or source / HTML_REPORT
    _check_target(path)
    options.observer.phase("Collecting the report")
    if kind == "comparison":
        document = of_comparison(source)
    elif kind == "bundle":
        document = of_bundle(source, options, images=images)
    else:
        document = of_run(source, options, images=images)
    return _write(document, path, images=images)


def kept_report(folder: Path) -> Path | None:
    """The page that an earlier command wrote in a folder; None: there is none."""
    page = folder / HTML_REPORT
    return page if _begins_with(page, _MARKERS) else None


def report_of_run(
    run: Path, options: Options, dataset: Dataset, bundles: Mapping[str, Bundle]
) -> Path | None:
    """Write `report.html` at the end of a run; None, after a warning, if that fails.

    A page that was written without images stays without them.
    """
    images = not _begins_with(run / HTML_REPORT, (NO_IMAGES,))

    def collected() -> ReportDocument:
        return of_run(run, options, dataset, bundles, images=images)

    return _at_the_end(run, options, collected, images)


def report_of_comparison(run: Path, found: Results, options: Options) -> Path | None:
    """Write `report.html` at the end of a comparison; None, after a warning, if that fails."""
    return _at_the_end(run, options, lambda: of_comparison(run, found), images=True)


def _at_the_end(
    folder: Path, options: Options, collected: Callable[[], ReportDocument], images: bool
) -> Path | None:
    path = folder / HTML_REPORT
    try:
        _check_target(path)
        return _write(collected(), path, images=images).path
    except StoppedError:
        raise
    except Exception as error:  # noqa: BLE001 (the results do not depend on it)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        options.observer.warning(
            f"{path} could not be written; the results are complete. {brief(reason)}"
        )
        return None


def _write(document: ReportDocument, path: Path, *, images: bool) -> Report:
    if path.suffix == ".md":
        write_text(path, markdown(document))
    else:
        write_text(path, html(document, images=images))
    return Report(path, document)


def _kind_of(source: Path) -> Kind:
    """What a folder is.

    Raises:
        InputError: none of the three.
    """
    if (source / COMPARISON).is_file():
        return "comparison"
    if (source / DOCUMENT).is_file():
        return "bundle"
    of_runs = [RUN_FILE, *(f"{role}/{DOCUMENT}" for role in ROLES)]
    of_runs += [f"logs/{role}/{METRICS}" for role in ROLES]
    if any((source / name).is_file() for name in of_runs):
        return "run"
    got = "a folder of something else" if source.is_dir() else "a file"
    raise InputError(
        f"{source} is not a run, a comparison or a bundle.",
        got=got if source.exists() else "no such folder",
        expected=f"a folder with {RUN_FILE}, {COMPARISON} or {DOCUMENT}",
        hint="make a run with: erde run digits",
    )


def _check_target(path: Path) -> None:
    """Check that a report can be written to a path: it replaces nothing but a report.

    Raises:
        InputError: it is neither .html nor .md, or something else is in the way.
    """
    if path.suffix not in _SUFFIXES:
        raise InputError(
            "A report is an .html or an .md file.",
            got=str(path),
            expected=" or ".join(_SUFFIXES),
            hint=f"write --out {path.with_suffix('.html').name or 'report.html'}",
        )
    check_file_target(path, "--out")
    if path.is_file() and not _is_report(path):
        raise InputError(
            f"{path} is not a report of erde, so it is not replaced.",
            got="another file",
            expected="a report of erde, or a path that does not exist",
            hint="choose another file with --out, or move this one",
        )


def _is_report(path: Path) -> bool:
    return path.stat().st_size == 0 or _begins_with(path, _MARKERS)


def _begins_with(path: Path, markers: tuple[str, ...]) -> bool:
    """Whether one of these texts is among the first characters of a file."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            beginning = file.read(_BEGINNING)
    except OSError:
        return False
    return any(marker in beginning for marker in markers)
