"""Scores of logits that are certain, uncertain or in between."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from torch import Tensor

from erde_cli.core.thresholds.scores import ENTROPY, SCORES, Score

from ...other_scores import EVERY, MARGIN, MAX_PROBABILITY, name_of


def random_logits(*shape: int, seed: int = 0, scale: float = 4.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
@pytest.mark.parametrize("level", [0.0, -7.5, 1e4])
def test_equal_logits_have_the_entropy_ln_k(classes: int, level: float) -> None:
    logits = torch.full((2, classes), level)
    assert ENTROPY.value(logits).tolist() == pytest.approx([math.log(classes)] * 2, rel=1e-5)
    assert ENTROPY.largest(classes) == pytest.approx(math.log(classes), rel=1e-15)


@pytest.mark.parametrize(
    "logits", [[1e4, 0.0, 0.0], [0.0, -1e4, -1e4], [3e4, -3e4, 3e3], [1e30, 0.0, -1e30]]
)
def test_sure_logits_have_the_entropy_0_and_a_finite_gradient(logits: list[float]) -> None:
    sure = torch.tensor([logits], requires_grad=True)
    score = ENTROPY.value(sure)
    score.sum().backward()
    assert score.item() == 0
    assert sure.grad is not None
    assert torch.isfinite(sure.grad).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_the_entropy_is_float32_whatever_the_logits_are(dtype: torch.dtype) -> None:
    logits = random_logits(5, 3, 10).to(dtype)
    scores = ENTROPY.value(logits)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, ENTROPY.value(logits.float()), rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(7, 2), (7, 10), (4, 3, 100)])
def test_the_entropy_is_that_of_scipy_over_the_last_dimension(shape: tuple[int, ...]) -> None:
    logits = random_logits(*shape)
    expected = entropy(softmax(logits.double().numpy(), axis=-1), axis=-1)
    assert ENTROPY.value(logits).shape == shape[:-1]
    assert ENTROPY.value(logits).numpy() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_a_temperature_reorders_the_entropies_of_three_classes() -> None:
    torn, sure = torch.tensor([0.0, 0.0, -10.0]), torch.tensor([0.0, -3.0, -3.0])
    assert ENTROPY.value(torn) > ENTROPY.value(sure)
    assert ENTROPY.value(torn / 4) < ENTROPY.value(sure / 4)


def test_entropy_alone_is_shipped() -> None:
    assert SCORES == {"entropy": ENTROPY}


@pytest.mark.parametrize("classes", [2, 3, 100])
@pytest.mark.parametrize("score", EVERY, ids=name_of)
def test_a_smaller_score_is_more_certain_from_0_to_the_largest(score: Score, classes: int) -> None:
    logits = random_logits(50, 3, classes).to(torch.bfloat16)
    values = score.value(logits)
    assert (values.dtype, values.shape) == (torch.float32, (50, 3))
    largest = score.largest(classes)
    assert ((values >= 0) & (values <= largest + 1e-6)).all()
    even, sure = torch.zeros(classes), torch.eye(classes)[0] * 1e4
    assert score.value(even).item() == pytest.approx(largest, rel=1e-5)
    assert score.value(sure).item() == 0
    rising = score.value(torch.linspace(0, 9, 20)[:, None] * torch.eye(classes)[0])
    assert (rising.diff() < 0).all()


def test_maximum_probability_and_margin_by_hand() -> None:
    logits = torch.tensor([0.2, 0.5, 0.3]).log()
    assert MAX_PROBABILITY.value(logits).item() == pytest.approx(0.5)
    assert MARGIN.value(logits).item() == pytest.approx(0.8)


def test_scores_the_exit_rule_and_stored_thresholds_are_known_without_torch() -> None:
    """Neither a recipe nor a wrong option waits for it; the stored form knows no inference."""
    code = (
        "import sys, erde_cli.core.calibration.document;"
        "assert not [name for name in sys.modules if name.startswith('erde_cli.core.inference')];"
        "import erde_cli.core.inference.exit_rule; assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
