"""`erde export`: a calibrated bundle becomes files for other runtimes, kept only if they agree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from erde_cli.core.bundle import Bundle, load_bundle, versions
from erde_cli.core.data import (
    Dataset,
    ImageStore,
    evaluation_batches,
    open_unlabelled_folder,
)
from erde_cli.core.errors import BundleError, DataError, InputError
from erde_cli.core.export_check import Agreement, Reference, check, check_logits
from erde_cli.core.export_files import Exportable, write_program, write_staged, write_stopping
from erde_cli.core.extras import require_onnx
from erde_cli.core.files import make_folder, replaced_file, replaced_folder
from erde_cli.core.inference import answer_all, ready
from erde_cli.core.onnx_session import MANIFEST, open_exported
from erde_cli.core.thresholds_file import ThresholdsDocument
from erde_cli.core.workflows.images import dataset_of, load_split
from erde_cli.core.workflows.options import Json, Options

Format = Literal["onnx", "onnx-staged", "torch-export"]
NAMES: dict[Format, str] = {
    "onnx": "student.onnx", "onnx-staged": "stages", "torch-export": "student.pt2",
}  # fmt: skip
_ENOUGH = 512  # images that a check runs over, several times


@dataclass(frozen=True)
class Export:
    """Files that were written, and how they agree with the bundle."""

    path: Path
    format: Format
    preprocessing: bool
    size: int
    agreement: Agreement

    def to_json(self) -> Json:
        """The object that `--json` prints."""
        return {
            "path": str(self.path),
            "format": self.format,
            "preprocessing": self.preprocessing,
            "bytes": self.size,
            **asdict(self.agreement),
        }


def export_bundle(
    path: Path,
    options: Options,
    *,
    format: Format = "onnx",  # noqa: A002 (as on the command line)
    out: Path | None = None,
    preprocessing: bool = True,
    images: Path | None = None,
) -> Export:
    """Write a calibrated bundle for another runtime, and see that it answers the same.

    Raises:
        InputError: ONNX is not installed, or something else is in the way.
        BundleError: the bundle is not calibrated, or not in float32.
        ErdeError: the files answer otherwise than the bundle; nothing is left of them.
    """
    if format != "torch-export":
        require_onnx()
    bundle = load_bundle(path)
    document = _calibration(bundle)
    target = out or bundle.path / "export" / NAMES[format]
    _check_target(target, format)
    source = _exportable(bundle, document, preprocessing=preprocessing)
    store = _images(bundle, images, options)
    reference, given = _reference(bundle, document, store, options, preprocessing=preprocessing)
    options.observer.phase(f"Exporting {bundle.path} as {format}")
    make_folder(target.parent)
    with _target(target, format) as beside:
        _write(source, beside, format)
        options.observer.phase(f"Comparing it with the bundle on {len(given):,} images")
        if format == "torch-export":
            agreement = check_logits(_logits(beside, given), reference)
        else:
            exported = open_exported(beside, options.threads)
            agreement = check(exported, given, reference, source.thresholds)
    return Export(target, format, preprocessing, _size(target), agreement)


def _calibration(bundle: Bundle) -> ThresholdsDocument:
    """Thresholds that hold in the precision of the files.

    Raises:
        BundleError: there are none, or they belong to other scores.
    """
    document = bundle.require_thresholds()
    if document.precision != "float32":
        raise BundleError(
            f"{bundle.path} was calibrated in {document.precision}, whose scores differ from those "
            "of an exported file.",
            expected="float32",
            hint=f"erde calibrate {bundle.path} --precision float32 --max-drop 1",
        )
    return document


def _exportable(bundle: Bundle, document: ThresholdsDocument, *, preprocessing: bool) -> Exportable:
    temperatures = document.temperatures
    return Exportable(
        bundle.model,
        bundle.normalisation if preprocessing else None,
        bundle.image_size,
        tuple(document.values),
        None if temperatures is None else tuple(temperatures),
        bundle.class_names,
        bundle.document.weights_digest,
        document.model_dump(),
        versions(),
    )


def _check_target(target: Path, format: Format) -> None:  # noqa: A002
    """See that nothing else is lost: only what erde wrote before is replaced.

    Raises:
        InputError: a folder, a file or a link is in the way.
    """
    staged = format == "onnx-staged"
    got = ""
    if target.is_symlink():
        got = "a link"
    elif target.is_dir() and not staged:
        got = "a folder"
    elif target.is_file() and staged:
        got = "a file"
    elif target.is_dir() and any(target.iterdir()) and not (target / MANIFEST).is_file():
        got = f"a folder that holds other things and no {MANIFEST}"
    if got:
        raise InputError(
            f"{target} is in the way.",
            got=got,
            expected="nothing, or an older export",
            hint="name another place with --out",
        )


def _images(bundle: Bundle, folder: Path | None, options: Options) -> ImageStore:
    if folder is None:
        store = load_split(_own(bundle, options), "calibration", options)
    else:
        settings = bundle.recipe.data
        dataset = open_unlabelled_folder(
            folder, bundle.image_size, split="calibration",
            skip_unreadable=settings.unreadable == "skip", memory_limit=settings.memory_limit,
            observer=options.observer,
        )  # fmt: skip
        store = load_split(dataset, "calibration", options)
    return store.only(np.arange(min(_ENOUGH, len(store))))


def _own(bundle: Bundle, options: Options) -> Dataset:
    """The bundle's own images, or the word that others will do."""
    try:
        return dataset_of(bundle, options)
    except (BundleError, DataError) as error:
        raise type(error)(
            error.message,
            got=error.got,
            expected=error.expected,
            hint="any images of that kind will do to compare on, labels are not needed: "
            f"erde export {bundle.path} --images FOLDER",
        ) from error


def _reference(
    bundle: Bundle,
    document: ThresholdsDocument,
    store: ImageStore,
    options: Options,
    *,
    preprocessing: bool,
) -> tuple[Reference, np.ndarray]:
    """What the bundle says, and the images in the form that the files take."""
    context = options.inference_context("float32")
    model = ready(bundle.model, context)
    answers = answer_all(model, store, bundle.normalisation, context, keep_logits=True)
    assert answers.logits is not None  # noqa: S101 (asked for)
    given = store.part(0, len(store))
    if not preprocessing:
        batches = evaluation_batches(store, bundle.normalisation, context)
        given = torch.cat([batch.images.cpu() for batch in batches]).contiguous()
    temperatures = document.temperatures
    by_exit = None if temperatures is None else tuple(temperatures)
    return Reference(torch.from_numpy(answers.logits), by_exit), given.numpy()


@contextmanager
def _target(target: Path, format: Format) -> Iterator[Path]:  # noqa: A002
    """A place beside the target that takes its place at the end, or goes with what went wrong."""
    if format == "onnx-staged":
        with replaced_folder(target) as beside:
            yield beside
    else:
        with replaced_file(target) as beside:
            yield beside


def _write(source: Exportable, path: Path, format: Format) -> None:  # noqa: A002
    write = {
        "onnx": write_stopping, "onnx-staged": write_staged, "torch-export": write_program,
    }[format]  # fmt: skip
    write(source, path)


@torch.inference_mode()
def _logits(path: Path, images: np.ndarray) -> torch.Tensor:
    with path.open("rb") as handle:
        program = torch.export.load(handle)
    logits: torch.Tensor = program.module()(torch.from_numpy(images))
    return logits


def _size(target: Path) -> int:
    files = [path for path in target.rglob("*") if path.is_file()] if target.is_dir() else [target]
    return sum(path.stat().st_size for path in files)
