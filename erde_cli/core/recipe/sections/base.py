"""Base of all sections: strict and frozen, with all broken rules reported at once."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

NonNegative = Annotated[float, Field(ge=0)]
Rules = list[tuple[str, str]]  # (key, the rule it breaks)


class Section(BaseModel):
    """A section of a recipe. It refuses unknown keys and converts no values."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def refuse(rules: Rules) -> None:
    """Raise one error for all broken rules; a rule of the value itself has the key ""."""
    if rules:
        text = "; ".join(f"{key} {rule}".lstrip() for key, rule in rules)
        raise PydanticCustomError("rules", "{text}", {"text": text, "rules": rules})


def broken(*rules: tuple[bool, str, str]) -> Rules:
    """The (key, rule) pairs of the broken rules among (is broken, key, rule)."""
    return [(key, rule) for is_broken, key, rule in rules if is_broken]
