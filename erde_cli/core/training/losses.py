"""The terms of the loss: value, weight and mask of each.

Symbols, as in docs/method.md: for an image at an exit, p_S is the softmax of the student, p_T that
of the teacher, y the label, K the number of classes, t the temperature, and m the mask of E (by
default 1 where the teacher's exit is wrong). Every term is float32 [batch, exits]. `combine`
divides by the batch size, never by the number of images that a mask selects. So the loss is
additive over processes, and the weight of an image does not depend on how many are selected.

Source: arXiv 2510.04856 for the idea. Its abstract leaves open whether E replaces CE and KD or is
added to them; see docs/method.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import torch
from torch import Tensor
from torch.nn import functional as F

from erde_cli.core.randomness import permutation
from erde_cli.core.recipe.sections.distillation import Distillation, EntropyOn
from erde_cli.core.thresholds.scores import ENTROPY


@dataclass(frozen=True)
class ExitLogits:
    """Logits of student and teacher for a batch.

    student: float32 [batch, exits, classes]. teacher: of the paired exits, same shape, without
    gradient; empty without a teacher. labels: int64 [batch]. step: training step, from 0.
    """

    student: Tensor
    teacher: Tensor
    labels: Tensor
    step: int = 0
    _masks: dict[Mask, Tensor] = field(default_factory=dict, init=False)

    @cached_property
    def teacher_correct(self) -> Tensor:
        """Whether the teacher's paired exits are right, bool [batch, exits]."""
        return self.teacher.argmax(dim=-1) == self.labels[:, None]

    def mask_of(self, mask: Mask) -> Tensor:
        """Evaluate a mask on this batch, once for all terms; bool [batch, exits]."""
        if mask not in self._masks:
            self._masks[mask] = mask(self)
        return self._masks[mask]


Mask = Callable[[ExitLogits], Tensor]  # bool [batch, exits]: True where a term acts


@dataclass(frozen=True)
class LossTerm:
    """One summand of the loss: weight · mask · value.

    name: column of metrics.jsonl; the recipe's `LABELS` has its short form for progress lines.
    value: function of the logits, float32 [batch, exits]. mask: None means all images and exits.
    """

    name: str
    value: Callable[[ExitLogits], Tensor]
    weight: float = 1.0
    mask: Mask | None = None

    def __call__(self, exits: ExitLogits) -> Tensor:
        """Weight · mask · value, float32 [batch, exits]."""
        factor = self.weight if self.mask is None else self.weight * exits.mask_of(self.mask)
        return factor * self.value(exits)


def label_terms(label_smoothing: float = 0.0) -> tuple[LossTerm, ...]:
    """Terms of training without a teacher: CE with weight 1 at every exit.

    Args:
        label_smoothing: of CE, from 0 to 1.
    """
    return (
        LossTerm("cross_entropy", lambda at: cross_entropy(at.student, at.labels, label_smoothing)),
    )


def distillation_terms(
    settings: Distillation, label_smoothing: float = 0.0, *, seed: int = 0, rank: int = 0
) -> tuple[LossTerm, ...]:
    """Terms of `kd` and `erde`.

    `kd`: w_ce·CE + w_kd·KD.
    `erde` at early exits: (1-m)·(w_ce·CE + w_kd·KD) + m·w_entropy·E in the form `replace`,
    w_ce·CE + w_kd·KD + m·w_entropy·E in the form `add`. The last exit uses `kd`, as no deeper exit
    can help there, unless `entropy_at_last_exit` is set. `entropy_on: all` always has the form
    `add`: otherwise no image would be left for CE and KD.

    Args:
        settings: the recipe's section: weights, temperature, and where E acts.
        label_smoothing: of CE, from 0 to 1.
        seed: seed of the network; only the mask `shuffled` uses it.
        rank: rank of the process; only the mask `shuffled` uses it.
    """
    weights = settings.weights
    mask = entropy_mask(settings, seed, rank)
    replaces = settings.form == "replace" and settings.entropy_on != "all"
    outside_mask = partial(inverse, mask=mask) if replaces else None
    [label_term] = label_terms(label_smoothing)
    return (
        replace(label_term, weight=weights.cross_entropy, mask=outside_mask),
        LossTerm(
            "distillation",
            lambda at: distillation(at.student, at.teacher, settings.temperature),
            weights.distillation,
            outside_mask,
        ),
        LossTerm("entropy", lambda at: certainty(at.student), weights.entropy, mask),
    )


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """CE = -log p(y) at every exit, float32 [batch, exits].

    Args:
        logits: [batch, exits, classes].
        labels: int64 [batch].
        label_smoothing: share of the probability that is spread over all classes, from 0 to 1.
    """
    by_class = logits.float().transpose(1, 2)
    targets = labels[:, None].expand(-1, logits.shape[1])
    return F.cross_entropy(by_class, targets, reduction="none", label_smoothing=label_smoothing)


def distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KD = t² · KL(p_T ‖ p_S) at temperature t, summed over classes, float32 [batch, exits].

    Args:
        student: logits, [batch, exits, classes].
        teacher: logits of the paired exits, same shape.
        temperature: t > 0. The factor t² makes the size of gradients independent of t.

    Source: Hinton et al., "Distilling the knowledge in a neural network", 2015, arXiv 1503.02531,
    section 2.
    """
    log_student = torch.log_softmax(student.float() / temperature, dim=-1)
    log_teacher = torch.log_softmax(teacher.float() / temperature, dim=-1)
    divergence = (log_teacher.exp() * (log_teacher - log_student)).sum(dim=-1)
    return temperature**2 * divergence


def certainty(logits: Tensor) -> Tensor:
    """E = 1 - H(p) / ln K, float32 [batch, exits], of logits [batch, exits, classes].

    E is 0 for equal probabilities and 1 for a certain answer. Minimising E makes the student
    uncertain. E always uses entropy, whatever score the exit rule uses.
    """
    return 1 - ENTROPY.value(logits) / ENTROPY.largest(logits.shape[-1])


def entropy_mask(settings: Distillation, seed: int = 0, rank: int = 0) -> Mask:
    """The mask of E, `nowhere` for `kd`; arguments as in `distillation_terms`."""
    if settings.method != "erde":
        return nowhere
    masks: dict[EntropyOn, Mask] = {
        "teacher_wrong": teacher_wrong,
        "teacher_wrong_or_unsure": partial(wrong_or_unsure, unsure_above=settings.unsure_above),
        "teacher_wrong_then_right": wrong_then_right,
        "shuffled": partial(shuffled, seed=seed, rank=rank),
        "all": everywhere,
    }
    mask = masks[settings.entropy_on]
    return mask if settings.entropy_at_last_exit else partial(at_early_exits, mask=mask)


def teacher_wrong(exits: ExitLogits) -> Tensor:
    """Mask of the exits at which the teacher is wrong, bool [batch, exits]."""
    return ~exits.teacher_correct


def wrong_or_unsure(exits: ExitLogits, unsure_above: float) -> Tensor:
    """Mask of the exits at which the teacher is wrong, or its entropy above a share of ln K."""
    return teacher_wrong(exits) | (certainty(exits.teacher) < 1 - unsure_above)


def wrong_then_right(exits: ExitLogits) -> Tensor:
    """Mask of the exits at which the teacher is wrong although its last paired exit is right."""
    return teacher_wrong(exits) & exits.teacher_correct[:, -1:]


def shuffled(exits: ExitLogits, seed: int, rank: int) -> Tensor:
    """`teacher_wrong` with the images of the batch permuted: a control that acts as often."""
    order = permutation(len(exits.labels), seed, "entropy/shuffled", exits.step, rank)
    rows = torch.from_numpy(order).to(exits.labels.device, non_blocking=True)
    return teacher_wrong(exits)[rows]


def everywhere(exits: ExitLogits) -> Tensor:
    """True at every image and exit: the control `entropy_on: all`."""
    return torch.ones_like(exits.student[..., 0], dtype=torch.bool)


def nowhere(exits: ExitLogits) -> Tensor:
    """False at every image and exit, so that E is logged as 0."""
    return torch.zeros_like(exits.student[..., 0], dtype=torch.bool)


def at_early_exits(exits: ExitLogits, mask: Mask) -> Tensor:
    """A mask with its last exit set to False."""
    return F.pad(mask(exits)[:, :-1], (0, 1))


def inverse(exits: ExitLogits, mask: Mask) -> Tensor:
    """The inverse of a mask."""
    return ~exits.mask_of(mask)


def combine(losses: Tensor, exit_weights: Tensor) -> Tensor:
    """Mean over the batch of the weighted mean over exits, a float32 scalar.

    Args:
        losses: float32 [batch, exits].
        exit_weights: float32 [exits], non-negative; normalised here to a sum of 1.
    """
    return (losses.mean(dim=0) * exit_weights).sum() / exit_weights.sum()
