"""Write bundles, completely or not at all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from safetensors.torch import save

from erde_cli.core.bundle.bundle import Bundle, load_bundle
from erde_cli.core.bundle.document import DOCUMENT, FORMAT, WEIGHTS, BundleDocument
from erde_cli.core.bundle.trained_on import write_trained_on
from erde_cli.core.calibration.tests_file import carry_tests, check_carried
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.device import Context
from erde_cli.core.errors import BundleError
from erde_cli.core.events import Role
from erde_cli.core.images.pixels import PixelRules
from erde_cli.core.models.architecture import Architecture
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.library.weights import FirstWeights
from erde_cli.core.provenance import source_commit, versions
from erde_cli.core.recipe.packages import library_version
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.recipe.sections.calibration import Calibration
from erde_cli.core.storage.files import replaced_folder, write_file
from erde_cli.core.storage.json_files import write_json
from erde_cli.core.storage.short_digests import ShortDigests


@dataclass(frozen=True)
class Origin:
    """Recipe that a network was trained with, digest of all inputs, device and precision."""

    role: Role
    recipe: Recipe
    inputs_digest: str
    context: Context
    first_weights: FirstWeights | None = None


@dataclass(frozen=True)
class Images:
    """Images that a network was trained on, and the form of its inputs.

    rules: how files are decoded. trained_on: short digests of the files of the train split,
    uint64 [files]; None: not files. fingerprint: of the images and their splits.
    """

    normalisation: Normalisation
    class_names: tuple[str, ...]
    rules: PixelRules
    trained_on: ShortDigests | None
    fingerprint: str

    @classmethod
    def of(cls, dataset: Dataset, normalisation: Normalisation) -> Images:
        """Images of a data set whose train split was trained on, normalised."""
        digests = dataset.short_digests(dataset.readable("train"))
        names = dataset.class_names
        return cls(normalisation, names, dataset.rules, digests, dataset.fingerprint)


def save_bundle(
    path: Path, model: EarlyExitNet, architecture: Architecture, images: Images, origin: Origin
) -> Bundle:
    """Write a bundle, completely or not at all.

    It replaces an older one and its thresholds. The record of tests (`tests.json`) stays.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    weights, trained_on = save(state), images.trained_on
    with replaced_folder(path) as folder:
        write_file(folder / WEIGHTS, lambda path: path.write_bytes(weights))
        document = {
            "format": FORMAT,
            "role": origin.role,
            "architecture": architecture.to_json(),
            "input": {
                "height": architecture.image_size,
                "width": architecture.image_size,
                "pixels": images.rules.to_json(),
            },
            "normalisation": images.normalisation.to_json(),
            "class_names": list(images.class_names),
            "recipe": origin.recipe.recorded(),
            "split_fingerprint": images.fingerprint,
            "inputs_digest": origin.inputs_digest,
            "weights_digest": sha256(weights).hexdigest(),
            "trained_on": None if trained_on is None else write_trained_on(folder, trained_on),
            "training": origin.context.to_json(),
            "first_weights": origin.first_weights and origin.first_weights.to_json(),
            "versions": {**versions(), **library_version(architecture.backbone)},
            "git_commit": source_commit(),
            "digest": "",
        }
        write_json(folder / DOCUMENT, BundleDocument.model_validate(document).sealed().model_dump())
        carry_tests(path, folder)
    return load_bundle(path)


def with_calibration(bundle: Bundle, settings: Calibration) -> Bundle:
    """The bundle with these calibration settings in its recipe, also on disk."""
    section = settings.model_dump()
    if bundle.document.recipe.get("calibration") == section:
        return bundle
    recipe = {**bundle.document.recipe, "calibration": section}
    document = bundle.document.model_copy(update={"recipe": recipe}).sealed()
    write_json(bundle.path / DOCUMENT, document.model_dump())
    return replace(bundle, document=document)


def check_target(path: Path) -> None:
    """Check that a bundle can be written to `path`, before hours of training.

    Raises:
        BundleError: a link, a file or another folder is in the way, or an older bundle has a record
            of tests that cannot be read.
    """
    got = ""
    if path.is_symlink():
        got = "a link"
    elif path.exists() and not path.is_dir():
        got = "a file"
    elif path.is_dir() and any(path.iterdir()) and not (path / DOCUMENT).exists():
        got = f"a folder of other files, without {DOCUMENT}"
    if got:
        raise BundleError(
            f"{path} is in the way of a new bundle.",
            got=got,
            expected="a free path, or an older bundle",
            hint="move it away, or give another folder with --out",
        )
    check_carried(path)
