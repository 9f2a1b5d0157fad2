"""The networks of a report: their kept answers, and the calibration images that are left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.comparison.answers import compared_answers
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.splits import Split
from erde_cli.core.data.store import ImageStore
from erde_cli.core.device import Context
from erde_cli.core.errors import BundleError, DataError, ErdeError
from erde_cli.core.inference.answers_file import DamagedAnswersError, SplitAnswers
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.report.collect.network import Network
from erde_cli.core.report.collect.typed import Typed
from erde_cli.core.workflows.calibrate import target_of
from erde_cli.core.workflows.images import dataset_of, load_split
from erde_cli.core.workflows.kept_answers import Scoring, answer_calibration, read_split
from erde_cli.core.workflows.options import Options


@dataclass(frozen=True)
class Opened:
    """A network, the context in which it answers, and sentences about what is missing."""

    network: Network
    context: Context
    missing: tuple[str, ...]


def open_network(
    bundle: Bundle,
    recipe: Recipe | None,
    options: Options,
    typed: Typed,
    dataset: Dataset | None = None,
    *,
    images: bool,
) -> Opened:
    """The network of a report with its kept answers. Test images are never read.

    Args:
        bundle: the network.
        recipe: its recipe; None: unknown.
        options: device, threads, observer.
        typed: the bundle as commands name it.
        dataset: its data set, if it is already open.
        images: whether calibration images will be shown.
    """
    document, missing = bundle.thresholds(), []
    scoring = Scoring.of(document)
    context = options.inference_context(scoring.precision)
    test, note = _kept(bundle, "test", [scoring], typed)
    missing += note
    calibration, note = _kept(bundle, "calibration", [scoring], typed)
    store = None
    if images or calibration is None:
        store, why = _calibration_images(bundle, options, dataset)
        missing += why
    if calibration is None and store is not None:
        calibration = answer_calibration(bundle, store, context)
    elif calibration is None:
        missing += note
    elif store is not None and len(store) != len(calibration):
        store = None
        missing.append("Images: their number has changed since they were answered.")
    guarantees = recipe is not None and target_of(recipe.calibration).guarantees
    network = Network(
        bundle, document, typed, test, calibration, store if images else None,
        guarantees=guarantees,
    )  # fmt: skip
    return Opened(network, context, tuple(missing))


def open_teacher(bundle: Bundle, typed: Typed) -> Network:
    """The teacher of a run, with its answers to test images at any temperatures."""
    scorings = [Scoring.of(bundle.thresholds()), Scoring()]
    test, _ = _kept(bundle, "test", scorings, typed)
    return Network(bundle, None, typed, test)


def _kept(
    bundle: Bundle, split: Split, scorings: Sequence[Scoring], typed: Typed
) -> tuple[SplitAnswers | None, list[str]]:
    """Kept answers, or a sentence about why there are none."""
    role = bundle.document.role
    option = "" if split == "test" else " --split calibration"
    again = f"to make them: {typed.hint('evaluate {}' + option)}"
    try:
        found = read_split(bundle, split, scorings)
        if found is None and Scoring() in scorings:
            found = compared_answers(bundle, split)
    except DamagedAnswersError:
        return None, [f"Answers of the {role} to {split} images: the file is damaged ({again})."]
    if found is None:
        what = "none are kept for these weights, temperatures, score and precision"
        return None, [f"Answers of the {role} to {split} images: {what} ({again})."]
    return found, []


def _calibration_images(
    bundle: Bundle, options: Options, dataset: Dataset | None
) -> tuple[ImageStore | None, list[str]]:
    """The calibration images, or a sentence about why they cannot be shown."""
    try:
        return load_split(dataset_of(bundle, options, dataset), "calibration", options), []
    except BundleError:
        return None, ["Images: they have changed since the network was trained."]
    except DataError:
        return None, ["Images: they are not where the recipe says, or cannot be read."]
    except ErdeError:
        return None, ["Images: they could not be read."]
