"""Data sets, their splits, the store of decoded images, and batches of them."""

from erde_cli.core.data.augmentation import AugmentationPlan
from erde_cli.core.data.batches import Batch, Batches, evaluation_batches
from erde_cli.core.data.dataset import (
    Dataset,
    open_dataset,
    open_labelled_folder,
    open_unlabelled_folder,
)
from erde_cli.core.data.folders import UnreadableError
from erde_cli.core.data.splits import SPLITS, Split
from erde_cli.core.data.store import ImageStore, Normalisation, Normaliser

__all__ = [
    "SPLITS",
    "AugmentationPlan",
    "Batch",
    "Batches",
    "Dataset",
    "ImageStore",
    "Normalisation",
    "Normaliser",
    "Split",
    "UnreadableError",
    "evaluation_batches",
    "open_dataset",
    "open_labelled_folder",
    "open_unlabelled_folder",
]
