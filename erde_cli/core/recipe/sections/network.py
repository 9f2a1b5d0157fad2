"""The sections `teacher` and `student`: a backbone, its exits and their heads."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from erde_cli.core.recipe.backbones import (
    FAMILIES,
    FAMILY_KEYS,
    FamilyName,
    described_depths,
    described_families,
    described_widths,
    families_with,
    joined,
)
from erde_cli.core.recipe.heads import HEADS, HeadName
from erde_cli.core.recipe.sections.base import NonNegative, Rules, Section, broken, refuse


class Network(Section):
    """A backbone, its exits and their heads."""

    backbone: FamilyName = Field(
        "resnet", description=f"family of the backbone: {described_families()}"
    )
    depth: int = Field(ge=8, le=10_000, description=f"layers of the backbone: {described_depths()}")
    width: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="channels of the first group of blocks before widening; "
        f"null: {described_widths()}",
    )
    widening: int = Field(
        1,
        ge=1,
        le=64,
        description="k of WRN-d-k: multiplies the channels of all groups, but not of the stem",
    )
    stem: int | None = Field(
        None, ge=1, le=1024, description="channels of the first convolution; null: width"
    )
    stem_stride: Literal[1, 2] = Field(
        1,
        description=f"{families_with('stem_stride')}: stride of the first convolution; 2 halves "
        "the side of all features, so that twice the width costs the same",
    )
    dropout: float = Field(
        0,
        ge=0,
        lt=1,
        description=f"{families_with('dropout')}: share of features dropped between the "
        "convolutions of a block",
    )
    exits: int | list[int] = Field(
        3,
        description="[3, 6]: early exits after blocks 3 and 6, plus the last exit; "
        "3: three exits including the last, evenly spaced in multiply-adds",
    )
    head: HeadName = Field("erde", description="classifier of the early exits")
    head_dropout: float = Field(
        0.5,  # of the paper
        ge=0,
        lt=1,
        description="share of features dropped in each head of type "
        + joined((name for name, head in HEADS.items() if head.drops), "or"),
    )
    exit_weights: list[NonNegative] | None = Field(
        None, description="weight of each exit's loss; null: all the same"
    )

    @field_validator("exits", mode="before")
    @classmethod
    def _exits_are_numbers(cls, value: Any) -> Any:
        numbers = value if isinstance(value, list) else [value]
        if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
            refuse([("", "must be a number of exits or a list of block numbers")])
        return value

    @model_validator(mode="after")
    def _check(self) -> Network:
        family = FAMILIES[self.backbone]
        has_depth = self.depth in family.blocks
        rules = broken(
            *(
                (self._is_set(key), key, f"{self.backbone} does not have this key; remove it")
                for key in FAMILY_KEYS
                if key not in family.keys
            ),
            (
                not HEADS[self.head].drops and self._is_set("head_dropout"),
                "head_dropout",
                f"the head {self.head} has no dropout; remove this key",
            ),
            (
                not has_depth,
                "depth",
                f"must be {family.depths_near(self.depth)} for {self.backbone}",
            ),
        )
        refuse(rules + (self._exit_rules() if has_depth else []))
        return self

    def _is_set(self, key: str) -> bool:
        return bool(getattr(self, key) != type(self).model_fields[key].default)

    def _exit_rules(self) -> Rules:
        last = self.blocks - 1
        weights = self.exit_weights
        cuts: list[int] = [] if isinstance(self.exits, int) else self.exits
        return broken(
            (
                not cuts and not 1 <= self.exit_count <= self.blocks,
                "exits",
                f"must be 1 to {self.blocks}, the number of blocks at this depth",
            ),
            (
                cuts != sorted(set(cuts)) or any(not 1 <= block <= last for block in cuts),
                "exits",
                f"must be increasing block numbers from 1 to {last}",
            ),
            (
                weights is not None and (len(weights) != self.exit_count or sum(weights) <= 0),
                "exit_weights",
                f"must be {self.exit_count} numbers, one per exit, not all 0",
            ),
        )

    @property
    def blocks(self) -> int:
        """Number of blocks of the backbone. An exit can follow any block."""
        return FAMILIES[self.backbone].blocks[self.depth]

    @property
    def least_side(self) -> int:
        """Smallest side of an image that the backbone accepts, in pixels."""
        return FAMILIES[self.backbone].least_side

    @property
    def channels(self) -> int:
        """Channels of the first group of blocks before widening."""
        return FAMILIES[self.backbone].width if self.width is None else self.width

    @property
    def exit_count(self) -> int:
        """Number of exits, the last included."""
        return self.exits if isinstance(self.exits, int) else len(self.exits) + 1
