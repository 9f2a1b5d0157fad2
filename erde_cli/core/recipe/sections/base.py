"""What all sections share: strict and frozen, and rules between keys reported all at once."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

NonNegative = Annotated[float, Field(ge=0)]
Rules = list[tuple[str, str]]  # (key, the rule it breaks)


class Section(BaseModel):
    """A part of a recipe: unknown keys are refused, nothing is converted or changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def refuse(rules: Rules) -> None:
    """Refuse every key of the section being validated that breaks a rule, all at once."""
    if rules:
        text = "; ".join(f"{key} {rule}" for key, rule in rules)
        raise PydanticCustomError("rules", "{text}", {"text": text, "rules": rules})


def broken(*rules: tuple[bool, str, str]) -> Rules:
    """Those of (is it broken, key, rule) that are."""
    return [(key, rule) for is_broken, key, rule in rules if is_broken]
