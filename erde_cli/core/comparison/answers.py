"""Answers of every exit of a network on calibration and test images, kept in a small file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from erde_cli.core.arrays import FloatArray
from erde_cli.core.bundle.bundle import Bundle
from erde_cli.core.calibration.estimate import calibrate
from erde_cli.core.calibration.temperature import (
    expected_calibration_error,
    negative_log_likelihood,
)
from erde_cli.core.comparison.curves import Curve, cost_curve, one_threshold, with_ends
from erde_cli.core.data.store import ImageStore
from erde_cli.core.device import Context
from erde_cli.core.events import Observer
from erde_cli.core.inference.answers import answer_all, ready
from erde_cli.core.inference.observations import Observations
from erde_cli.core.storage.files import write_file
from erde_cli.core.storage.json_files import digest_of
from erde_cli.core.thresholds.targets import MaxMacs

_VERSION = "2"  # raise it when the same network would give another file
_NAMES = {
    *(f"{split}.{name}" for split in ("calibration", "test") for name in ("scores", "correct")),
    "ece", "nll", "thresholds", "costs", "static",
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
    inputs = {
        "version": _VERSION,
        "weights": bundle.document.weights_digest,
        "images": images.fingerprint,
        "device": images.context.device.type,
        "precision": images.context.precision,
    }
    digest = digest_of(inputs)
    arrays = _read(path, digest, images, bundle.model.exit_count, observer)
    if arrays is None:
        arrays = _answer(bundle, images)
        # One metadata entry: safetensors writes several in no fixed order.
        content = save(arrays, {"digest": f"{digest} {_digest_of(arrays)}"})
        write_file(path, lambda temporary: temporary.write_bytes(content))
    return _from_arrays(bundle, arrays)


def _read(
    path: Path, digest: str, images: Images, exits: int, observer: Observer
) -> dict[str, FloatArray] | None:
    """Arrays of a file; None if it is missing, damaged or made from other inputs."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "np") as file:
            inputs, _, content = (file.metadata() or {}).get("digest", "").partition(" ")
            if inputs != digest:
                return None
            arrays = {name: file.get_tensor(name) for name in _NAMES}
    except (OSError, SafetensorError, TypeError):  # numpy has not every number format
        arrays, content = {}, ""
    if content != _digest_of(arrays) or not _fits(arrays, images, exits):
        observer.warning(f"{path} is damaged. Its network answers the images again.")
        return None
    return arrays


def _digest_of(arrays: dict[str, FloatArray]) -> str:
    """SHA-256 of arrays with their names and shapes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].shape}".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def _fits(arrays: dict[str, FloatArray], images: Images, exits: int) -> bool:
    """Whether arrays have the shapes of these images and this network, and finite numbers."""
    by_split = {"calibration": len(images.calibration), "test": len(images.test)}
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("ece", "nll", "costs", "static"), (exits,))
    shapes |= {
        f"{split}.{name}": (count, exits)
        for split, count in by_split.items()
        for name in ("scores", "correct")
    }
    thetas = arrays["thresholds"]
    return (
        all(arrays[name].shape == shape for name, shape in shapes.items())
        and all(array.dtype == np.float64 for array in arrays.values())
        and all(bool(np.isfinite(arrays[name]).all()) for name in shapes)
        and thetas.ndim == 2
        and len(thetas) > 0
        and thetas.shape[1] == exits - 1
    )


def _answer(bundle: Bundle, images: Images) -> dict[str, FloatArray]:
    model = ready(bundle.model, images.context)
    profile = bundle.profile
    costs = np.array(profile.cumulative_macs, dtype=np.float64)
    arrays = {"costs": costs, "static": np.array(profile.static_macs_of_exits, dtype=np.float64)}
    for split, store in (("calibration", images.calibration), ("test", images.test)):
        answers = answer_all(
            model, store, bundle.normalisation, images.context, keep_logits=split == "test"
        ).require_finite()
        arrays[f"{split}.scores"], arrays[f"{split}.correct"] = (
            answers.scores, answers.correct.astype(np.float64),
        )  # fmt: skip
        if answers.logits is not None:
            labels, exits = store.labels.numpy(), range(len(costs))
            of_exit = [answers.logits[:, exit_] for exit_ in exits]
            arrays["ece"] = np.array([expected_calibration_error(one, labels) for one in of_exit])
            arrays["nll"] = np.array([negative_log_likelihood(one, labels) for one in of_exit])
    calibration = Observations(
        arrays["calibration.scores"], arrays["calibration.correct"].astype(bool), costs
    )
    # The frontier is the same for every target.
    frontier = calibrate(calibration, MaxMacs(1.0)).frontier
    vectors = with_ends([point.thresholds for point in frontier], len(costs) - 1)
    arrays["thresholds"] = np.array(vectors).reshape(len(vectors), -1)
    return arrays


def _from_arrays(bundle: Bundle, arrays: dict[str, FloatArray]) -> NetworkAnswers:
    calibration, test = (
        Observations(
            arrays[f"{split}.scores"], arrays[f"{split}.correct"].astype(bool), arrays["costs"]
        )
        for split in ("calibration", "test")
    )
    vectors = [tuple(map(float, row)) for row in arrays["thresholds"]]
    return NetworkAnswers(
        bundle.path, calibration, test, arrays["ece"], arrays["nll"], vectors,
        tuple(arrays["static"].tolist()), bundle.model.classes,
    )  # fmt: skip
