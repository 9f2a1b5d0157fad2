"""The loop: resumable, repeatable, and loud when something is wrong."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from erde_cli.core.data.augmentation import AugmentationPlan
from erde_cli.core.data.batches import Batch, Batches
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.store import ImageStore
from erde_cli.core.data.views import StoreViews
from erde_cli.core.device import make_context
from erde_cli.core.errors import TrainingError
from erde_cli.core.events import EpochEvent, Observer, StepEvent
from erde_cli.core.inference.answers import Answers, answer_all
from erde_cli.core.models.architecture import Architecture, build_model
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.recipe.sections.training import Training
from erde_cli.core.training.loop import EpochRecord, Epochs, train_epoch
from erde_cli.core.training.losses import label_terms
from erde_cli.core.training.objectives import SumOfTerms
from erde_cli.core.training.state import TrainState

ARCHITECTURE = Architecture("resnet", 8, 4, (1, 2), "erde", 4, 8)
SETTINGS = Training(epochs=4, batch_size=16, learning_rate=0.05)
HALF = SETTINGS.model_copy(update={"precision": "float16"})
ADAMW = Training(epochs=4, batch_size=16, learning_rate=0.01, optimizer="adamw")
HALF_ADAMW = ADAMW.model_copy(update={"precision": "float16"})
LONGER = Training(epochs=12, batch_size=8, learning_rate=0.1)
NORMALISATION = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


class Recorder(Observer):
    """Records all events."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.steps: list[StepEvent] = []
        self.epochs: list[EpochEvent] = []

    def warning(self, message: str) -> None:
        self.warnings.append(message)

    def step(self, event: StepEvent) -> None:
        self.steps.append(event)

    def epoch(self, event: EpochEvent) -> None:
        self.epochs.append(event)


@pytest.fixture(scope="module")
def store() -> ImageStore:
    """Four classes that differ in brightness, 72 images of 8x8."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(72) % 4
    noise = torch.randint(0, 40, (72, 8, 8, 3), generator=generator)
    images = (labels[:, None, None, None] * 60 + noise).to(torch.uint8)
    return ImageStore(images, labels, np.arange(72))


def epochs(
    store: ImageStore,
    state: TrainState,
    count: int,
    settings: Training = SETTINGS,
    observer: Observer | None = None,
    objective: Any = None,
    seed: int = 5,
) -> list[EpochRecord]:
    """Train for some epochs, in the precision and the memory format of the settings."""
    plan = AugmentationPlan(1, flip=True, cutout=0)
    precision = "float32" if settings.precision == "auto" else settings.precision
    context = make_context("cpu", precision, 1, settings.memory_format)
    context.place(state.model)
    batches = Batches(StoreViews(store, plan), NORMALISATION, settings.batch_size, seed, context)
    objective = objective or SumOfTerms(label_terms(), torch.ones(3))

    def evaluate(model: EarlyExitNet) -> Answers:
        return answer_all(model, store, NORMALISATION, context)

    wanted = Epochs(settings, batches, objective, seed, context, evaluate)
    return [train_epoch(state, wanted, observer or Observer()) for _ in range(count)]


def fresh(settings: Training = SETTINGS) -> TrainState:
    return TrainState(build_model(ARCHITECTURE, 1), settings)


def weights(state: TrainState) -> dict[str, Tensor]:
    return state.model.state_dict()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(store: ImageStore) -> None:
    one, two, other = fresh(), fresh(), fresh()
    records = epochs(store, one, 2), epochs(store, two, 2)
    epochs(store, other, 2, seed=6)
    assert same(weights(one), weights(two))
    assert [r.metrics for r in records[0]] == [r.metrics for r in records[1]]
    assert not same(weights(one), weights(other))


@pytest.mark.parametrize(
    "settings",
    [SETTINGS, HALF, ADAMW, HALF_ADAMW],
    ids=["float32", "float16", "adamw", "adamw-float16"],
)
def test_a_state_that_was_saved_and_loaded_goes_on_as_if_nothing_had_happened(
    store: ImageStore, settings: Training
) -> None:
    straight, first, second = (fresh(settings) for _ in range(3))
    for state in (straight, first):
        state.scaler = torch.amp.GradScaler(
            "cpu", 2.0**10, growth_interval=3, enabled=settings.precision == "float16"
        )
    whole = epochs(store, straight, 4, settings)
    epochs(store, first, 2, settings)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert second.scaler.state_dict() == first.scaler.state_dict()
    rest = epochs(store, second, 2, settings)
    assert same(weights(straight), weights(second))
    assert [r.metrics for r in whole[2:]] == [r.metrics for r in rest]


def test_what_the_global_generator_held_before_makes_no_difference(store: ImageStore) -> None:
    one, two = fresh(), fresh()
    torch.manual_seed(1)
    epochs(store, one, 1)
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    epochs(store, two, 1)
    assert same(weights(one), weights(two))
    assert torch.equal(before, torch.random.get_rng_state())


def test_training_learns_and_healthy_exits_are_not_called_collapsed(store: ImageStore) -> None:
    records = epochs(store, fresh(LONGER), 12, LONGER)
    assert records[-1].metrics["loss"] < 0.6 * records[0].metrics["loss"]
    assert records[-1].metrics["accuracy_calibration"][-1] > 0.8
    assert records[-1].metrics["collapsed"] == []


def test_norms_and_biases_are_not_decayed() -> None:
    state = fresh(Training(epochs=2, learning_rate=0.1, weight_decay=0.3))
    decayed, spared = state.optimizer.param_groups
    assert decayed["weight_decay"] == 0.3
    assert spared["weight_decay"] == 0
    assert all(p.ndim > 1 for p in decayed["params"])
    assert all(p.ndim == 1 for p in spared["params"])
    count = sum(len(group["params"]) for group in state.optimizer.param_groups)
    assert count == len(list(state.model.parameters()))


def test_clipping_bounds_the_step(store: ImageStore) -> None:
    def moved(clipping: float | None) -> float:
        settings = Training(
            epochs=2, batch_size=72, learning_rate=1.0, momentum=0, weight_decay=0,
            warmup_epochs=0, gradient_clipping=clipping,
        )  # fmt: skip
        state = fresh(settings)
        before = {name: p.detach().clone() for name, p in state.model.named_parameters()}
        epochs(store, state, 1, settings)
        after = dict(state.model.named_parameters())
        squares = [(after[n].detach() - before[n]).square().sum() for n in before]
        return float(torch.stack(squares).sum().sqrt())

    assert moved(1e-3) == pytest.approx(1e-3, rel=1e-3)
    assert moved(None) > 0.1


def test_a_loss_that_is_not_finite_stops_training_with_advice(store: ImageStore) -> None:
    def broken(logits: Tensor, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        return logits.sum() * float("nan"), {}

    with pytest.raises(TrainingError, match=r"not finite \(epoch 1, learning rate") as caught:
        epochs(store, fresh(), 1, objective=broken)
    assert "learning_rate" in caught.value.hint
    assert caught.value.exit_code == 1


def test_a_collapsed_exit_is_told_after_the_epoch(store: ImageStore) -> None:
    state = fresh()
    head = state.model.heads[0][-1]
    assert isinstance(head, torch.nn.Linear)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([9.0, 0, 0, 0]))
    recorder = Recorder()
    slow = Training(epochs=4, batch_size=16, learning_rate=1e-9)
    record = epochs(store, state, 1, slow, recorder)[0]
    assert 0 in record.metrics["collapsed"]
    assert any("Exit 1 of 3 gives one constant answer" in text for text in recorder.warnings)


def test_progress_is_told_with_terms_speed_and_position(store: ImageStore) -> None:
    recorder = Recorder()
    metrics = epochs(store, fresh(), 1, observer=recorder)[0].metrics
    assert metrics["loss"] == pytest.approx(float(np.mean(metrics["cross_entropy"])), rel=1e-5)
    last = recorder.steps[-1]
    assert (last.epoch, last.step, last.steps) == (1, 4, 4)  # 72 images, 4 whole batches of 16
    assert last.terms["cross_entropy"] == pytest.approx(last.loss, rel=1e-5)
    assert last.images_per_second > 0
    event = recorder.epochs[-1]
    assert len(event.terms["cross_entropy"]) == len(event.accuracy_calibration) == 3


def test_a_split_too_small_to_tell_is_not_called_collapsed(store: ImageStore) -> None:
    few = ImageStore(store.images[:16], store.labels[:16], store.numbers[:16])
    recorder = Recorder()
    slow = Training(epochs=4, batch_size=16, learning_rate=1e-9)
    assert epochs(few, fresh(), 1, slow, recorder)[0].metrics["collapsed"] == []
    assert recorder.warnings == []


@pytest.mark.parametrize(
    ("precision", "memory_format", "dtype", "layout"),
    [
        ("float16", "auto", torch.float16, torch.channels_last),
        ("float16", "contiguous", torch.float16, torch.contiguous_format),
        ("float32", "channels_last", torch.float32, torch.channels_last),
        ("float32", "contiguous", torch.float32, torch.contiguous_format),
        ("float32", "auto", torch.float32, torch.channels_last),
    ],
)
def test_the_settings_reach_the_activations_and_their_gradients(
    store: ImageStore,
    precision: str,
    memory_format: str,
    dtype: torch.dtype,
    layout: torch.memory_format,
) -> None:
    changes = {"precision": precision, "memory_format": memory_format}
    settings = SETTINGS.model_copy(update=changes)
    state = fresh(settings)
    seen: list[Tensor] = []

    def hook(module: Any, inputs: Any, output: Tensor) -> None:
        output.register_hook(seen.append)
        seen.append(output)

    convolution = next(m for m in state.model.modules() if isinstance(m, torch.nn.Conv2d))
    handle = convolution.register_forward_hook(
        lambda *given: hook(*given) if torch.is_grad_enabled() else None
    )
    epochs(store, state, 1, settings)
    handle.remove()
    assert len(seen) == 2 * 4  # 72 images, 4 whole batches of 16
    assert {tensor.dtype for tensor in seen} == {dtype}
    assert all(tensor.is_contiguous(memory_format=layout) for tensor in seen[::2])
    assert convolution.weight.dtype == torch.float32


def test_float16_learns_as_float32_does(store: ImageStore) -> None:
    settings = LONGER.model_copy(update={"precision": "float16"})
    half, single = epochs(store, fresh(settings), 12, settings), epochs(store, fresh(), 12, LONGER)
    assert half[-1].metrics["loss"] == pytest.approx(single[-1].metrics["loss"], abs=0.1)
    assert half[-1].metrics["accuracy_calibration"][-1] > 0.8


def test_float16_clips_the_gradients_themselves_and_not_the_scaled_ones(store: ImageStore) -> None:
    """Scaled gradients are far above the limit: clipped first, they would hardly move anything."""
    moved = []
    for precision in ("float32", "float16"):
        changes = {"precision": precision, "momentum": 0.0, "gradient_clipping": 100.0}
        settings = SETTINGS.model_copy(update=changes)
        state = fresh(settings)
        state.scaler = torch.amp.GradScaler("cpu", 2.0**10, enabled=precision == "float16")
        before = state.model.stages[0][0][0].weight.detach().clone()  # type: ignore[index]
        epochs(store, state, 1, settings)
        after = state.model.stages[0][0][0].weight.detach()  # type: ignore[index]
        moved.append(float((after - before).norm()))
    assert moved[1] == pytest.approx(moved[0], rel=0.05)


def test_a_step_whose_gradients_overflow_is_skipped_and_halves_the_scale(store: ImageStore) -> None:
    """The first one is the trap: torch's fused step would begin with momentum from nowhere."""
    settings = HALF.model_copy(update={"batch_size": 72, "warmup_epochs": 0})
    state = fresh(settings)
    state.scaler = torch.amp.GradScaler("cpu", 2.0**40)
    before = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    record = epochs(store, state, 1, settings)[0]
    assert all(torch.equal(p, before[name]) for name, p in state.model.named_parameters())
    assert state.scaler.get_scale() == 2.0**39
    assert np.isfinite(record.metrics["loss"])
    for kept in state.optimizer.state.values():
        assert not kept["momentum_buffer"].any()
    # ... and once the scale fits, training goes on as if nothing had been
    state.scaler = torch.amp.GradScaler("cpu", 2.0**10)
    epochs(store, state, 1, settings)
    momenta = [entry["momentum_buffer"] for entry in state.optimizer.state.values()]
    assert all(float(buffer.norm()) <= 1.01 for buffer in momenta)  # one clipped gradient
    assert any(not torch.equal(p, before[name]) for name, p in state.model.named_parameters())


def test_gradients_that_no_scale_can_hold_stop_training_with_advice(store: ImageStore) -> None:
    def endless(logits: Tensor, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        root = (logits * 0).sum().abs().sqrt()  # 0, but its slope is infinite
        return root, {"cross_entropy": root.expand(3)}

    state = fresh(HALF)
    state.scaler = torch.amp.GradScaler("cpu", 2.0**-14)
    with pytest.raises(
        TrainingError, match="float16 cannot hold the gradients of epoch 1"
    ) as caught:
        epochs(store, state, 1, HALF, objective=endless)
    assert "bfloat16" in caught.value.hint


def test_only_float16_scales_its_gradients() -> None:
    assert fresh(HALF).scaler.is_enabled()
    assert not fresh().scaler.is_enabled()
    assert fresh().state_dict()["scaler"] == {}


def test_where_a_teacher_is_wrong_the_entropy_is_told_apart(store: ImageStore) -> None:
    state, recorder = fresh(), Recorder()
    context = make_context("cpu", "float32", 1, SETTINGS.memory_format)
    right = np.ones((len(store), 3), dtype=np.bool_)
    right[::3, 0] = False  # the second exit is never wrong: there is no gap
    plan = AugmentationPlan(1, flip=True, cutout=0)
    context.place(state.model)
    batches = Batches(StoreViews(store, plan), NORMALISATION, SETTINGS.batch_size, 5, context)

    def evaluate(model: EarlyExitNet) -> Answers:
        return answer_all(model, store, NORMALISATION, context)

    objective = SumOfTerms(label_terms(), torch.ones(3))
    wanted = Epochs(SETTINGS, batches, objective, 5, context, evaluate, right)
    record = train_epoch(state, wanted, recorder)
    scores = evaluate(state.model).scores
    wrong, others = scores[::3, 0].mean(), np.delete(scores[:, 0], slice(None, None, 3)).mean()
    assert record.metrics["entropy_teacher_wrong"] == [pytest.approx(wrong), None]
    assert record.metrics["entropy_teacher_right"][0] == pytest.approx(others)
    assert list(recorder.epochs[-1].entropy_gaps) == [pytest.approx(wrong - others), None]
    assert "entropy_teacher_wrong" not in epochs(store, fresh(), 1)[0].metrics
