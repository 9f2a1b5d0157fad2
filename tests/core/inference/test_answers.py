"""Answers of every exit for every image, and modules left as they were."""

import numpy as np
import pytest
import torch
from torch import nn

from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.store import ImageStore
from erde_cli.core.device import Context
from erde_cli.core.inference.answers import answer_all, ready, route_all
from erde_cli.core.inference.routing import all_scores, first_exit
from erde_cli.core.models.architecture import Architecture, build_model
from erde_cli.core.models.early_exit import EarlyExitNet, evaluation_mode
from erde_cli.core.thresholds.scores import Score

from ...other_scores import OTHERS, name_of

CONTEXT = Context(torch.device("cpu"), "float32", 1)
PLAIN = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_answers_are_those_of_the_forward_pass_image_by_image() -> None:
    model = build_model(Architecture("resnet", 8, 2, (1, 2), "erde", 4, 8), 3)
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (300, 8, 8, 3), generator=generator).to(torch.uint8)
    labels = torch.arange(300) % 4
    found = answer_all(model, ImageStore(images, labels, np.arange(300)), PLAIN, CONTEXT)
    assert model.training
    model.eval()
    with torch.no_grad():
        logits = model(images.permute(0, 3, 1, 2) / 255)
    probabilities = logits.double().softmax(dim=-1)
    entropies = -(probabilities * probabilities.log()).sum(dim=-1)
    assert found.scores == pytest.approx(entropies.numpy(), abs=1e-5)
    assert (found.predictions == logits.argmax(dim=-1).numpy()).mean() > 0.999
    right = (found.predictions == labels[:, None].numpy()).mean(axis=0)
    assert found.accuracy == pytest.approx(right.tolist())


def unlike_answers() -> tuple[EarlyExitNet, ImageStore]:
    """A network whose answers differ from image to image, and images of every kind of label."""
    model = build_model(Architecture("resnet", 8, 2, (1, 2), "gap", 4, 8), 3)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for head in model.heads:
            head[-1].weight.normal_(generator=generator)
    images = torch.randint(0, 256, (300, 8, 8, 3), generator=generator).to(torch.uint8)
    return ready(model, CONTEXT), ImageStore(images, torch.arange(300) % 4, np.arange(300))


def test_logits_are_kept_where_asked_for_and_only_there() -> None:
    model, store = unlike_answers()
    assert answer_all(model, store, PLAIN, CONTEXT).logits is None
    found = answer_all(model, store, PLAIN, CONTEXT, keep_logits=True)
    assert found.logits is not None
    assert (found.logits.dtype, found.logits.shape) == (np.float32, (300, 3, 4))
    assert np.array_equal(found.logits.argmax(axis=-1), found.predictions)
    assert np.array_equal(all_scores(torch.from_numpy(found.logits)).double(), found.scores)


def test_temperatures_change_scores_and_nothing_else() -> None:
    model, store = unlike_answers()
    temperatures = (0.5, 3.0, 0.2)
    plain = answer_all(model, store, PLAIN, CONTEXT, keep_logits=True)
    warm = answer_all(model, store, PLAIN, CONTEXT, temperatures, keep_logits=True)
    assert plain.logits is not None
    assert warm.logits is not None
    assert np.array_equal(plain.logits, warm.logits)
    assert np.array_equal(plain.predictions, warm.predictions)
    assert np.array_equal(plain.correct, warm.correct)
    expected = all_scores(torch.from_numpy(plain.logits), temperatures).double().numpy()
    assert np.array_equal(warm.scores, expected)
    assert not np.isclose(warm.scores, plain.scores).any(axis=0).all()


def test_all_images_are_routed_by_the_scores_that_the_temperatures_give() -> None:
    model, store = unlike_answers()
    temperatures = (0.5, 3.0, 0.2)
    warm = answer_all(model, store, PLAIN, CONTEXT, temperatures)
    # midway between two images, so that rounding decides nothing
    ordered = np.sort(warm.scores, axis=0)
    thresholds = [float(ordered[[99, 100], 0].mean()), float(ordered[[149, 150], 1].mean())]
    exits = first_exit(torch.from_numpy(warm.scores), thresholds).numpy()
    routed = route_all(model, store, PLAIN, thresholds, CONTEXT, temperatures)
    assert np.array_equal(routed.exits, exits)
    assert np.array_equal(routed.predictions, warm.predictions[np.arange(300), exits])
    assert np.bincount(exits).min() > 0
    assert not np.array_equal(
        routed.exits, route_all(model, store, PLAIN, thresholds, CONTEXT).exits
    )


def test_frozen_submodules_stay_frozen_even_after_an_error() -> None:
    module = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2)).train()
    module[1].eval()
    with pytest.raises(RuntimeError), evaluation_mode(module):
        module(torch.zeros(1, 3))  # one value too many
    with evaluation_mode(module):
        assert [inner.training for inner in module.modules()] == [False, False, False]
    assert [inner.training for inner in module.modules()] == [True, True, False]


@pytest.mark.parametrize("score", OTHERS, ids=name_of)
def test_another_score_is_what_thresholds_are_compared_with_and_entropies_stay(
    score: Score,
) -> None:
    model, store = unlike_answers()
    temperatures = [0.5, 2.0, 4.0]
    usual = answer_all(model, store, PLAIN, CONTEXT, temperatures)
    found = answer_all(model, store, PLAIN, CONTEXT, temperatures, keep_logits=True, score=score)
    assert usual.entropies is usual.scores
    assert np.array_equal(found.entropies, usual.scores)
    assert found.logits is not None
    expected = all_scores(torch.from_numpy(found.logits), temperatures, score)
    assert np.array_equal(found.scores, expected.double().numpy())
    # midway between two images, so that rounding decides nothing
    ordered = np.sort(found.scores, axis=0)
    thresholds = [float(ordered[[99, 100], 0].mean()), float(ordered[[149, 150], 1].mean())]
    routed = route_all(model, store, PLAIN, thresholds, CONTEXT, temperatures, score)
    exits = first_exit(torch.from_numpy(found.scores), thresholds).numpy()
    assert np.array_equal(routed.exits, exits)
    assert np.bincount(exits).min() > 0
