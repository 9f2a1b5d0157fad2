"""Bundles are written here, whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Literal

from safetensors.torch import save

from erde_cli.core.bundle.bundle import Bundle, load_bundle
from erde_cli.core.bundle.document import DOCUMENT, FORMAT, WEIGHTS, BundleDocument
from erde_cli.core.bundle.trained_on import write_trained_on
from erde_cli.core.calibration.tests_file import carry_tests, check_carried
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.device import Context
from erde_cli.core.errors import BundleError
from erde_cli.core.images.pixels import PixelRules
from erde_cli.core.models.architecture import Architecture
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.provenance import source_commit, versions
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.calibration import Calibration
from erde_cli.core.storage.files import replaced_folder, write_file
from erde_cli.core.storage.json_files import write_json
from erde_cli.core.storage.short_digests import ShortDigests

_LEFT_OUT = {name: field.default for name, field in Calibration.model_fields.items()}


def save_bundle(
    path: Path,
    *,
    role: Literal["teacher", "student"],
    model: EarlyExitNet,
    architecture: Architecture,
    normalisation: Normalisation,
    class_names: tuple[str, ...],
    recipe: Recipe,
    rules: PixelRules,
    trained_on: ShortDigests | None,
    split_fingerprint: str,
    inputs_digest: str,
    context: Context,
) -> Bundle:
    """Write a bundle, whole or not at all.

    Takes the place of an older one and its thresholds. The tests that images were used for stay.

    Args:
        path: its folder.
        role: of the network.
        model: the network.
        architecture: what it was built by.
        normalisation: of the train split.
        class_names: of its classes.
        recipe: that made it.
        rules: how files become pixels.
        trained_on: short digests of the files it was trained on, uint64 [files]; None: no files.
        split_fingerprint: of the images and their splits.
        inputs_digest: of all that decided the network.
        context: device, precision and threads of the training.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with replaced_folder(path) as folder:
        weights = save(state)
        write_file(folder / WEIGHTS, lambda beside: beside.write_bytes(weights))
        document = {
            "format": FORMAT,
            "role": role,
            "architecture": architecture.to_json(),
            "input": {
                "height": architecture.image_size,
                "width": architecture.image_size,
                "pixels": rules._asdict(),
            },
            "normalisation": normalisation.to_json(),
            "class_names": list(class_names),
            "recipe": recipe.model_dump(),
            "split_fingerprint": split_fingerprint,
            "inputs_digest": inputs_digest,
            "weights_digest": sha256(weights).hexdigest(),
            "trained_on": None if trained_on is None else write_trained_on(folder, trained_on),
            "training": context.to_json(),
            "versions": versions(),
            "git_commit": source_commit(),
        }
        write_json(folder / DOCUMENT, BundleDocument.model_validate(document).sealed().model_dump())
        carry_tests(path, folder)
    return load_bundle(path)


def with_calibration(bundle: Bundle, settings: Calibration) -> Bundle:
    """The same bundle, with what its recipe says of calibration brought up to date on disk."""
    section, there = settings.model_dump(), bundle.document.recipe.get("calibration")
    # A key that came later means what it means where it is left out: nothing has changed.
    if isinstance(there, dict) and {**_LEFT_OUT, **there} == section:
        return bundle
    recipe = {**bundle.document.recipe, "calibration": section}
    document = bundle.document.model_copy(update={"recipe": recipe}).sealed()
    write_json(bundle.path / DOCUMENT, document.model_dump())
    return replace(bundle, document=document)


def check_target(path: Path) -> None:
    """See that a bundle may be written to `path`, before hours are spent on what it will hold.

    Raises:
        BundleError: a link, a file, or a folder of something else is in the way, or an older
            bundle holds tests that cannot be read.
    """
    got = ""
    if path.is_symlink():
        got = "a link"
    elif path.exists() and not path.is_dir():
        got = "a file"
    elif path.is_dir() and any(path.iterdir()) and not (path / DOCUMENT).exists():
        got = f"a folder that holds other things and no {DOCUMENT}"
    if got:
        raise BundleError(
            f"{path} is in the way: a bundle is to be written there.",
            got=got,
            expected="nothing, or an older bundle",
            hint="move it away, or give another folder with --out",
        )
    check_carried(path)
