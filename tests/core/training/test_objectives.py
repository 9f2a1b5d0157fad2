"""What a network is trained for, with real teachers of 8 layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from erde_cli.core.data.batches import Batch
from erde_cli.core.device import Context
from erde_cli.core.models.architecture import Architecture, build_model
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.recipe.sections.distillation import Distillation, EntropyOn, Weights
from erde_cli.core.training.losses import (
    ExitLogits,
    LossTerm,
    combine,
    distillation_terms,
    label_terms,
)
from erde_cli.core.training.objectives import SumOfTerms
from erde_cli.core.training.teacher_logits import ComputedLogits

CLASSES, IMAGES = 4, 16
CONTEXT = Context(torch.device("cpu"), "float32", 1)
ARCHITECTURE = Architecture("resnet", 8, 2, (1, 2), "erde", CLASSES, 8)
SETTINGS = Distillation(weights=Weights(cross_entropy=0.7, distillation=1.3, entropy=0.4))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_teacher() -> EarlyExitNet:
    teacher = build_model(ARCHITECTURE, seed=3)
    with torch.no_grad():
        for head in teacher.heads:
            head[-1].weight.normal_(generator=generator(0))  # spreads the answers over the classes
    return teacher


def make_batch() -> Batch:
    """Half of the labels are the teacher's answers at its first exit, so that it is half right."""
    images = torch.randn(IMAGES, 3, 8, 8, generator=generator(1))
    with torch.no_grad():
        answers = make_teacher().eval()(images)[:, 0].argmax(dim=-1)
    labels = torch.where(torch.arange(IMAGES) % 2 == 0, answers, (answers + 1) % CLASSES)
    return Batch(images, labels, np.arange(IMAGES))


def student_logits(exits: int = 3) -> Tensor:
    logits = torch.randn(IMAGES, exits, CLASSES, generator=generator(2))
    return logits.requires_grad_()


def objective(
    teacher: EarlyExitNet,
    pairing: tuple[int, ...] = (0, 1, 2),
    entropy_on: EntropyOn = "teacher_wrong",
    seed: int = 0,
    rank: int = 0,
) -> SumOfTerms:
    weights = torch.arange(1.0, len(pairing) + 1)
    terms = distillation_terms(on(entropy_on), seed=seed, rank=rank)
    return SumOfTerms(terms, weights, ComputedLogits(teacher, CONTEXT), pairing)


def on(entropy_on: EntropyOn) -> Distillation:
    return SETTINGS.model_copy(update={"entropy_on": entropy_on})


def terms_of(
    settings: Distillation, student: Tensor, teacher: Tensor, labels: Tensor
) -> dict[str, Tensor]:
    exits = ExitLogits(student, teacher, labels)
    return {term.name: term(exits) for term in distillation_terms(settings)}


def sum_of(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum(dim=0)


def test_an_unknown_term_is_added_and_logged_under_its_name() -> None:
    """The objective knows no term by name: it takes what it is given, each with its own mask."""

    def last_exit(exits: ExitLogits) -> Tensor:
        mask_steps.append(exits.step)
        return torch.tensor([False, False, True]).expand(exits.student.shape[:2])

    mask_steps: list[int] = []
    logits, batch = student_logits(), make_batch()
    pulls = [
        LossTerm("pull", lambda at: (at.student - at.teacher).square().sum(-1), 0.5, last_exit),
        LossTerm("size", lambda at: at.student.square().sum(-1), 2.0, last_exit),
    ]
    teacher = ComputedLogits(make_teacher(), CONTEXT)
    loss, logged = SumOfTerms(pulls, torch.ones(3), teacher, (0, 1, 2))(logits, batch, step=4)
    assert set(logged) == {"pull", "size", "teacher_wrong"}
    apart = (logits[:, 2] - teacher(batch)[:, 2]).square().sum(-1).mean() / 2
    assert logged["pull"].tolist() == [0, 0, pytest.approx(apart.item(), rel=1e-5)]
    size = 2 * logits[:, 2].square().sum(-1).mean()
    torch.testing.assert_close(loss, (apart + size) / 3)
    assert mask_steps == [4]  # a mask that terms share is made once


def test_the_label_objective_is_the_mean_cross_entropy() -> None:
    logits, batch = student_logits(), make_batch()
    loss, logged = SumOfTerms(label_terms(), torch.ones(3))(logits, batch, step=0)
    by_exit = torch.stack([F.cross_entropy(logits[:, exit_], batch.labels) for exit_ in range(3)])
    torch.testing.assert_close(loss, by_exit.mean())
    assert set(logged) == {"cross_entropy"}
    torch.testing.assert_close(logged["cross_entropy"], by_exit)


def test_the_label_objective_weights_its_exits_and_smooths_its_labels() -> None:
    logits, batch = student_logits(), make_batch()
    label = SumOfTerms(label_terms(0.2), torch.tensor([0.0, 1.0, 3.0]))
    loss, _ = label(logits, batch, step=0)
    one, two = (
        F.cross_entropy(logits[:, exit_], batch.labels, label_smoothing=0.2) for exit_ in (1, 2)
    )
    torch.testing.assert_close(loss, (one + 3 * two) / 4)


@pytest.mark.parametrize("pairing", [(0, 1, 2), (2, 2, 2), (0, 2), (1,)])
@pytest.mark.parametrize("entropy_on", ["teacher_wrong", "teacher_wrong_or_unsure", "all"])
def test_the_distillation_objective_is_its_terms_with_the_paired_exits_of_the_teacher(
    pairing: tuple[int, ...], entropy_on: EntropyOn
) -> None:
    teacher, batch, logits = make_teacher(), make_batch(), student_logits(len(pairing))
    loss, logged = objective(teacher, pairing, entropy_on)(logits, batch, step=0)
    with torch.no_grad():
        everything = teacher.eval()(batch.images)
    answers = torch.stack([everything[:, exit_] for exit_ in pairing], dim=1)
    terms = terms_of(on(entropy_on), logits, answers, batch.labels)
    exit_weights = torch.arange(1.0, len(pairing) + 1)
    torch.testing.assert_close(loss, combine(sum_of(terms), exit_weights))
    assert set(logged) == {"cross_entropy", "distillation", "entropy", "teacher_wrong"}
    for name in ("cross_entropy", "distillation", "entropy"):
        torch.testing.assert_close(logged[name], terms[name].mean(dim=0))
        assert logged[name].shape == (len(pairing),)


def test_the_objective_logs_the_share_of_images_each_paired_teacher_exit_gets_wrong() -> None:
    teacher, batch = make_teacher(), make_batch()
    _, logged = objective(teacher, (2, 0))(student_logits(2), batch, step=0)
    with torch.no_grad():
        said = teacher.eval()(batch.images).argmax(dim=-1)
    wrong = [
        sum(int(said[n, exit_]) != int(batch.labels[n]) for n in range(IMAGES)) / IMAGES
        for exit_ in (2, 0)
    ]
    assert logged["teacher_wrong"].tolist() == pytest.approx(wrong)
    assert logged["teacher_wrong"][1].item() == 0.5


def test_the_teacher_answers_in_evaluation_mode_and_stays_as_it_was() -> None:
    teacher = make_teacher().train()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    distil = objective(teacher)
    losses = [distil(student_logits(), make_batch(), step=0)[0] for _ in range(2)]
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(losses[0], objective(teacher.eval())(student_logits(), make_batch(), 0)[0])
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_gradient_reaches_the_student_and_never_the_teacher() -> None:
    teacher, logits = make_teacher(), student_logits()
    loss, _ = objective(teacher)(logits, make_batch(), step=0)
    loss.backward()
    assert logits.grad is not None
    assert (logits.grad.abs().sum(dim=(0, 2)) > 0).all()
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_the_loss_is_float32_when_the_teacher_runs_in_bfloat16() -> None:
    context = replace(CONTEXT, precision="bfloat16")
    teacher = ComputedLogits(make_teacher(), context)
    distil = SumOfTerms(distillation_terms(SETTINGS), torch.ones(3), teacher, (0, 1, 2))
    loss, logged = distil(student_logits(), make_batch(), step=0)
    assert {loss.dtype, *(value.dtype for value in logged.values())} == {torch.float32}


def shuffled_loss(seed: int, step: int, rank: int = 0) -> float:
    distil = objective(make_teacher(), entropy_on="shuffled", seed=seed, rank=rank)
    return distil(student_logits(), make_batch(), step)[0].item()


def test_the_shuffled_mask_depends_on_the_seed_and_the_step_alone() -> None:
    expected = shuffled_loss(seed=5, step=7)
    distil = objective(make_teacher(), entropy_on="shuffled", seed=5)
    with torch.random.fork_rng():
        torch.manual_seed(99)
        for step in (0, 1, 2):  # what came before plays no part
            distil(student_logits(), make_batch(), step)
        assert distil(student_logits(), make_batch(), 7)[0].item() == expected


@pytest.mark.parametrize(("seed", "step", "rank"), [(5, 8, 0), (6, 7, 0), (5, 7, 1)])
def test_another_seed_step_or_rank_shuffles_in_another_way(seed: int, step: int, rank: int) -> None:
    assert shuffled_loss(seed, step, rank) != shuffled_loss(seed=5, step=7)


def test_shuffling_leaves_the_logged_share_of_wrong_answers_alone() -> None:
    shares = [
        objective(make_teacher(), entropy_on=mode)(student_logits(), make_batch(), 3)[1]
        for mode in ("teacher_wrong", "shuffled")
    ]
    assert torch.equal(shares[0]["teacher_wrong"], shares[1]["teacher_wrong"])


WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 7.0])


def test_class_weights_multiply_every_term_and_are_no_divisor() -> None:
    """L = 1/B Σ w(y) l: the sum of the weights divides nothing."""
    batch, logits, teacher = make_batch(), student_logits(), make_teacher()
    exits = torch.tensor([1.0, 2.0, 3.0])
    distil = SumOfTerms(
        distillation_terms(SETTINGS), exits, ComputedLogits(teacher, CONTEXT), (0, 1, 2), WEIGHTS
    )
    loss, logged = distil(logits, batch, step=0)
    with torch.no_grad():
        answers = teacher.eval()(batch.images)
    correct = answers.argmax(dim=-1) == batch.labels[:, None]
    terms = terms_of(SETTINGS, logits, answers, batch.labels)
    weights = WEIGHTS[batch.labels][:, None]
    expected = ((weights * sum_of(terms)).sum(dim=0) / IMAGES * exits).sum() / exits.sum()
    torch.testing.assert_close(loss, expected)
    for name in ("cross_entropy", "distillation", "entropy"):
        term = terms[name]
        assert term.abs().sum() > 0
        torch.testing.assert_close(logged[name], (weights * term).mean(dim=0))
    torch.testing.assert_close(logged["teacher_wrong"], 1 - correct.float().mean(dim=0))


def test_class_weights_multiply_the_cross_entropy_of_training_by_labels() -> None:
    batch, logits = make_batch(), student_logits()
    label = SumOfTerms(label_terms(0.1), torch.ones(3), class_weights=WEIGHTS)
    loss, logged = label(logits, batch, step=0)
    alone = F.cross_entropy(
        logits.transpose(1, 2), batch.labels[:, None].expand(-1, 3), reduction="none",
        label_smoothing=0.1,
    )  # fmt: skip
    expected = (WEIGHTS[batch.labels][:, None] * alone).mean(dim=0)
    torch.testing.assert_close(logged["cross_entropy"], expected)
    torch.testing.assert_close(loss, expected.mean())
