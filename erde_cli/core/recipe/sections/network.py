"""The sections `teacher` and `student`: a backbone, where it is cut, and its heads."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from erde_cli.core.recipe.backbones import FAMILIES
from erde_cli.core.recipe.sections.base import NonNegative, Rules, Section, broken, refuse

_HEAD_DROPOUT = 0.5  # of the paper


class Network(Section):
    """A backbone, where it is cut, and the head at each cut."""

    backbone: Literal["resnet", "wrn", "vgg", "airbench"] = Field(
        "resnet",
        description="family of the backbone: resnet (He et al.), wrn (wide, pre-activation), "
        "vgg (with BatchNorm, for 32 pixels), airbench (whitening, wide where features are small)",
    )
    depth: int = Field(
        ge=8,
        le=10_000,
        description="layers of the backbone: resnet 6n + 2 (8, 14, 20, ...), "
        "airbench the same, wrn 6n + 4 (10, 16, 22, ...), vgg 8, 13 or 16",
    )
    width: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="channels of the first group of blocks before widening; "
        "null: 16, and 64 for vgg and airbench",
    )
    widening: int = Field(
        1,
        ge=1,
        le=64,
        description="k of WRN-d-k: channels of all groups, but not of the stem, times k",
    )
    stem: int | None = Field(
        None, ge=1, le=1024, description="channels of the first convolution; null: width"
    )
    stem_stride: Literal[1, 2] = Field(
        1,
        description="resnet: step of the first convolution; 2 halves the side of all features, so "
        "that twice the width costs the same",
    )
    dropout: float = Field(
        0, ge=0, lt=1, description="wrn: share of features dropped between a block's convolutions"
    )
    exits: int | list[int] = Field(
        3,
        description="[3, 6]: early exits after blocks 3 and 6, and the last; "
        "3: that many with the last, evenly spaced in multiply-adds",
    )
    head: Literal["erde", "gap"] = Field("erde", description="classifier at the early exits")
    head_dropout: float = Field(
        _HEAD_DROPOUT,
        ge=0,
        lt=1,
        description="share of features dropped in each head of the kind erde",
    )
    exit_weights: list[NonNegative] | None = Field(
        None, description="weight of each exit's loss; null: all the same"
    )

    @field_validator("exits", mode="before")
    @classmethod
    def _exits_are_numbers(cls, value: Any) -> Any:
        numbers = value if isinstance(value, list) else [value]
        if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
            raise PydanticCustomError("rule", "a number of exits, or a list of block numbers")
        return value

    @model_validator(mode="after")
    def _check(self) -> Network:
        family = FAMILIES[self.backbone]
        defaults = {"widening": 1, "stem": None, "stem_stride": 1, "dropout": 0}
        rules = broken(
            *(
                (
                    getattr(self, key) != defaults[key],
                    key,
                    f"{self.backbone} has none; leave it out",
                )
                for key in family.lacks
            ),
            (
                self.head != "erde" and self.head_dropout != _HEAD_DROPOUT,
                "head_dropout",
                f"head: {self.head} drops nothing; leave it out",
            ),
            (
                not family.has_depth(self.depth),
                "depth",
                family.depth_rule(self.backbone, self.depth),
            ),
        )
        refuse(rules + (self._exit_rules() if family.has_depth(self.depth) else []))
        return self

    def _exit_rules(self) -> Rules:
        last = self.blocks - 1
        weights = self.exit_weights
        counted = isinstance(self.exits, int)
        cuts: list[int] = [] if isinstance(self.exits, int) else self.exits
        return broken(
            (
                counted and not 1 <= self.exit_count <= self.blocks,
                "exits",
                f"must be 1 to {self.blocks}, its blocks at this depth",
            ),
            (
                cuts != sorted(set(cuts)) or any(not 1 <= block <= last for block in cuts),
                "exits",
                f"must be rising block numbers from 1 to {last}",
            ),
            (
                weights is not None and (len(weights) != self.exit_count or sum(weights) <= 0),
                "exit_weights",
                f"must be {self.exit_count} numbers, one an exit, not all 0",
            ),
        )

    @property
    def blocks(self) -> int:
        """Number of blocks of the backbone, the places where it can be cut."""
        return FAMILIES[self.backbone].blocks(self.depth)

    @property
    def least_side(self) -> int:
        """Smallest images that the backbone takes, pixels."""
        return FAMILIES[self.backbone].least_side

    @property
    def channels(self) -> int:
        """Channels of the first group of blocks before widening: `width`, or the family's."""
        return FAMILIES[self.backbone].width if self.width is None else self.width

    @property
    def exit_count(self) -> int:
        """Number of exits, the last included."""
        return self.exits if isinstance(self.exits, int) else len(self.exits) + 1
