"""Table of the heads of early exits: what recipes and the network builder need to know of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal


@dataclass(frozen=True)
class Head:
    """A head: its builder, and whether it uses the recipe's `head_dropout`.

    The builder receives the output of a stage (`models.heads.StageOutput`) and the number of
    classes. If `drops` is true, it also receives `dropout`.
    """

    builder: str  # "module:function", so that reading a recipe does not import torch
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
