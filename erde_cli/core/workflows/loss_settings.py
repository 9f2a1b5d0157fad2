"""What a recipe says of the losses of a distillation."""

from __future__ import annotations

from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.training.losses import LossSettings


def loss_settings(recipe: Recipe) -> LossSettings:
    """Weights and temperature of a recipe's distillation."""
    wanted = recipe.distillation
    return LossSettings(
        method=wanted.method,
        temperature=wanted.temperature,
        cross_entropy=wanted.weights.cross_entropy,
        distillation=wanted.weights.distillation,
        entropy=wanted.weights.entropy,
        replaces=wanted.form == "replace" and wanted.entropy_on != "all",
        entropy_on=wanted.entropy_on,
        unsure_above=wanted.unsure_above,
        entropy_at_last_exit=wanted.entropy_at_last_exit,
        label_smoothing=recipe.training.student.label_smoothing,
    )
