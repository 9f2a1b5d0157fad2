"""What is exported: the network as one graph that stops early, as stages, or with all exits.

Each takes pixels as they come from a decoder and normalises them itself, unless asked not to; each
has the norms folded and the temperatures inside.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from erde_cli.core.data import Normalisation
from erde_cli.core.exits import score_of
from erde_cli.core.models import EarlyExitNet, folded

Answer = tuple[Tensor, Tensor, Tensor]


class Preprocessing(nn.Module):
    """uint8 [batch, height, width, 3] to normalised float32 [batch, 3, height, width]."""

    scale: Tensor
    shift: Tensor

    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__()
        mean, std = torch.tensor(normalisation.mean), torch.tensor(normalisation.std)
        # The very products of `Normaliser`, so that scores differ by no more than rounding.
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", mean / std)

    def forward(self, image: Tensor) -> Tensor:
        """Normalise."""
        return (image.float() * self.scale - self.shift).permute(0, 3, 1, 2)


class _Exported(nn.Module):
    """Stages and heads made ready, what comes before them, and a temperature for each exit."""

    def __init__(
        self,
        model: EarlyExitNet,
        normalisation: Normalisation | None,
        temperatures: Sequence[float] | None,
    ) -> None:
        super().__init__()
        network = folded(model)
        self.before = nn.Identity() if normalisation is None else Preprocessing(normalisation)
        self.stages, self.heads = network.stages, network.heads
        none: list[float | None] = [None] * network.exit_count
        self.temperatures = none if temperatures is None else list(temperatures)
        self.eval()

    def _probabilities(self, logits: Tensor, exit_: int) -> Tensor:
        temperature = self.temperatures[exit_]
        return torch.softmax(logits if temperature is None else logits / temperature, dim=-1)


class StoppingGraph(_Exported):
    """One image, and a graph that computes no stage which the exit rule does not need.

    Each `torch.cond` becomes an ONNX `If`; all deeper stages lie inside its else branch.
    """

    def forward(self, image: Tensor, thresholds: Tensor) -> Answer:
        """Answer one image.

        Args:
            image: uint8 [1, height, width, 3], or float32 [1, 3, height, width], normalised.
            thresholds: θ of the early exits in nats, float32 [exits - 1].

        Returns:
            probabilities float32 [1, classes], label int64 [1], exit int64 [1].
        """
        return self._from(0, self.before(image), thresholds)

    def _from(self, exit_: int, features: Tensor, thresholds: Tensor) -> Answer:
        features = self.stages[exit_](features)
        logits = self.heads[exit_](features)
        probabilities, label = self._probabilities(logits, exit_), logits.argmax(dim=-1)
        if exit_ == len(self.stages) - 1:
            return probabilities, label, torch.full((1,), exit_, dtype=torch.int64)

        def leave(features: Tensor, probabilities: Tensor, label: Tensor, thresholds: Tensor):  # type: ignore[no-untyped-def]
            del features, thresholds
            # What comes out of a branch must not be what went in.
            here = torch.full((1,), exit_, dtype=torch.int64)
            return probabilities.clone(), label.clone(), here

        def go_on(features: Tensor, probabilities: Tensor, label: Tensor, thresholds: Tensor):  # type: ignore[no-untyped-def]
            del probabilities, label
            return self._from(exit_ + 1, features, thresholds)

        leaves = (score_of(logits, self.temperatures[exit_]) < thresholds[exit_]).reshape(())
        given = (features, probabilities, label, thresholds)
        answer: Answer = torch.cond(leaves, leave, go_on, given)
        return answer


class StageGraph(_Exported):
    """One stage and its head, for any number of images."""

    def __init__(
        self,
        model: EarlyExitNet,
        normalisation: Normalisation | None,
        temperatures: Sequence[float] | None,
        exit_: int,
    ) -> None:
        super().__init__(model, normalisation if exit_ == 0 else None, temperatures)
        self.exit = exit_

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Answer images, or the features of those that went on.

        Args:
            images: [batch, ...]: pixels at the first stage, the stage before's features later.

        Returns:
            probabilities float32 [batch, classes], label int64 [batch], score in nats float32
            [batch], and, of all stages but the last, the features for the next.
        """
        features = self.stages[self.exit](self.before(images))
        logits = self.heads[self.exit](features)
        score = score_of(logits, self.temperatures[self.exit])
        said = self._probabilities(logits, self.exit), logits.argmax(dim=-1), score
        return said if self.exit == len(self.stages) - 1 else (*said, features)


class AllExitsGraph(_Exported):
    """Logits of every exit, for any number of images."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits, float32 [batch, exits, classes]; temperatures are left to who uses them."""
        features, logits = self.before(images), []
        for stage, head in zip(self.stages, self.heads, strict=True):
            features = stage(features)
            logits.append(head(features))
        return torch.stack(logits, dim=1)
