"""Synchronised norms: the same tensors, the same modes. Their exchange needs GPUs: `test_cuda`."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from erde_cli.core.data.batches import Batch
from erde_cli.core.device import make_context
from erde_cli.core.errors import InputError
from erde_cli.core.models.architecture import Architecture, build_model
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.parts import pretrained_stages
from erde_cli.core.recipe.sections.training import Training
from erde_cli.core.training.loop import train_step
from erde_cli.core.training.losses import label_terms
from erde_cli.core.training.objectives import SumOfTerms
from erde_cli.core.training.state import TrainState
from erde_cli.core.training.synchronised import synchronised
from erde_cli.core.workflows.options import Options
from tests.core.models.library.small import make, with_exits

ARCHITECTURE = Architecture("wrn", 10, 4, (1, 2), "erde", 4, 8, dropout=0.25)


def settings_of(**changes: Any) -> Training:
    rest = {"epochs": 3, "batch_size": 8, "sync_batch_norm": True}
    return Training.model_validate({**rest, **changes})


def fresh(**changes: Any) -> TrainState:
    model = build_model(ARCHITECTURE, 1)
    make_context("cpu", "float32", 1, "channels_last").place(model)
    return TrainState(model, settings_of(**changes), pretrained_stages(model))


def form_of(state: TrainState, epoch: int = 0) -> EarlyExitNet:
    state.begin_epoch(epoch)
    assert isinstance(state.forward, EarlyExitNet)
    return state.forward


def tensors(network: nn.Module) -> dict[str, int]:
    return {name: id(one) for name, one in [*network.named_parameters(), *network.named_buffers()]}


def modes(network: nn.Module) -> dict[str, bool]:
    return {name: module.training for name, module in network.named_modules()}


def norms(network: nn.Module) -> set[type[nn.Module]]:
    kind = nn.modules.batchnorm._BatchNorm
    return {type(module) for module in network.modules() if isinstance(module, kind)}


def test_the_form_of_training_steps_shares_every_tensor_and_the_network_keeps_its_norms() -> None:
    state = fresh()
    form = form_of(state)
    assert norms(form) == {nn.SyncBatchNorm}
    assert norms(state.model) == {nn.BatchNorm2d}
    assert tensors(form) == tensors(state.model)


@pytest.mark.parametrize("changes", [{}, {"train": {"from": 1}}, {"heads_first": 1}], ids=str)
def test_its_parts_have_the_modes_of_each_epoch(changes: dict[str, Any]) -> None:
    state = fresh(**changes)
    for epoch in range(2):
        form = form_of(state, epoch)
        assert form is not state.model
        assert modes(form) == modes(state.model)
        assert set(modes(form).values()) == ({True, False} if frozen(changes, epoch) else {True})
        state.model.eval()  # as after every epoch


def frozen(changes: dict[str, Any], epoch: int) -> bool:
    return "train" in changes or epoch < changes.get("heads_first", 0)


def test_a_step_in_one_process_is_that_of_ordinary_norms() -> None:
    images = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    objective = SumOfTerms(label_terms(), torch.ones(3))
    after: list[dict[str, Tensor]] = []
    for chosen in (True, False):
        state = fresh(sync_batch_norm=chosen)
        before = copy.deepcopy(state.model.state_dict())
        context = make_context("cpu", "float32", 1, "channels_last")
        state.begin_epoch(0)
        torch.manual_seed(2)
        batch = Batch(images, torch.arange(8) % 4, torch.arange(8).numpy(), 0)
        train_step(state, batch, objective, settings_of(), 0.1, context)
        after.append(state.model.state_dict())
        assert all(not torch.equal(before[name], tensor) for name, tensor in after[-1].items())
    assert all(torch.equal(tensor, after[1][name]) for name, tensor in after[0].items())


def test_norms_of_timm_keep_their_activation() -> None:
    network = with_exits(make("timm/tf_efficientnet_lite0"), [3])
    form = synchronised(network)
    assert {kind.__name__ for kind in norms(form)} <= {"SyncBatchNorm", "SyncBatchNormAct"}
    assert tensors(form) == tensors(network)
    images = torch.randn(2, 3, 64, 64)
    network.eval()
    assert torch.equal(synchronised(network)(images), network(images))


def test_a_norm_that_would_become_another_one_is_refused() -> None:
    class Scaled(nn.BatchNorm2d):
        def forward(self, features: Tensor) -> Tensor:
            return 2 * super().forward(features)

    network = EarlyExitNet([Scaled(3)], [nn.Flatten()], 2)
    with pytest.raises(InputError, match="norms of this network cannot be synchronised") as caught:
        synchronised(network)
    assert caught.value.got.endswith("Scaled")


def test_without_the_setting_steps_use_the_network_itself() -> None:
    state = fresh(sync_batch_norm=False)
    assert form_of(state) is state.model
    assert not Training(epochs=1).sync_batch_norm


def test_a_cpu_is_refused() -> None:
    with pytest.raises(InputError, match="SyncBatchNorm needs an accelerator") as caught:
        Options("cpu").training_context(settings_of())
    assert (caught.value.exit_code, caught.value.hint[:26]) == (2, "set sync_batch_norm: false")
    assert Options("cpu").training_context(settings_of(sync_batch_norm=False))
