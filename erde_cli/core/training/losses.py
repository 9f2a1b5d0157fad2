"""The loss terms of ERDE, as pure functions of logits.

Symbols, as in docs/method.md: per image and exit, p_S is the softmax of the student, p_T of the
teacher, y the label, K the number of classes, t the temperature, m = 1 where the teacher's exit
is wrong. Every term is per image and exit, [batch, exits]; `combine` divides by the whole batch,
never by the number of masked images, so that the loss stays additive over processes and one wrong
image keeps one image's weight.

Source: arXiv 2510.04856 for the idea; which terms stay where the teacher is wrong is our reading.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from erde_cli.core.inference.scores import largest_entropy, softmax_entropy


@dataclass(frozen=True)
class LossSettings:
    """Weights and switches of the distillation loss; named as in the recipe.

    replaces: whether E takes the place of CE and KD on its images, or is added to them.
    entropy_on: which images those are, see `entropy_mask`. unsure_above: share of ln K.
    """

    method: str = "erde"
    temperature: float = 2.0
    cross_entropy: float = 1.0
    distillation: float = 1.0
    entropy: float = 1.0
    replaces: bool = True
    entropy_on: str = "teacher_wrong"
    unsure_above: float = 0.5
    entropy_at_last_exit: bool = False
    label_smoothing: float = 0.0


@dataclass(frozen=True)
class LossTerms:
    """Weighted and masked terms, each [batch, exits]; their sum is the loss of image and exit."""

    cross_entropy: Tensor
    distillation: Tensor
    entropy: Tensor

    @property
    def total(self) -> Tensor:
        """Loss of each image at each exit, [batch, exits]."""
        return self.cross_entropy + self.distillation + self.entropy

    def weighted(self, class_weights: Tensor | None, labels: Tensor) -> LossTerms:
        """Every term of an image times the weight of its class; the same where there are none.

        Args:
            class_weights: float32 [classes].
            labels: [batch] int64.
        """
        if class_weights is None:
            return self
        weights = class_weights[labels][:, None]
        return LossTerms(
            weights * self.cross_entropy, weights * self.distillation, weights * self.entropy
        )


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """CE = -log p(y) at every exit, float32 [batch, exits].

    Args:
        logits: [batch, exits, classes].
        labels: [batch] int64.
        label_smoothing: share of the target spread over all classes.
    """
    by_class = logits.float().transpose(1, 2)
    targets = labels[:, None].expand(-1, logits.shape[1])
    return F.cross_entropy(by_class, targets, reduction="none", label_smoothing=label_smoothing)


def distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KD = t² · KL(p_T ‖ p_S) at temperature t, summed over classes, float32 [batch, exits].

    Args:
        student: logits, [batch, exits, classes].
        teacher: logits of the paired exits, same shape.
        temperature: t > 0; t² keeps the size of the gradient.

    Source: Hinton et al., "Distilling the knowledge in a neural network", 2015, section 2.
    """
    log_student = torch.log_softmax(student.float() / temperature, dim=-1)
    log_teacher = torch.log_softmax(teacher.float() / temperature, dim=-1)
    divergence = (log_teacher.exp() * (log_teacher - log_student)).sum(dim=-1)
    return temperature**2 * divergence


def confidence(logits: Tensor) -> Tensor:
    """E = 1 - H(p)/ln K at temperature 1, float32 [batch, exits]: 0 fully unsure, 1 fully sure.

    The score of the exit rule, turned round: minimising E makes the student unsure.
    """
    return 1 - softmax_entropy(logits) / largest_entropy(logits.shape[-1])


def teacher_correct(teacher: Tensor, labels: Tensor) -> Tensor:
    """Whether the teacher's own exit is right on an image, bool [batch, exits]."""
    return teacher.argmax(dim=-1) == labels[:, None]


def entropy_mask(
    teacher: Tensor, labels: Tensor, settings: LossSettings, order: Tensor | None = None
) -> Tensor:
    """On which images and exits the entropy term acts, bool [batch, exits].

    Args:
        teacher: logits of the paired exits, [batch, exits, classes].
        labels: [batch] int64.
        settings: `entropy_on` is "teacher_wrong": this exit is wrong. "teacher_wrong_or_unsure": it
            is wrong, or its entropy is above the share `unsure_above` of ln K.
            "teacher_wrong_then_right": this exit is wrong and the last one is right. "shuffled" (a
            control): the mask of another image, so the same share at random. "all" (a control):
            every image.
        order: permutation of the batch, int64 [batch]; needed for "shuffled" only.
    """
    correct = teacher_correct(teacher, labels)
    wrong = ~correct
    entropy_on = settings.entropy_on
    if entropy_on == "teacher_wrong_or_unsure":
        return wrong | (confidence(teacher) < 1 - settings.unsure_above)
    if entropy_on == "teacher_wrong_then_right":
        return wrong & correct[:, -1:]
    if entropy_on == "shuffled":
        return wrong[order]
    if entropy_on == "all":
        return torch.ones_like(wrong)
    return wrong


def distillation_terms(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    mask: Tensor,
    settings: LossSettings,
) -> LossTerms:
    """Terms of `kd` and `erde`, weighted.

    `kd`: w_ce·CE + w_kd·KD. `erde`, early exits: (1-m)·(w_ce·CE + w_kd·KD) + m·w_entropy·E, or
    w_ce·CE + w_kd·KD + m·w_entropy·E where E `replaces` nothing; the last exit uses `kd` unless
    `entropy_at_last_exit`, since no deeper exit can help there.

    Args:
        student: logits, [batch, exits, classes].
        teacher: logits of the paired exits, same shape, without gradient.
        labels: [batch] int64.
        mask: m, bool [batch, exits], from `entropy_mask`.
        settings: weights and switches.
    """
    unsure = torch.zeros(student.shape[:2], device=student.device)
    if settings.method == "erde":
        unsure = mask.float()
        if not settings.entropy_at_last_exit:
            unsure = torch.cat([unsure[:, :-1], torch.zeros_like(unsure[:, -1:])], dim=1)
    kept = 1 - unsure if settings.replaces else torch.ones_like(unsure)
    ce = cross_entropy(student, labels, settings.label_smoothing)
    kd = distillation(student, teacher, settings.temperature)
    return LossTerms(
        settings.cross_entropy * kept * ce,
        settings.distillation * kept * kd,
        settings.entropy * unsure * confidence(student),
    )


def label_terms(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> LossTerms:
    """Terms of training without a teacher: CE with weight 1 at every exit."""
    ce = cross_entropy(logits, labels, label_smoothing)
    return LossTerms(ce, torch.zeros_like(ce), torch.zeros_like(ce))


def combine(losses: Tensor, exit_weights: Tensor) -> Tensor:
    """Mean over the whole batch of the weighted mean over exits, a scalar.

    Args:
        losses: [batch, exits].
        exit_weights: [exits], non-negative; normalised to sum 1 here.
    """
    return (losses.mean(dim=0) * exit_weights).sum() / exit_weights.sum()
