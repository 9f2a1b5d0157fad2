"""Keys that recipes no longer have: what to write now, and what they meant where they were written.

A new recipe with one is refused; runs and bundles made with one stay readable.
"""

from __future__ import annotations

from typing import Any

RULES = {
    "distillation.teacher_wrong": "was removed; use distillation.form: `add` keeps CE and KD where "
    "E acts, `replace` (the default) keeps neither",
}
_KEPT = ("cross_entropy", "distillation")


def as_now(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe in today's keys; one that kept only one of CE and KD is shown as `replace`."""
    section = recipe.get("distillation")
    if not isinstance(section, dict) or "teacher_wrong" not in section:
        return recipe
    rest = {key: value for key, value in section.items() if key != "teacher_wrong"}
    kept = section["teacher_wrong"]
    added = isinstance(kept, dict) and all(kept.get(term) is True for term in _KEPT)
    return {**recipe, "distillation": {"form": "add" if added else "replace", **rest}}


def as_before(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe with `teacher_wrong` in the place of `form`: what it trains is the same."""
    section = recipe.get("distillation")
    if not isinstance(section, dict) or "form" not in section:
        return recipe
    rest = {key: value for key, value in section.items() if key != "form"}
    kept = dict.fromkeys(_KEPT, section["form"] == "add")
    return {**recipe, "distillation": {**rest, "teacher_wrong": kept}}
