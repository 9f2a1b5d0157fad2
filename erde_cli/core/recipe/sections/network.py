"""The sections `teacher` and `student`: a backbone, its exits and their heads."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from erde_cli.core.recipe.backbones import (
    FAMILIES,
    FAMILY_KEYS,
    PACKAGED_NETWORK,
    described_depths,
    described_families,
    described_widths,
    families_with,
    joined,
)
from erde_cli.core.recipe.heads import HEADS, HeadName
from erde_cli.core.recipe.packages import package_of
from erde_cli.core.recipe.sections.base import NonNegative, Rules, Section, broken, refuse

_LIBRARY_NETWORK = f"^{PACKAGED_NETWORK}$"
_LIBRARY_KEYS = ("pretrained", "weights", "match", "last_layer")
Positive = Annotated[float, Field(gt=0)]
Cost = Literal["macs", "parameters", "latency_ms"]
_MOST_BLOCKS = 1000  # more than any network of a library has


class Network(Section):
    """A backbone, its exits and their heads."""

    family: str | None = Field(
        None,
        json_schema_extra={"anyOf": [{"enum": [*FAMILIES]}, {"pattern": _LIBRARY_NETWORK}]},
        description="student: family of which erde takes the largest member within `budget`, "
        "instead of `backbone`; the beginning of a library's names, such as "
        "torchvision/mobilenet_v3, or a family of the list below, whose depth is chosen, or with "
        "depth its width, or with both its image_size",
    )
    budget: Positive | dict[Cost, Positive] | None = Field(
        None,
        description="student, with family: largest share of the teacher's multiply-adds, such as "
        "0.1, or {parameters: 0.1}, or {latency_ms: 5}",
    )
    backbone: str = Field(
        "resnet",
        json_schema_extra={"anyOf": [{"enum": [*FAMILIES]}, {"pattern": _LIBRARY_NETWORK}]},
        description=f"family of the backbone: {described_families()}; or a network of a library, "
        "torchvision/NAME or timm/NAME (see `erde backbones`), or of an installed package, "
        "PACKAGE/NAME",
    )
    depth: int | None = Field(
        None, ge=8, le=10_000, description=f"layers of the backbone: {described_depths()}"
    )
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
    stem: Annotated[int, Field(ge=1, le=1024)] | Literal["small"] | None = Field(
        None,
        description="channels of the first convolution; null: width; small: a library's network "
        "whose stem keeps the side of the features, for images of 32 pixels",
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
    pretrained: bool = Field(
        False,
        description="a library's network: start from the library's own weights, which are "
        "downloaded once",
    )
    weights: str | None = Field(
        None,
        description="a library's network: start from the weights in this file, safetensors or a "
        "state dict of PyTorch; the path is relative to the recipe",
    )
    match: Literal["name", "order"] = Field(
        "name",
        description="weights: how its tensors find their place; order: other names, the same "
        "shapes in the same order",
    )
    last_layer: Literal["new", "kept"] = Field(
        "new",
        description="pretrained, weights: the last linear layer; kept: that of the weights, whose "
        "classes are those of the images, in the same order",
    )
    image_size: int | None = Field(
        None,
        ge=8,
        le=1024,
        description="student: side of its input in pixels, if it sees smaller images than the "
        "teacher; null: data.image_size",
    )
    exit_weights: list[NonNegative] | None = Field(
        None, description="weight of each exit's loss; null: all the same"
    )

    @field_validator("backbone", "family")
    @classmethod
    def _is_known(cls, name: str | None) -> str | None:
        if name is None:
            return None
        if name not in FAMILIES and not re.fullmatch(_LIBRARY_NETWORK, name):
            near = get_close_matches(name, FAMILIES, n=1)
            known = (
                f"{joined(FAMILIES, 'or')}, or a network of a library such as torchvision/resnet18"
            )
            refuse([("", f"must be {known}" + (f"; did you mean {near[0]}?" if near else ""))])
        return name

    @field_validator("exits", mode="before")
    @classmethod
    def _exits_are_numbers(cls, value: Any) -> Any:
        numbers = value if isinstance(value, list) else [value]
        if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
            refuse([("", "must be a number of exits or a list of block numbers")])
        return value

    @model_validator(mode="after")
    def _check(self) -> Network:
        if self.family is not None or self.budget is not None:
            refuse(self._family_rules())
            return self
        family = FAMILIES.get(self.backbone)
        own = ("depth", "width", *family.keys) if family else _LIBRARY_KEYS
        if package_of(self.backbone):
            own = ()
        elif self.stem == "small":
            own = (*own, "stem") if family is None else tuple(key for key in own if key != "stem")
        rules = broken(
            *(
                (self._is_set(key), key, f"{self.backbone} does not have this key; remove it")
                for key in ("depth", "width", *FAMILY_KEYS, *_LIBRARY_KEYS)
                if key not in own
            ),
            (
                self.pretrained and self.weights is not None,
                "weights",
                "remove it, or pretrained: there is one source of weights",
            ),
            (
                self.match == "order" and self.weights is None,
                "match",
                "applies only to weights",
            ),
            (
                self.last_layer == "kept" and not self.has_weights,
                "last_layer",
                "kept applies only to pretrained or weights",
            ),
            (
                not HEADS[self.head].drops and self._is_set("head_dropout"),
                "head_dropout",
                f"the head {self.head} has no dropout; remove this key",
            ),
        )
        if family is not None and self.depth is None:
            rules.append(("depth", f"is required for {self.backbone}"))
        elif family is not None and self.depth not in family.blocks:
            near = family.depths_near(self.depth or 0)
            rules.append(("depth", f"must be {near} for {self.backbone}"))
        else:
            rules += self._exit_rules()
        refuse(rules)
        return self

    def _family_rules(self) -> Rules:
        """Broken rules of a network whose backbone is chosen later; others follow with it."""
        return broken(
            (self.family is None, "family", "is required with budget"),
            (self.budget is None, "budget", "is required with family"),
            (bool(package_of(self.family or "")), "family", "cannot be that of a package"),
            (
                isinstance(self.budget, dict) and len(self.budget) != 1,
                "budget",
                f"must have exactly one of the keys {', '.join(get_args(Cost))}",
            ),
            (
                any(value > 1 for key, value in self.limits.items() if key != "latency_ms"),
                "budget",
                "must be a share of the teacher's, from 0 to 1",
            ),
            (self._is_set("backbone"), "backbone", "is chosen by family; remove one of them"),
            (not isinstance(self.exits, int), "exits", "must be a number of exits with family"),
            self._exit_weights_rule(),
        )

    def _is_set(self, key: str) -> bool:
        return bool(getattr(self, key) != type(self).model_fields[key].default)

    def _exit_rules(self) -> Rules:
        blocks = self.blocks
        cuts: list[int] = [] if isinstance(self.exits, int) else self.exits
        return broken(
            (
                not cuts and not 1 <= self.exit_count <= blocks,
                "exits",
                f"must be 1 to {blocks}, the number of blocks at this depth",
            ),
            (
                cuts != sorted(set(cuts)) or any(not 1 <= block < blocks for block in cuts),
                "exits",
                f"must be increasing block numbers from 1 to {blocks - 1}",
            ),
            self._exit_weights_rule(),
        )

    def _exit_weights_rule(self) -> tuple[bool, str, str]:
        weights = self.exit_weights
        return (
            weights is not None and (len(weights) != self.exit_count or sum(weights) <= 0),
            "exit_weights",
            f"must be {self.exit_count} numbers, one per exit, not all 0",
        )

    @property
    def limits(self) -> dict[Cost, float]:
        """The budget: shares of the teacher's cost, or milliseconds; a share alone is of MACs."""
        if isinstance(self.budget, dict):
            return self.budget
        return {} if self.budget is None else {"macs": self.budget}

    @property
    def blocks(self) -> int:
        """Number of blocks of the backbone. An exit can follow any block.

        Of a library's network it is an upper bound: the number is known once the network is built.
        """
        family = FAMILIES.get(self.backbone)
        return _MOST_BLOCKS if family is None or self.depth is None else family.blocks[self.depth]

    @property
    def has_weights(self) -> bool:
        """Whether training starts from existing weights."""
        return self.pretrained or self.weights is not None

    @property
    def least_side(self) -> int:
        """Smallest side of an image that the backbone accepts, in pixels."""
        family = FAMILIES.get(self.backbone)
        return 1 if family is None else family.least_side

    @property
    def channels(self) -> int | None:
        """Channels of the first group of blocks before widening; None for a library's network."""
        family = FAMILIES.get(self.backbone)
        return family.width if family and self.width is None else self.width

    @property
    def exit_count(self) -> int:
        """Number of exits, the last included."""
        return self.exits if isinstance(self.exits, int) else len(self.exits) + 1
