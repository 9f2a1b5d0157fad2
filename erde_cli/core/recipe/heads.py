"""Heads of the early exits: a row each, with all that a recipe and the network's builder ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal


@dataclass(frozen=True)
class Head:
    """Who builds it, and whether it drops features, by the recipe's `head_dropout`.

    The builder is called with what a stage puts out (`models.heads.StageOutput`) and the number of
    classes; one that drops features takes `dropout` as well.
    """

    builder: str  # "module:function", so that a recipe is read without torch
    drops: bool = False


_MODULE = "erde_cli.core.models.heads"
HEADS = {
    "erde": Head(f"{_MODULE}:erde_head", drops=True),
    "gap": Head(f"{_MODULE}:gap_head"),
}
if TYPE_CHECKING:
    HeadName = str
else:
    HeadName = Literal[tuple(HEADS)]
