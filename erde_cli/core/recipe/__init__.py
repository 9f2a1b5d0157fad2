"""The recipe: one YAML file that says everything a run depends on. Never imports torch."""

from erde_cli.core.recipe.loading import differences, load_recipe, parse_overrides
from erde_cli.core.recipe.schema import (
    Augmentation,
    Calibration,
    Data,
    Distillation,
    Network,
    Recipe,
    TeacherWrong,
    Training,
    Weights,
    even_pairing,
)
from erde_cli.core.recipe.shipped import ShippedRecipe, shipped_recipe, shipped_recipes
from erde_cli.core.recipe.yaml_text import parse_yaml

__all__ = [
    "Augmentation",
    "Calibration",
    "Data",
    "Distillation",
    "Network",
    "Recipe",
    "ShippedRecipe",
    "TeacherWrong",
    "Training",
    "Weights",
    "differences",
    "even_pairing",
    "load_recipe",
    "parse_overrides",
    "parse_yaml",
    "shipped_recipe",
    "shipped_recipes",
]
