"""Predict images with a network in torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field
from threading import Lock
from typing import Any, Protocol

import torch
from torch import Tensor

from erde_cli.core.data.given_images import GivenImage, pixels_of
from erde_cli.core.data.normalisation import Normalisation, Normaliser
from erde_cli.core.device import Context, images_at_once
from erde_cli.core.images.given_images import require_batch
from erde_cli.core.images.pixels import PixelRules
from erde_cli.core.inference.answers import ready
from erde_cli.core.inference.exit_rule import ExitRule
from erde_cli.core.inference.routing import Routed, route
from erde_cli.core.inference.rows import Columns, Prediction, prediction_rows
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.profile import profile_model
from erde_cli.core.thresholds.scores import ENTROPY

Images = GivenImage | Iterable[GivenImage]


@dataclass(frozen=True)
class Predicted:
    """Predictions of many images, on the CPU, [images]: int64, float32, float32, int64."""

    labels: Tensor
    confidences: Tensor
    entropies: Tensor
    exits: Tensor

    @classmethod
    def joined(cls, parts: Iterable[Predicted]) -> Predicted:
        """Predictions of several batches, in order; at least one batch."""
        columns = zip(*(astuple(part) for part in parts), strict=True)
        return cls(*(torch.cat(column) for column in columns))


class Answering(Protocol):
    """The interface of `Predictor`, which documents it, for any runtime."""

    @property
    def class_names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def image_size(self) -> int: ...  # noqa: D102
    @property
    def rules(self) -> PixelRules: ...  # noqa: D102
    @property
    def cumulative_macs(self) -> tuple[int, ...]: ...  # noqa: D102
    def batch_size(self, batch: int | None) -> int: ...  # noqa: D102
    def answer(self, pixels: Tensor, rule: ExitRule, batch: int | None) -> Predicted: ...  # noqa: D102


def rows_of(answering: Answering, predicted: Predicted) -> list[Prediction]:
    """One object per image.

    Raises:
        BundleError: a number is not finite, or the network has no such label or exit.
    """
    columns = Columns(
        predicted.labels.numpy(), predicted.confidences.numpy(),
        predicted.entropies.numpy(), predicted.exits.numpy(),
    )  # fmt: skip
    return prediction_rows(columns, answering.class_names, answering.cumulative_macs)


@dataclass(frozen=True)
class Predictor:
    """A network that is `ready` on a device, and what is needed to predict images with it.

    class_names: [classes]. image_size: side in pixels. rules: how files become pixels.
    cumulative_macs: of an image that leaves at each exit, [exits].
    """

    network: EarlyExitNet
    normalise: Normaliser
    context: Context
    class_names: tuple[str, ...]
    image_size: int
    rules: PixelRules
    cumulative_macs: tuple[int, ...]

    def batch_size(self, batch: int | None) -> int:
        """Number of images per batch; `batch`, or a size that suits the device."""
        return batch or images_at_once(self.image_size, self.context.device)

    def predict(self, images: Images, rule: ExitRule, batch: int | None) -> list[Prediction]:
        """Predict images in any form, in order. Only one batch of them is in memory at a time.

        Raises:
            DataError: an object is not an image, or cannot be read.
            InputError: the batch size is below 1.
        """
        require_batch(batch)
        predictions: list[Prediction] = []
        for pixels in pixels_of(images, self.image_size, self.batch_size(batch), self.rules):
            predictions += rows_of(self, self.answer(pixels, rule, batch))
        return predictions

    @torch.inference_mode()
    def answer(self, pixels: Tensor, rule: ExitRule, batch: int | None = None) -> Predicted:
        """Predict decoded images under an exit rule.

        Args:
            pixels: uint8 [images, height, width, 3], at least one image of the network's size.
            rule: score, thresholds and temperatures.
            batch: images per batch; None: a size that suits the device.

        Raises:
            ValueError: the rule does not fit the number of exits.
        """
        parts = [self._part(part, rule) for part in torch.split(pixels, self.batch_size(batch))]
        columns = (torch.cat(column).cpu() for column in zip(*parts, strict=True))
        return Predicted(*columns)

    def _part(self, pixels: Tensor, rule: ExitRule) -> tuple[Tensor, ...]:
        images = self.normalise(self.context.to_device(pixels))
        with self.context.autocast():
            routed = route(self.network, images, rule.thresholds, rule.temperatures, rule.score)
        labels = routed.logits.argmax(dim=-1)
        scaled = _scaled(routed, rule.temperatures)
        confidences = scaled.softmax(dim=-1).gather(1, labels[:, None])[:, 0]
        entropies = routed.score if rule.score == ENTROPY else ENTROPY.value(scaled)
        return labels, confidences, entropies, routed.exit


def _scaled(routed: Routed, temperatures: Sequence[float] | None) -> Tensor:
    """Logits of the exit that each image took, over its temperature, [images, classes]."""
    if temperatures is None:
        return routed.logits
    by_exit = torch.tensor(temperatures, device=routed.logits.device)
    return routed.logits / by_exit[routed.exit][:, None]


@dataclass
class Prepared:
    """One predictor of a network per context, made once even if several threads ask for it."""

    _made: dict[Context, Predictor] = field(default_factory=dict)
    _lock: Any = field(default_factory=Lock)

    def on(
        self,
        context: Context,
        model: EarlyExitNet,
        normalisation: Normalisation,
        class_names: tuple[str, ...],
        image_size: int,
        rules: PixelRules,
    ) -> Predictor:
        """The predictor of the network in a context; every call must pass the same network."""
        with self._lock:
            if context not in self._made:
                costs = tuple(profile_model(model, image_size).cumulative_macs)
                self._made[context] = Predictor(
                    ready(model, context), Normaliser(normalisation, image_size, context),
                    context, class_names, image_size, rules, costs,
                )  # fmt: skip
            return self._made[context]

    def __reduce__(self) -> tuple[type[Prepared], tuple[()]]:
        """Pickle as empty, because a lock cannot be pickled."""
        return Prepared, ()
