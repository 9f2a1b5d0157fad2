"""Answers of every exit for every image, and modules left as they were."""

import numpy as np
import pytest
import torch
from torch import nn

from erde_cli.core.context import Context
from erde_cli.core.data import ImageStore, Normalisation
from erde_cli.core.inference import answer_all
from erde_cli.core.models import Architecture, build_model
from erde_cli.core.modes import evaluation_mode

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


def test_frozen_submodules_stay_frozen_even_after_an_error() -> None:
    module = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2)).train()
    module[1].eval()
    with pytest.raises(RuntimeError), evaluation_mode(module):
        module(torch.zeros(1, 3))  # one value too many
    with evaluation_mode(module):
        assert [inner.training for inner in module.modules()] == [False, False, False]
    assert [inner.training for inner in module.modules()] == [True, True, False]
