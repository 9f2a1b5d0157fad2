"""Answers of every exit of a network on calibration and test images, kept in a small file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from erde_cli.core.arrays import FloatArray
from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.calibration.estimate import calibrate
from erde_cli.core.calibration.temperature import (
    expected_calibration_error,
    negative_log_likelihood,
)
from erde_cli.core.comparison.curves import Curve, cost_curve, one_threshold, with_ends
from erde_cli.core.data.splits import Split
from erde_cli.core.data.store import ImageStore
from erde_cli.core.device import Context, Precision
from erde_cli.core.events import Observer
from erde_cli.core.inference.answers import answer_all, ready
from erde_cli.core.inference.answers_file import (
    ANSWERS_VERSION,
    FILE,
    PARTS,
    Arrays,
    DamagedAnswersError,
    SplitAnswers,
    read_arrays,
    split_answers,
    write_arrays,
)
from erde_cli.core.inference.observations import Observations
from erde_cli.core.storage.json_files import digest_of
from erde_cli.core.thresholds.targets import MaxMacs

PRECISION: Precision = "float32"  # of inference, as in a whole run
_OF_EXITS = ("ece", "nll", "costs", "static")
_NAMES = {
    *(f"{split}.{name}" for split in ("calibration", "test") for name in PARTS),
    *_OF_EXITS, "thresholds",
}  # fmt: skip


@dataclass(frozen=True)
class NetworkAnswers:
    """Answers of one network on calibration and test images, and its thresholds.

    ece (0 to 1), nll (nats): of each exit on test images, [exits]. thresholds: vectors in nats,
    both ends included, in the order of their cost on calibration images. static_macs_of_exits: of
    each exit as a network without earlier heads. classes: their number.
    """

    bundle: Path
    calibration: Observations
    test: Observations
    ece: FloatArray
    nll: FloatArray
    thresholds: list[tuple[float, ...]]
    static_macs_of_exits: tuple[float, ...]
    classes: int

    @property
    def static_macs(self) -> float:
        """MACs of the network without early heads."""
        return self.static_macs_of_exits[-1]

    @property
    def full_macs(self) -> float:
        """Cumulative MACs of the last exit."""
        return float(self.test.cumulative_macs[-1])

    @cached_property
    def curve(self) -> Curve:
        """Accuracy over cost on test images."""
        return cost_curve(self.test, self.thresholds)

    @property
    def one_threshold(self) -> Curve:
        """Accuracy over cost on test images, with the same θ for all early exits.

        Not cached: the points of all students at once would fill the memory.
        """
        early = len(self.static_macs_of_exits) - 1
        return cost_curve(self.test, [(theta,) * early for theta in one_threshold(self.classes)])


@dataclass(frozen=True)
class Images:
    """The images of a comparison, and the device and precision of the networks."""

    calibration: ImageStore
    test: ImageStore
    fingerprint: str
    context: Context


def network_answers(
    bundle: Bundle, images: Images, path: Path, observer: Observer
) -> NetworkAnswers:
    """Answers of a network on the images, from the file `path` if it belongs to these weights.

    Args:
        bundle: the network.
        images: calibration and test images.
        path: the file; written if it is missing, damaged or of other weights.
        observer: receives a warning about a damaged file.
    """
    context = images.context
    digest = _inputs(bundle, images.fingerprint, context.device.type, context.precision)
    try:
        arrays = read_arrays(path, _NAMES, [digest])
        found = None if arrays is None else _from_arrays(bundle, arrays, images)
    except DamagedAnswersError:
        observer.warning(f"{path} is damaged. Its network answers the images again.")
        found = None
    if found is None:
        arrays = _answer(bundle, images)
        write_arrays(path, arrays, digest)
        found = _from_arrays(bundle, arrays, images)
    return found


def compared_answers(bundle: Bundle, split: Split) -> SplitAnswers | None:
    """Answers of a student that a comparison kept next to its bundle, without temperatures.

    Raises:
        DamagedAnswersError: the file is damaged.
    """
    fingerprint = bundle.document.split_fingerprint
    inputs = [_inputs(bundle, fingerprint, device, PRECISION) for device in ("cpu", "cuda", "mps")]
    arrays = read_arrays(bundle.path.resolve().parent / FILE, _NAMES, inputs)
    if arrays is None:
        return None
    return split_answers(arrays, split, bundle.model.exit_count, bundle.model.classes)


def _inputs(bundle: Bundle, fingerprint: str, device: str, precision: Precision) -> str:
    """Digest of everything that decides the answers."""
    return digest_of(
        {
            "version": ANSWERS_VERSION, "weights": bundle.document.weights_digest,
            "images": fingerprint, "device": device, "precision": precision,
        }
    )  # fmt: skip


def _require_fit(arrays: Arrays, exits: int) -> None:
    """Check that arrays other than answers have the shapes of this network, and finite numbers.

    Raises:
        DamagedAnswersError: they have not.
    """
    vectors, thetas = [arrays[name] for name in _OF_EXITS], arrays["thresholds"]
    if (
        any(one.shape != (exits,) or not np.isfinite(one).all() for one in vectors)
        or any(one.dtype != np.float64 for one in (*vectors, thetas))
        or thetas.ndim != 2
        or len(thetas) == 0
        or thetas.shape[1] != exits - 1
    ):
        raise DamagedAnswersError("thresholds or figures of exits")


def _answer(bundle: Bundle, images: Images) -> Arrays:
    model = ready(bundle.model, images.context)
    profile = bundle.profile
    costs = np.array(profile.cumulative_macs, dtype=np.float64)
    arrays: Arrays = {
        "costs": costs, "static": np.array(profile.static_macs_of_exits, dtype=np.float64),
    }  # fmt: skip
    for split, store in (("calibration", images.calibration), ("test", images.test)):
        answers = answer_all(
            model, store, bundle.normalisation, images.context, keep_logits=split == "test"
        ).require_finite()
        labels = store.labels.numpy()
        arrays |= SplitAnswers.of(answers, labels).arrays(split)
        if answers.logits is not None:
            of_exit = [answers.logits[:, exit_] for exit_ in range(len(costs))]
            arrays["ece"] = np.array([expected_calibration_error(one, labels) for one in of_exit])
            arrays["nll"] = np.array([negative_log_likelihood(one, labels) for one in of_exit])
    of_calibration = split_answers(arrays, "calibration", len(costs), bundle.model.classes)
    calibration = Observations(of_calibration.scores, of_calibration.correct, costs)
    # The frontier is the same for every target.
    frontier = calibrate(calibration, MaxMacs(1.0)).frontier
    vectors = with_ends([point.thresholds for point in frontier], len(costs) - 1)
    arrays["thresholds"] = np.array(vectors).reshape(len(vectors), -1)
    return arrays


def _from_arrays(bundle: Bundle, arrays: Arrays, images: Images) -> NetworkAnswers:
    exits = bundle.model.exit_count
    _require_fit(arrays, exits)

    def observed(split: Split, store: ImageStore) -> Observations:
        found = split_answers(arrays, split, exits, bundle.model.classes)
        if len(found) != len(store):
            raise DamagedAnswersError(f"answers to other {split} images")
        return Observations(found.scores, found.correct, arrays["costs"])

    vectors = [tuple(map(float, row)) for row in arrays["thresholds"]]
    return NetworkAnswers(
        bundle.path, observed("calibration", images.calibration), observed("test", images.test),
        arrays["ece"], arrays["nll"], vectors,
        tuple(arrays["static"].tolist()), bundle.model.classes,
    )  # fmt: skip
