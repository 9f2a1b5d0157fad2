"""`erde export`: write a bundle for other runtimes, and verify it before it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from erde_cli.core.arrays import ImageArray, IntArray
from erde_cli.core.bundle.bundle import Bundle, load_bundle
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.store import ImageStore
from erde_cli.core.data.user_folders import open_unlabelled_folder
from erde_cli.core.errors import BundleError, InputError
from erde_cli.core.export.check import Check, Exported, LogitsExported, verify, verify_static
from erde_cli.core.export.formats import FORMATS, Format, FormatName
from erde_cli.core.export.input_record import Resizer
from erde_cli.core.export.network import export_network
from erde_cli.core.export.record import ExportRecord
from erde_cli.core.export.self_check import check_vector, expected_vector, require_right
from erde_cli.core.inference.answers import Answers, answer_all, ready
from erde_cli.core.provenance import versions_of
from erde_cli.core.randomness import permutation
from erde_cli.core.storage.files import make_folder, replaced_file, replaced_folder
from erde_cli.core.storage.json_files import Json
from erde_cli.core.storage.temporary import new_folder, sweep
from erde_cli.core.thresholds.written import write_threshold
from erde_cli.core.workflows.export_int8_cost import Int8Cost
from erde_cli.core.workflows.export_int8_images import Int8Images, open_images
from erde_cli.core.workflows.images import dataset_of, load_split
from erde_cli.core.workflows.options import Options

_VERIFIED = 512  # images, at most


@dataclass(frozen=True)
class ExportRequest:
    """Format and path of an export.

    preprocessing: include normalisation. data: folder of images to verify on; None: the calibration
    split. instead: alternative without that split, for the hint of an error. int8: quantise the
    stages and choose their thresholds again. exit: a static network up to this exit, from 0; None:
    all exits. portable: float images in, logits out. resized_by: "graph" for images of any size.
    """

    format: FormatName
    out: Path
    preprocessing: bool = True
    data: Path | None = None
    instead: str = "verify on others: --data FOLDER"
    int8: bool = False
    exit: int | None = None
    portable: bool = False
    resized_by: Resizer = "client"

    @property
    def row(self) -> Format:
        """The row of the table of formats."""
        return FORMATS[self.format]


@dataclass(frozen=True)
class ExportedBundle:
    """An export: its record, size in bytes, verification, and the cost of int8 if requested."""

    bundle: Bundle
    request: ExportRequest
    record: ExportRecord
    size: int
    images: int
    checks: list[Check]
    int8: Int8Cost | None = None

    @property
    def about(self) -> str:
        """What the export is for, to show after its path."""
        if self.request.exit is not None:
            exits = self.record.exit_count
            return f"the network up to exit {self.request.exit + 1} of {exits}; logits of a batch"
        if self.request.portable:
            return "a file per stage; logits of its exit; manifest.json describes them"
        return self.request.row.about

    @property
    def largest_difference(self) -> float:
        """Largest difference of a probability over all checks."""
        return max(check.largest_difference for check in self.checks)

    def to_json(self) -> Json:
        """The object that `--json` prints."""
        data = self.request.data
        return {
            "bundle": str(self.bundle.path),
            "format": self.request.format,
            "out": str(self.request.out),
            "bytes": self.size,
            "preprocessing": self.request.preprocessing,
            "exit": self.request.exit,
            "portable": self.request.portable,
            "input": "any" if self.request.resized_by == "graph" else None,
            "thresholds": [write_threshold(value) for value in self.record.thresholds],
            "temperatures": self.record.temperatures,
            "verified": {
                "source": "calibration split" if data is None else str(data),
                "images": self.images,
                "largest_difference": self.largest_difference,
                "checks": [check.to_json() for check in self.checks],
            },
            "quantised": None if self.int8 is None else self.int8.to_json(),
        }


def export_bundle(path: Path, request: ExportRequest, options: Options) -> ExportedBundle:
    """Export a calibrated bundle; keep the export only if it answers as the bundle does.

    Raises:
        BundleError: the bundle is unusable, not calibrated, or not calibrated in float32.
        DataError: there are no images to verify on.
        InputError: `out` holds other files.
        ErdeError: the verification failed.
    """
    exported = export_loaded(load_bundle(path), request, options)
    options.observer.artifact(request.out, "export")
    return exported


def export_loaded(bundle: Bundle, request: ExportRequest, options: Options) -> ExportedBundle:
    """As `export_bundle`, for a loaded bundle."""
    _check_exit(bundle, request)
    record = record_of(bundle, request)
    images = open_images(bundle, request.data, options) if request.int8 else None
    store = images.store if images else _images(bundle, request, options)
    store = store.only(verified_images(len(store)))
    context = options.inference_context("float32")
    expected = answer_all(
        ready(bundle.model, context), store, bundle.normalisation, context,
        record.temperatures, keep_logits=True, score=record.score,
    ).require_finite()  # fmt: skip
    vector = expected_vector(bundle.model, record)
    record = record.model_copy(update={"test": vector})
    options.observer.phase("Exporting")
    with _replacing(request) as place:
        request.row.write(export_network(bundle.model, record), place)
        options.observer.phase(f"Verifying on {len(store)} images")
        pixels = store.part(0, len(store)).numpy()
        exported = _opened(place, request.row, record, options.threads)
        checks = _verified(exported, pixels, expected)
        require_right(check_vector(exported, vector))
        if request.resized_by == "graph":
            from erde_cli.core.export.onnx_resize import require_pillows_pixels  # an extra

            require_pillows_pixels(place, record.described_input, record.rules)
        cost = None
        if images is not None:
            record, cost = _quantised(place, bundle, record, images, options)
    size = _bytes(request.out)
    return ExportedBundle(bundle, request, record, size, len(store), checks, cost)


def _quantised(
    place: Path, bundle: Bundle, record: ExportRecord, images: Int8Images, options: Options
) -> tuple[ExportRecord, Int8Cost]:
    """Replace a verified export by an int8 one: its stages, or the file made of them."""
    from erde_cli.core.workflows.export_int8 import export_int8  # an extra

    if place.is_dir():
        return export_int8(place, bundle, record, images, options)
    with new_folder(place) as stages:
        FORMATS["onnx-staged"].write(export_network(bundle.model, record), stages)
        return export_int8(stages, bundle, record, images, options, single=place)


def _check_exit(bundle: Bundle, request: ExportRequest) -> None:
    """Check that the exit of a static network exists."""
    exits = bundle.model.exit_count
    if request.exit is not None and request.exit >= exits:
        raise InputError(
            f"{bundle.path} has no exit {request.exit + 1}.",
            got=f"--exit {request.exit + 1}",
            expected=f"a number from 1 to {exits}" if exits > 1 else "1, its only exit",
            hint="choose another number with --exit",
        )


def _opened(place: Path, row: Format, record: ExportRecord, threads: int | None) -> Exported:
    """The written export, ready to be verified."""
    if row.runtime == "onnx" and record.returns_logits:
        from erde_cli.core.export.onnx_logits import open_logits  # an extra

        return open_logits(place, threads)
    return row.open(place, threads)


def _verified(exported: Exported, pixels: ImageArray, expected: Answers) -> list[Check]:
    """Compare the written export with the answers of the bundle to the same images."""
    record = exported.record
    if isinstance(exported, LogitsExported) and record.static_exit is not None:
        early = record.exit_count - 1
        return verify_static(exported, pixels, expected, early, record.temperatures)
    return verify(exported, pixels, expected, record.thresholds, record.temperatures)


def verified_images(count: int) -> IntArray:
    """Numbers of the images that an export is verified on: always the same, in ascending order."""
    return np.sort(permutation(count, 0, "export")[:_VERIFIED])


def record_of(bundle: Bundle, request: ExportRequest) -> ExportRecord:
    """Metadata that an export of a bundle stores.

    Raises:
        BundleError: the bundle is not calibrated, or not calibrated in float32.
        InputError: the graph shall resize, with a filter in which it differs from Pillow.
    """
    thresholds = bundle.require_thresholds()
    if thresholds.precision != "float32":
        raise BundleError(
            f"The thresholds of {bundle.path} were chosen in {thresholds.precision}, but an "
            "exported network computes in float32.",
            hint=f"choose them again with: erde calibrate {bundle.path} --max-drop 1",
            expected="thresholds in float32",
        )
    if request.resized_by == "graph" and bundle.document.rules.interpolation != "bilinear":
        raise InputError(
            "--input any resizes bilinearly only: ONNX Runtime's other filters differ from Pillow.",
            got=f"interpolation: {bundle.document.rules.interpolation} in the bundle",
            expected="a bundle with interpolation: bilinear",
            hint="leave --input any out, and resize as docs/preprocessing.md shows",
        )
    content = {
        "format": 1,
        "class_names": list(bundle.class_names),
        "image_size": bundle.image_size,
        "pixels": bundle.document.rules.to_json(),
        "preprocessing": request.preprocessing,
        "static_exit": request.exit,
        "portable": request.portable,
        "normalisation": bundle.normalisation.to_json(),
        "weights_digest": bundle.document.weights_digest,
        "cumulative_macs": bundle.profile.cumulative_macs,
        "calibration": thresholds.model_dump(),
        "versions": versions_of("erde-cli", "torch", *request.row.versions),
    }
    return ExportRecord.model_validate(content).with_input(request.resized_by)


def _images(bundle: Bundle, request: ExportRequest, options: Options) -> ImageStore:
    """Images to verify on, labelled or not."""
    dataset: Dataset
    if request.data is None:
        dataset = dataset_of(bundle, options, instead=request.instead)
    else:
        dataset = open_unlabelled_folder(
            request.data, bundle.reading, split="calibration", observer=options.observer
        )
    return load_split(dataset, "calibration", options)


@contextmanager
def _replacing(request: ExportRequest) -> Iterator[Path]:
    """Temporary path that replaces `out` if the block succeeds."""
    out, row = request.out, request.row
    sweep(out.parent)  # what an earlier export left when it was killed
    if not row.marker:
        make_folder(out.parent)
        with replaced_file(out) as file:
            yield file
        return
    if out.is_dir() and any(out.iterdir()) and not row.is_meant(out):
        raise InputError(
            f"{out} contains other files. A {row.kind} would replace them.",
            got=f"a folder with files but without {row.marker}",
            hint="give another folder with --out",
            expected=f"a new or empty folder, or an older {row.kind}",
        )
    with replaced_folder(out) as folder:
        yield folder


def _bytes(path: Path) -> int:
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)
