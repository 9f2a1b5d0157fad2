"""Backbones cut into stages, heads, and the early-exit network made of them."""

from erde_cli.core.models.airbench import whitening_layers
from erde_cli.core.models.architecture import Architecture, build_model, resolve_architecture
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.folding import folded

__all__ = [
    "Architecture",
    "EarlyExitNet",
    "build_model",
    "folded",
    "resolve_architecture",
    "whitening_layers",
]
