"""The training loop of torchdistill, and images and settings shared with the usual loop.

torchdistill 1.1.5 is used as in its own `examples/torchvision/image_classification.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from time import perf_counter
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import RandomSampler

from benchmarks.networks import SIZE, network
from erde_cli.core.data.store import ImageStore
from erde_cli.core.platform.torchvision_import import torchvision_datasets

BATCH, RATE, WORKERS = 128, 0.05, 2
SGD: dict[str, Any] = {"lr": RATE, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
INSTALL = "pip install -e '.[benchmarks]'"

_LOG_EVERY = 100  # steps, as in torchdistill's sample configurations for CIFAR-10


class PilImages(TorchDataset[tuple[Tensor, int]]):
    """Images as of torchvision's CIFAR-10: from an array, through PIL, transformed."""

    def __init__(self, store: ImageStore, transform: Callable[[Image.Image], Tensor]) -> None:
        self._images, self._labels = store.images.numpy(), store.labels.tolist()
        self._transform = transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(Image.fromarray(self._images[index])), self._labels[index]


def pil_images(store: ImageStore) -> PilImages:
    """Images of a store, cropped, mirrored and normalised by torchvision's transforms."""
    torchvision_datasets()
    transforms = import_module("torchvision.transforms")
    transform = transforms.Compose(
        [
            transforms.RandomCrop(SIZE, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        ]
    )
    return PilImages(store, transform)


def loss_of_exits(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in nats, over images and exits; logits [batch, exits, classes]."""
    return F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(logits.shape[1]))


class LossOfExits(nn.Module):
    """`loss_of_exits` as a module: torchdistill's registry knows only classes."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy in nats; logits [batch, exits, classes], labels [batch]."""
        return loss_of_exits(logits, labels)


def has_torchdistill() -> bool:
    """Whether torchdistill is installed."""
    return find_spec("torchdistill") is not None


def torchdistill_loop(name: str, store: ImageStore) -> Callable[[], float]:
    """An epoch of torchdistill's training box, float32; images per second.

    Raises:
        SystemExit: torchdistill cannot be imported.
    """
    images = pil_images(store)  # first, because torchdistill imports torchvision as well
    try:
        training = import_module("torchdistill.core.training")
        losses = import_module("torchdistill.losses.registry")
        logs = import_module("torchdistill.misc.log")
    except ImportError as error:
        raise SystemExit(f"torchdistill cannot be imported ({error}); run: {INSTALL}") from error
    logging.getLogger("torchdistill").setLevel(logging.WARNING)
    losses.register_low_level_loss(LossOfExits)
    device = torch.device("cpu")
    box = training.get_training_box(
        network(name), {"train": images}, _configuration(), device, None, False, 1
    )

    def epoch() -> float:
        start = perf_counter()
        box.pre_epoch_process(epoch=0)
        done = _train_one_epoch(box, logs, device)
        box.post_epoch_process()
        return done / (perf_counter() - start)

    return epoch


def _configuration() -> dict[str, Any]:
    """The section `train` of a torchdistill recipe; a new copy, because the box changes it."""
    output = {"is_from_teacher": False, "module_path": ".", "io": "output"}
    wrapper = {"input": output, "target": {"uses_label": True}}
    term = {
        "criterion": {"key": "LossOfExits", "kwargs": {}},
        "criterion_wrapper": {"key": "SimpleLossWrapper", "kwargs": wrapper},
        "weight": 1.0,
    }
    return {
        "num_epochs": 1,
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": RandomSampler, "kwargs": {}},
            "kwargs": {"batch_size": BATCH, "num_workers": WORKERS, "drop_last": True},
        },
        "model": {"forward_proc": "forward_batch_only", "requires_grad": True},
        "optimizer": {"key": "SGD", "kwargs": dict(SGD)},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"exits": term}}},
    }


def _train_one_epoch(box: Any, logs: Any, device: torch.device) -> int:
    """Train like the loop of its example, with meters; number of images."""
    meters = logs.MetricLogger(delimiter="  ")
    meters.add_meter("lr", logs.SmoothedValue(window_size=1, fmt="{value}"))
    meters.add_meter("img/s", logs.SmoothedValue(window_size=10, fmt="{value}"))
    done = 0
    for images, labels, more in meters.log_every(box.train_data_loader, _LOG_EVERY, "Epoch"):
        start = perf_counter()
        loss = box.forward_process(images.to(device), labels.to(device), more)
        box.post_forward_process(loss=loss)
        meters.update(loss=loss.item(), lr=box.optimizer.param_groups[0]["lr"])
        meters.meters["img/s"].update(len(images) / (perf_counter() - start))
        if torch.isnan(loss) or torch.isinf(loss):
            raise ValueError(f"torchdistill's loss is {loss.item()}")
        done += len(images)
    return done
