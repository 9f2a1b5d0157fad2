"""A trained model on disk: a movable folder with everything needed to use it.

    model.safetensors   the weights; no command ever changes them
    bundle.json         architecture, input, classes, recipe, versions, digests; no time stamps
    thresholds.json     after calibration; names these weights by their digest
    tests.json          after a test for a guarantee: all tests, also those of earlier weights

Loading runs no code from the folder: weights are safetensors, the other files validated JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError
from torch import Tensor

from erde_cli.core.bundle.document import (
    DOCUMENT,
    WEIGHTS,
    BundleDocument,
    read_bundle_document,
)
from erde_cli.core.bundle.weights import load_network
from erde_cli.core.calibration.document import ThresholdsDocument
from erde_cli.core.calibration.rule import rule_of
from erde_cli.core.calibration.thresholds_file import Stamp, read_thresholds, thresholds_stamp
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.user_folders import Reading
from erde_cli.core.device import Context, make_context
from erde_cli.core.errors import BundleError, InputError, brief, first_reason
from erde_cli.core.inference.prediction import Images, Predictor, Prepared
from erde_cli.core.inference.routing import Routed, route
from erde_cli.core.inference.rows import Prediction
from erde_cli.core.models.architecture import Architecture
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.profile import Profile, profile_model
from erde_cli.core.recipe.packages import package_of
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.storage.files import digest_of_file
from erde_cli.core.thresholds.scores import ENTROPY, Score
from erde_cli.core.thresholds.written import Thresholds

_HINT = "copy the folder again, or train it again"


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle: the network in evaluation mode on the CPU, and its metadata."""

    path: Path
    document: BundleDocument
    model: EarlyExitNet
    _prepared: Prepared = field(default_factory=Prepared, repr=False, compare=False)
    _thresholds: dict[Stamp, ThresholdsDocument] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class."""
        return tuple(self.document.class_names)

    @property
    def image_size(self) -> int:
        """Side of the network's input in pixels."""
        return self.document.architecture.image_size

    @property
    def normalisation(self) -> Normalisation:
        """Mean and standard deviation of the train split."""
        return Normalisation.from_json(self.document.normalisation.model_dump())

    @cached_property
    def profile(self) -> Profile:
        """MACs of its exits."""
        return profile_model(self.model, self.image_size)

    @property
    def reading(self) -> Reading:
        """How image files are read for it."""
        data = self.recipe.data
        skip = data.unreadable == "skip"
        return Reading(self.image_size, self.document.rules, skip, data.memory_limit)

    @property
    def recipe(self) -> Recipe:
        """The recipe it was trained with.

        Raises:
            BundleError: this version of erde does not understand the recipe.
        """
        try:
            return Recipe.model_validate(self.document.recipe)
        except ValidationError as error:
            raise BundleError(
                f"The recipe in {self.path / DOCUMENT} cannot be read.",
                got=first_reason(error),
                expected="a recipe that this version of erde can read",
                hint="use the version of erde that wrote it, or train again",
            ) from error

    @property
    def score(self) -> Score:
        """The score of its thresholds; entropy without a calibration.

        Raises:
            BundleError: the thresholds belong to other weights, or are not what erde writes.
        """
        thresholds = self.thresholds()
        return ENTROPY if thresholds is None else thresholds.score

    def thresholds(self) -> ThresholdsDocument | None:
        """Its calibration; None without one.

        Raises:
            BundleError: the thresholds belong to other weights, or are not what erde writes.
        """
        stamp = thresholds_stamp(self.path)
        if stamp is None:
            return None
        document = self._thresholds.get(stamp)
        if document is None:  # reading the file takes as long as running a small network
            digest = self.document.weights_digest
            document = read_thresholds(self.path, digest, self.model.exit_count)
            self._thresholds.clear()
            self._thresholds[stamp] = document
        return document

    def require_thresholds(self) -> ThresholdsDocument:
        """Its calibration.

        Raises:
            BundleError: it has not been calibrated.
        """
        thresholds = self.thresholds()
        if thresholds is None:
            raise BundleError(
                f"{self.path} has no thresholds, so no image can leave early.",
                hint=f"choose them with: erde calibrate {self.path} --max-drop 1",
                expected="a calibrated bundle",
            )
        return thresholds

    def route(self, images: Tensor) -> Routed:
        """Route images under the bundle's thresholds on the CPU, in the calibration's precision.

        Args:
            images: normalised by `normalisation`, float32 [batch, 3, height, width].

        Raises:
            BundleError: it has not been calibrated.
        """
        thresholds = self.require_thresholds()
        context = make_context("cpu", thresholds.precision, memory_format="channels_last")
        with context.autocast():
            return route(
                self.predictor(context).network,
                images,
                thresholds.values,
                thresholds.temperatures,
                thresholds.score,
            )

    def predict(
        self, images: Images, *, thresholds: Thresholds | None = None, batch: int | None = None
    ) -> list[Prediction]:
        """Classify images on the CPU, each at the exit it leaves at; predictions in their order.

        This method is thread-safe. It resizes and normalises the images.

        Args:
            images: one image or several: paths, bytes of image files, binary file objects, PIL
                images, uint8 arrays or tensors [height, width, 3] or [height, width], of any size.
            thresholds: θ, "always" or "never": one for all early exits, or one for each; None:
                those of the bundle. Score, temperatures and precision are always the bundle's.
            batch: images in one forward pass; None: chosen by the size of the images.

        Raises:
            BundleError: no thresholds are given, and the bundle has not been calibrated.
            DataError: an input cannot be read as an image.
            InputError: the thresholds are invalid.
        """
        document = self.thresholds() if thresholds is not None else self.require_thresholds()
        rule = rule_of(document, thresholds, self.model.exit_count)
        context = make_context("cpu", rule.precision, memory_format="channels_last")
        return self.predictor(context).predict(images, rule, batch)

    def predictor(self, context: Context) -> Predictor:
        """Predictor on a device; the first call prepares it, later calls share it."""
        return self._prepared.on(
            context,
            self.model,
            self.normalisation,
            self.class_names,
            self.image_size,
            self.document.rules,
        )


def opened(bundle: Bundle | Path) -> Bundle:
    """The bundle itself, or the bundle at a path."""
    return bundle if isinstance(bundle, Bundle) else load_bundle(bundle)


def load_bundle(path: str | Path) -> Bundle:
    """Read a bundle and check it.

    Raises:
        BundleError: files are missing, damaged, or of another version.
    """
    path = Path(path)
    document = read_bundle_document(path)
    _check_weights(path, document)
    return Bundle(path, document, _network(path, document).eval())


def _check_weights(path: Path, document: BundleDocument) -> None:
    """Check that the weights are those that the bundle was written with."""
    weights = path / WEIGHTS
    if not weights.is_file():
        raise BundleError(f"{path} has no {WEIGHTS}.", expected="a complete bundle", hint=_HINT)
    try:
        digest = digest_of_file(weights)
    except OSError as error:
        raise BundleError(
            f"{weights} cannot be read: {error.strerror}.",
            expected="a readable file",
            hint=_HINT,
        ) from error
    if digest != document.weights_digest:
        raise BundleError(
            f"{weights} is damaged, or was changed after training.",
            got=f"digest {digest[:12]}",
            expected=f"digest {document.weights_digest[:12]}",
            hint=_HINT,
        )


def _network(path: Path, document: BundleDocument) -> EarlyExitNet:
    """The network of a bundle, with its weights."""
    weights = path / WEIGHTS
    misfit = f"The weights in {weights} do not fit {path / DOCUMENT}"
    try:
        architecture = Architecture.from_json(document.architecture.model_dump())
        return load_network(weights, architecture)
    except InputError as error:
        message, hint = f"{misfit}: {error.message}", _HINT
        if package_of(document.architecture.backbone):  # it may be missing, or fail
            message = f"The network in {path / DOCUMENT} cannot be loaded: {error.message}"
            hint = error.hint
        raise BundleError(message, got=error.got, expected=error.expected, hint=hint) from error
    except (SafetensorError, RuntimeError, OSError) as error:
        raise BundleError(
            f"{misfit}: {_first_of(error)}",
            hint=_HINT,
            expected="weights of the bundle's architecture",
        ) from error


def _first_of(error: Exception) -> str:
    """The first reason of an error; torch lists all layers."""
    lines = str(error).splitlines()
    return brief(lines[1].strip() if len(lines) > 1 and lines[0].endswith(":") else lines[0])
