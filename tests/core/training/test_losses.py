"""The loss terms, against formulas written out by hand with numpy and scipy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.special import log_softmax, rel_entr, softmax
from scipy.stats import entropy
from torch import Tensor
from torch.nn import functional as F

from erde_cli.core.arrays import FloatArray
from erde_cli.core.randomness import permutation
from erde_cli.core.recipe.sections.distillation import LABELS as SHORT_NAMES
from erde_cli.core.recipe.sections.distillation import Distillation, EntropyOn, Weights
from erde_cli.core.thresholds.scores import ENTROPY
from erde_cli.core.training.losses import (
    ExitLogits,
    certainty,
    combine,
    cross_entropy,
    distillation,
    distillation_terms,
    entropy_mask,
    label_terms,
)

BATCH, EXITS, CLASSES = 6, 3, 5
LABELS = torch.tensor([0, 1, 2, 3, 4, 0])
WEIGHTS = torch.ones(EXITS)
MIXED = torch.tensor(
    [[1, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0], [1, 0, 1], [1, 1, 0]], dtype=torch.bool
)
ALL_RIGHT, ALL_WRONG = torch.ones_like(MIXED), torch.zeros_like(MIXED)
SETTINGS = Distillation(weights=Weights(cross_entropy=0.7, distillation=1.3, entropy=0.4))
TERMS = ("cross_entropy", "distillation", "entropy")


def random_logits(seed: int, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(BATCH, EXITS, CLASSES, generator=generator)


def teacher_logits(correct: Tensor, seed: int = 1, scale: float = 2.0) -> Tensor:
    """Logits of a teacher that is right exactly where `correct` is true."""
    logits = random_logits(seed, scale)
    largest, smallest = logits.amax(-1) + 1, logits.amin(-1) - 1
    wanted = torch.where(correct, largest, smallest)[..., None]
    return logits.scatter(2, LABELS[:, None, None].expand(-1, EXITS, 1), wanted)


def changed(**changes: Any) -> Distillation:
    return SETTINGS.model_copy(update=changes)


def weighted(*weights: float) -> Distillation:
    return changed(weights=Weights(**dict(zip(TERMS, weights, strict=True))))


def terms_of(
    student: Tensor, teacher: Tensor, settings: Distillation = SETTINGS, labels: Tensor = LABELS
) -> dict[str, Tensor]:
    """Each term by its name."""
    exits = ExitLogits(student, teacher, labels)
    return {term.name: term(exits) for term in distillation_terms(settings)}


def total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum(dim=0)


def gradient(student: Tensor, teacher: Tensor, settings: Distillation) -> Tensor:
    """Gradient of the loss of a whole batch with respect to the student's logits."""
    leaf = student.clone().requires_grad_()
    combine(total(terms_of(leaf, teacher, settings)), WEIGHTS).backward()
    assert leaf.grad is not None
    return leaf.grad


def ce_by_hand(student: Tensor) -> FloatArray:
    logs = log_softmax(student.double().numpy(), axis=-1)
    return np.array([[-logs[n, e, LABELS[n]] for e in range(EXITS)] for n in range(BATCH)])


def kd_by_hand(student: Tensor, teacher: Tensor, temperature: float) -> FloatArray:
    p_s = softmax(student.double().numpy() / temperature, axis=-1)
    p_t = softmax(teacher.double().numpy() / temperature, axis=-1)
    return np.asarray(temperature**2 * rel_entr(p_t, p_s).sum(axis=-1))


def e_by_hand(student: Tensor) -> FloatArray:
    probabilities = softmax(student.double().numpy(), axis=-1)
    return np.asarray(1 - entropy(probabilities, axis=-1) / math.log(CLASSES))


def test_cross_entropy_is_minus_the_log_probability_of_the_label_at_every_exit() -> None:
    student = random_logits(0)
    assert cross_entropy(student, LABELS).numpy() == pytest.approx(ce_by_hand(student), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_label_smoothing_is_that_of_torch(smoothing: float) -> None:
    student = random_logits(0)
    expected = torch.stack(
        [
            F.cross_entropy(student[:, exit_], LABELS, reduction="none", label_smoothing=smoothing)
            for exit_ in range(EXITS)
        ],
        dim=1,
    )
    exits = ExitLogits(student, random_logits(1), LABELS)
    [label] = label_terms(smoothing)
    with_teacher, *_ = distillation_terms(Distillation(method="kd"), smoothing)
    for found in (cross_entropy(student, LABELS, smoothing), label(exits), with_teacher(exits)):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 4.0, 20.0])
def test_distillation_is_t_squared_times_the_kl_divergence_summed_over_classes(
    temperature: float,
) -> None:
    student, teacher = random_logits(0), random_logits(1)
    found = distillation(student, teacher, temperature).numpy()
    assert found.shape == (BATCH, EXITS)
    expected = kd_by_hand(student, teacher, temperature)
    assert found == pytest.approx(expected, rel=1e-3 if temperature > 10 else 1e-4)


def test_distillation_at_a_high_temperature_becomes_the_squared_distance_of_the_logits() -> None:
    student, teacher = random_logits(0), random_logits(1)
    apart = (student - student.mean(-1, keepdim=True)) - (teacher - teacher.mean(-1, keepdim=True))
    limit = apart.square().sum(dim=-1) / (2 * CLASSES)
    torch.testing.assert_close(distillation(student, teacher, 80.0), limit, rtol=0.05, atol=0.01)


def test_distillation_of_a_teacher_from_itself_is_0() -> None:
    teacher = random_logits(1)
    assert distillation(teacher, teacher, 2.0).abs().max() == 0


def test_confidence_is_0_for_equal_logits() -> None:
    assert certainty(torch.full((2, 2, CLASSES), 3.0)).abs().max() < 1e-6


def test_confidence_is_1_for_sure_logits() -> None:
    sure = 1e4 * torch.eye(CLASSES)[None]
    assert certainty(sure).tolist() == [[1.0] * CLASSES]


def test_confidence_is_one_minus_the_entropy_as_a_share_of_ln_k() -> None:
    student = random_logits(0)
    assert certainty(student).numpy() == pytest.approx(e_by_hand(student), rel=1e-4, abs=1e-6)


def test_descending_the_confidence_raises_the_entropy_at_every_step() -> None:
    student = random_logits(0, scale=1.0).requires_grad_()
    entropies = [ENTROPY.value(student.detach())]
    for _ in range(20):
        (slope,) = torch.autograd.grad(certainty(student).sum(), student)
        student = (student - 0.5 * slope).detach().requires_grad_()
        entropies.append(ENTROPY.value(student.detach()))
    rises = torch.stack(entropies).diff(dim=0)
    assert (rises > 0).all()


def test_the_teacher_is_right_exit_by_exit() -> None:
    exits = ExitLogits(random_logits(0), teacher_logits(MIXED), LABELS)
    assert torch.equal(exits.teacher_correct, MIXED)


@pytest.mark.parametrize(
    ("entropy_on", "expected"),
    [
        ("teacher_wrong", [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 1, 0], [0, 0, 1]]),
        (
            "teacher_wrong_then_right",
            [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]],
        ),
        ("all", [[1, 1, 1]] * BATCH),
        (
            "teacher_wrong_or_unsure",
            [[1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 1, 0], [0, 0, 1]],
        ),
    ],
)
def test_the_entropy_acts_where_the_recipe_says(
    entropy_on: EntropyOn, expected: list[list[int]]
) -> None:
    teacher = teacher_logits(MIXED, scale=0.2)
    teacher[:, :, :] *= 20  # certain of everything except the first exit on the first image
    teacher[0, 0] /= 40
    exits = ExitLogits(random_logits(0), teacher, LABELS)
    settings = changed(entropy_on=entropy_on, unsure_above=0.9, entropy_at_last_exit=True)
    mask = exits.mask_of(entropy_mask(settings))
    assert mask.dtype == torch.bool
    assert mask.int().tolist() == expected
    early = exits.mask_of(entropy_mask(changed(entropy_on=entropy_on, unsure_above=0.9)))
    assert early.int().tolist() == [[*row[:-1], 0] for row in expected]


@pytest.mark.parametrize(("above", "acts"), [(-0.02, True), (0.02, False)])
def test_a_teacher_is_unsure_above_a_share_of_the_largest_entropy(above: float, acts: bool) -> None:
    teacher = teacher_logits(ALL_RIGHT)
    share = float(ENTROPY.value(teacher)[0, 0]) / math.log(CLASSES)
    assert 0.1 < share < 0.9
    settings = changed(entropy_on="teacher_wrong_or_unsure", unsure_above=share + above)
    mask = entropy_mask(settings)(ExitLogits(random_logits(0), teacher, LABELS))
    assert bool(mask[0, 0]) == acts


def test_the_shuffled_mask_is_that_of_another_image_and_keeps_the_share_of_every_exit() -> None:
    settings = changed(entropy_on="shuffled", entropy_at_last_exit=True)
    exits = ExitLogits(random_logits(0), teacher_logits(MIXED), LABELS, step=3)
    for seed in range(10):
        mask = entropy_mask(settings, seed, rank=1)(exits)
        order = permutation(BATCH, seed, "entropy/shuffled", 3, 1)
        assert torch.equal(mask, ~MIXED[torch.from_numpy(order)])
        assert torch.equal(mask.sum(dim=0), (~MIXED).sum(dim=0))


@pytest.mark.parametrize("entropy_at_last_exit", [False, True])
@pytest.mark.parametrize("form", ["add", "replace"])
def test_erde_is_the_masked_formula_at_every_image_and_exit(
    entropy_at_last_exit: bool, form: str
) -> None:
    settings = changed(entropy_at_last_exit=entropy_at_last_exit, form=form)
    replaces = form == "replace"
    student, teacher = random_logits(0), teacher_logits(MIXED)
    terms = terms_of(student, teacher, settings)
    ce, kd, e = ce_by_hand(student), kd_by_hand(student, teacher, 2.0), e_by_hand(student)
    for image in range(BATCH):
        for exit_ in range(EXITS):
            early = exit_ < EXITS - 1
            masked = not MIXED[image, exit_] and (early or entropy_at_last_exit)
            at = (image, exit_)
            expected = [
                0.0 if masked and replaces else 0.7 * ce[at],
                0.0 if masked and replaces else 1.3 * kd[at],
                0.4 * e[at] if masked else 0.0,
            ]
            found = [float(terms[name][at]) for name in TERMS]
            assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_the_last_exit_uses_kd_even_where_the_teacher_is_wrong_there() -> None:
    student, teacher = random_logits(0), teacher_logits(ALL_WRONG)
    erde = total(terms_of(student, teacher))
    kd = total(terms_of(student, teacher, changed(method="kd")))
    assert torch.equal(erde[:, -1], kd[:, -1])
    assert (erde[:, :-1] != kd[:, :-1]).all()


def test_kd_pays_no_heed_to_where_the_teacher_is_wrong() -> None:
    student, teacher = random_logits(0), teacher_logits(MIXED)
    terms = terms_of(student, teacher, changed(method="kd", entropy_at_last_exit=True))
    torch.testing.assert_close(terms["cross_entropy"], 0.7 * cross_entropy(student, LABELS))
    torch.testing.assert_close(terms["distillation"], 1.3 * distillation(student, teacher, 2.0))
    assert terms["entropy"].abs().max() == 0


@pytest.mark.parametrize("entropy_at_last_exit", [False, True])
def test_a_teacher_that_is_always_right_makes_erde_equal_kd_in_value_and_gradient(
    entropy_at_last_exit: bool,
) -> None:
    student, teacher = random_logits(0), teacher_logits(ALL_RIGHT)
    erde, kd = (
        changed(entropy_at_last_exit=entropy_at_last_exit, method=method)
        for method in ("erde", "kd")
    )
    assert torch.equal(
        total(terms_of(student, teacher, erde)), total(terms_of(student, teacher, kd))
    )
    assert torch.equal(gradient(student, teacher, erde), gradient(student, teacher, kd))


@pytest.mark.parametrize(
    ("weights", "alive"),
    [
        ((1.0, 0.0, 0.0), "cross_entropy"),
        ((0.0, 1.0, 0.0), "distillation"),
        ((0.0, 0.0, 1.0), "entropy"),
        ((0.0, 0.0, 0.0), None),
    ],
)
def test_a_weight_of_0_silences_its_term_and_leaves_the_others(
    weights: tuple[float, float, float], alive: str | None
) -> None:
    settings = weighted(*weights)
    student, teacher = random_logits(0), teacher_logits(MIXED)
    terms = terms_of(student, teacher, settings)
    assert {name for name, term in terms.items() if term.abs().sum() > 0} == ({alive} - {None})
    moves = gradient(student, teacher, settings).abs().sum() > 0
    assert bool(moves) == (alive is not None)


@pytest.mark.parametrize("name", TERMS)
def test_a_weight_scales_its_own_term_only(name: str) -> None:
    student, teacher = random_logits(0), teacher_logits(MIXED)
    weights = SETTINGS.weights.model_dump()
    tripled = changed(weights=Weights(**{**weights, name: 3 * weights[name]}))
    before, after = (terms_of(student, teacher, settings) for settings in (SETTINGS, tripled))
    for term in before:
        torch.testing.assert_close(after[term], (3 if term == name else 1) * before[term])


def test_every_weight_of_the_recipe_is_that_of_the_term_of_its_name() -> None:
    weights = {name: 1.5 + place for place, name in enumerate(Weights.model_fields)}
    terms = distillation_terms(changed(weights=Weights(**weights)))
    assert {term.name: term.weight for term in terms} == weights
    assert set(SHORT_NAMES) <= set(weights)


@pytest.mark.parametrize("scale", [1.0, 300.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("correct", [ALL_WRONG, ALL_RIGHT, MIXED], ids=["wrong", "right", "mixed"])
def test_gradients_are_finite_however_often_the_teacher_is_wrong(
    correct: Tensor, dtype: torch.dtype, scale: float
) -> None:
    student = random_logits(0, scale).to(dtype)
    settings = changed(entropy_at_last_exit=True)
    slope = gradient(student, teacher_logits(correct, scale=scale), settings)
    assert torch.isfinite(slope).all()


def test_losses_are_float32_from_bfloat16_logits() -> None:
    student, teacher = random_logits(0).bfloat16(), teacher_logits(MIXED).bfloat16()
    terms = terms_of(student, teacher)
    exact = terms_of(student.float(), teacher.float())
    for name in terms:
        assert terms[name].dtype == torch.float32
        assert torch.equal(terms[name], exact[name])


def test_label_terms_are_the_cross_entropy_alone() -> None:
    student = random_logits(0)
    [term] = label_terms()
    found = term(ExitLogits(student, torch.empty(0), LABELS))
    assert term.name == "cross_entropy"
    assert found.numpy() == pytest.approx(ce_by_hand(student), rel=1e-5)


def test_combine_is_the_mean_over_images_of_the_weighted_mean_over_exits() -> None:
    losses = torch.tensor([[1.0, 2.0, 6.0], [3.0, 0.0, 2.0]])
    found = combine(losses, torch.tensor([1.0, 2.0, 5.0]))
    assert found.item() == pytest.approx((2 * 1 + 1 * 2 + 4 * 5) / 8)


@pytest.mark.parametrize("factor", [0.01, 1.0, 40.0])
def test_exit_weights_are_normalised(factor: float) -> None:
    weights = factor * torch.tensor([1.0, 0.0, 3.0])
    assert combine(torch.full((4, 3), 2.5), weights).item() == pytest.approx(2.5)


@pytest.mark.parametrize("form", ["replace", "add"])
def test_one_wrong_image_weighs_the_same_among_one_or_five_wrong_images(form: str) -> None:
    settings = changed(form=form)
    student = random_logits(0)
    slopes = []
    for wrong in (1, 5):
        correct = ALL_RIGHT.clone()
        correct[:wrong] = False
        slopes.append(gradient(student, teacher_logits(correct), settings)[0])
    assert slopes[0].abs().sum() > 0
    assert torch.equal(slopes[0], slopes[1])


def test_the_loss_of_a_batch_is_the_mean_of_the_losses_of_its_halves() -> None:
    correct = torch.cat([ALL_WRONG[:3], ALL_RIGHT[3:]])
    student, teacher = random_logits(0), teacher_logits(correct)

    def loss(part: slice) -> float:
        terms = terms_of(student[part], teacher[part], SETTINGS, LABELS[part])
        return combine(total(terms), WEIGHTS).item()

    halves = [loss(slice(0, 3)), loss(slice(3, 6))]
    assert halves[0] != pytest.approx(halves[1], rel=0.1)
    assert loss(slice(0, 6)) == pytest.approx(sum(halves) / 2, rel=1e-6)


def best_label_probability(classes: int, ratio: float) -> float:
    """Root q of q·ln(q(K-1)/(1-q)) = ln K / ratio, with ratio = w_entropy / w_ce."""

    def slope(q: float) -> float:
        return q * math.log(q * (classes - 1) / (1 - q)) - math.log(classes) / ratio

    return float(brentq(slope, 1 / classes, 1 - 1e-15))


@pytest.mark.parametrize(
    ("classes", "ratio", "expected"),
    [(10, 0.3, 0.996), (10, 1.0, 0.73), (10, 3.0, 0.41), (3, 1.0, None), (100, 10.0, None)],
)
def test_cross_entropy_beside_the_entropy_term_settles_where_the_closed_form_says(
    classes: int, ratio: float, expected: float | None
) -> None:
    q = best_label_probability(classes, ratio)
    if expected is not None:
        assert q == pytest.approx(expected, abs=0.005)
    label = torch.tensor([1])
    teacher = torch.zeros(1, 2, classes)  # its answer is the first class, and wrong
    settings = changed(form="add", weights=Weights(distillation=0.0, entropy=ratio))
    logits = torch.zeros(1, 2, classes, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(400):
        optimizer.zero_grad()
        total(terms_of(logits, teacher, settings, label))[:, 0].sum().backward()
        optimizer.step()
    probabilities = torch.softmax(logits.detach()[0, 0], dim=-1)
    assert probabilities[1].item() == pytest.approx(q, abs=0.01)
    assert probabilities.argmax().item() == 1
    assert q > 1 / classes
