"""The recipe: one YAML file that says everything a run depends on. Never imports torch."""

from erde_cli.core.recipe.loading import (
    differences,
    load_recipe,
    name_of,
    parse_overrides,
    recipe_from,
)
from erde_cli.core.recipe.schema import Recipe, even_pairing
from erde_cli.core.recipe.sections.calibration import Calibration
from erde_cli.core.recipe.sections.data import NAMED, Augmentation, Data
from erde_cli.core.recipe.sections.distillation import Distillation, Weights
from erde_cli.core.recipe.sections.network import Network
from erde_cli.core.recipe.sections.training import Training
from erde_cli.core.recipe.shipped import ShippedRecipe, shipped_recipe, shipped_recipes
from erde_cli.core.recipe.yaml_text import parse_yaml

__all__ = [
    "NAMED",
    "Augmentation",
    "Calibration",
    "Data",
    "Distillation",
    "Network",
    "Recipe",
    "ShippedRecipe",
    "Training",
    "Weights",
    "differences",
    "even_pairing",
    "load_recipe",
    "name_of",
    "parse_overrides",
    "parse_yaml",
    "recipe_from",
    "shipped_recipe",
    "shipped_recipes",
]
