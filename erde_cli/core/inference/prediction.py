"""What a network says of images: a class, how sure it is, and the exit that said so.

The label is the largest of the logits. Confidence and entropy are those of the exit taken, at the
temperature of that exit where it has one. Where entropy is the score, it is the very number that
the exit rule tested.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Protocol

import torch
from torch import Tensor

from erde_cli.core.data.given_images import GivenImage, pixels_of
from erde_cli.core.data.normalisation import Normalisation, Normaliser
from erde_cli.core.device import Context, images_at_once
from erde_cli.core.errors import BundleError, InputError
from erde_cli.core.images.pixels import PixelRules
from erde_cli.core.inference.answers import ready, require_finite
from erde_cli.core.inference.exit_rule import ExitRule
from erde_cli.core.inference.routing import Routed, route
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.profile import profile_model
from erde_cli.core.thresholds.scores import ENTROPY

Images = GivenImage | Iterable[GivenImage]


@dataclass(frozen=True)
class Prediction:
    """What one image shows.

    Attributes:
        label: number of the class, from 0.
        class_name: its name.
        confidence: softmax probability of that class at the exit taken, from 0 to 1.
        entropy: of the softmax at the exit taken, in nats, whatever the score.
        exit: where the image left, from 0.
        macs: multiply-adds spent on the image: every stage and every head on the way.
    """

    label: int
    class_name: str
    confidence: float
    entropy: float
    exit: int
    macs: int


@dataclass(frozen=True)
class Predicted:
    """The same of many images, on the CPU, [images] each: int64, float32, float32, int64."""

    labels: Tensor
    confidences: Tensor
    entropies: Tensor
    exits: Tensor


class Answering(Protocol):
    """What answers decoded images, whatever computes; its arguments are those of `Predictor`."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class."""

    @property
    def image_size(self) -> int:
        """Side of the network's input in pixels."""

    @property
    def rules(self) -> PixelRules:
        """How files become pixels."""

    @property
    def cumulative_macs(self) -> tuple[int, ...]:
        """Multiply-adds of leaving at each exit, [exits]."""

    def batch_size(self, batch: int | None) -> int:
        """How many images the network is given at once."""

    def answer(self, pixels: Tensor, rule: ExitRule, batch: int | None = None) -> Predicted:
        """Let decoded images leave where the rule says."""


def rows_of(answering: Answering, found: Predicted) -> list[Prediction]:
    """One object per image.

    Raises:
        BundleError: the network answers with numbers that are none, or with no label or exit of
            its own.
    """
    names, macs = answering.class_names, answering.cumulative_macs
    require_finite(torch.stack([found.confidences, found.entropies]).numpy())
    _require_below(found.labels, len(names), "label")
    _require_below(found.exits, len(macs), "exit")
    columns = (found.labels, found.confidences, found.entropies, found.exits)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [
        Prediction(label, names[label], sure, nats, at, macs[at]) for label, sure, nats, at in rows
    ]


def _require_below(numbers: Tensor, count: int, what: str) -> None:
    """Check that labels and exits are those of the network; a foreign file may answer anything."""
    if bool(((numbers < 0) | (numbers >= count)).any()):
        raise BundleError(
            f"The network answers with a {what} that it has not.",
            expected=f"numbers from 0 to {count - 1}",
            hint="export it again: erde export BUNDLE --format onnx --out FILE",
        )


@dataclass(frozen=True)
class Predictor:
    """A network made ready on a device, and what it takes to answer decoded images.

    rules: how files become pixels. cumulative_macs: of leaving at each exit, [exits].
    """

    network: EarlyExitNet
    normalise: Normaliser
    context: Context
    class_names: tuple[str, ...]
    image_size: int
    rules: PixelRules
    cumulative_macs: tuple[int, ...]

    def batch_size(self, batch: int | None) -> int:
        """How many images the network is given at once."""
        return batch or images_at_once(self.image_size, self.context.device)

    def predict(self, images: Images, rule: ExitRule, batch: int | None) -> list[Prediction]:
        """Predict images in any form, in their order; one batch of them is in memory at a time.

        Raises:
            DataError: something is no image.
            InputError: the batch is no number of images.
        """
        if batch is not None and batch < 1:
            raise InputError(
                "A batch holds one image or more.",
                got=str(batch),
                expected="1 or more",
                hint="give a number from 1",
            )
        found: list[Prediction] = []
        for pixels in pixels_of(images, self.image_size, self.batch_size(batch), self.rules):
            found += rows_of(self, self.answer(pixels, rule, batch))
        return found

    @torch.inference_mode()
    def answer(self, pixels: Tensor, rule: ExitRule, batch: int | None = None) -> Predicted:
        """Let decoded images leave where the rule says.

        Args:
            pixels: uint8 [images, height, width, 3], at least one image of the network's size.
            rule: score, thresholds and temperatures.
            batch: how many images the network is given at once; as many as suit it where left out.
        """
        parts = [self._part(part, rule) for part in torch.split(pixels, self.batch_size(batch))]
        together = (torch.cat(column).cpu() for column in zip(*parts, strict=True))
        return Predicted(*together)

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
    """Logits of the exit each image took, at its temperature, [images, classes]."""
    if temperatures is None:
        return routed.logits
    by_exit = torch.tensor(temperatures, device=routed.logits.device)
    return routed.logits / by_exit[routed.exit][:, None]


@dataclass
class Prepared:
    """Predictors by where they run, each made once, also where several threads ask at once."""

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
        """The predictor of one network; it is the same network at every call."""
        with self._lock:
            if context not in self._made:
                costs = tuple(profile_model(model, image_size).cumulative_macs)
                self._made[context] = Predictor(
                    ready(model, context),
                    Normaliser(normalisation, image_size, context),
                    context,
                    class_names,
                    image_size,
                    rules,
                    costs,
                )
            return self._made[context]

    def __reduce__(self) -> tuple[type[Prepared], tuple[()]]:
        """A copy in another process makes its own: a lock cannot go there."""
        return Prepared, ()
