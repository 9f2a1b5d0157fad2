"""Check that a saved state belongs to this training, before any part of it is used.

torch's restricted reader runs no code, but the values in a file are untrusted.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError
from torch import Tensor

from erde_cli.core.errors import first_reason
from erde_cli.core.training.checkpoints import Saved

_MOST = 10_000  # values in a running mean, which has one per exit


class _Log(BaseModel):
    model_config = ConfigDict(strict=True, arbitrary_types_allowed=True, extra="forbid")

    batch_size: Annotated[int, Field(ge=1)]
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    steps: Annotated[int, Field(ge=0)]
    recent_steps: Annotated[int, Field(ge=0)]
    total: dict[str, Tensor]
    recent: dict[str, Tensor]
    finite: Annotated[int, Field(ge=0)]
    skipped: Annotated[int, Field(ge=0)]


class _Timing(BaseModel):
    images: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]


_ROWS = TypeAdapter(list[dict[str, JsonValue]])
_TIMINGS = TypeAdapter(list[_Timing])
_MADE_BY = TypeAdapter(dict[str, JsonValue])


def mismatch(saved: Saved, own: dict[str, Any]) -> str:
    """The first difference in form from `own`, the training's current state; empty without any."""
    try:
        for adapter, value in ((_ROWS, saved.metrics), (_ROWS, saved.timings)):
            adapter.validate_python(value)
        _TIMINGS.validate_python(saved.timings)
        _MADE_BY.validate_python(saved.made_by)
        _check_state(saved.state, own)
    except ValidationError as error:
        return first_reason(error)
    except _UnlikeError as error:
        return str(error)
    return ""


class _UnlikeError(Exception):
    pass


def _check_state(found: Any, own: dict[str, Any]) -> None:
    if not isinstance(found, dict) or set(found) != set(own):
        raise _UnlikeError("the state has other keys")
    for name, value in own.items():
        if name == "log":
            _check_log(found[name])
        elif name == "optimizer":
            _check_optimizer(found[name], value, list(own["model"].values()))
        else:
            _check_alike(found[name], value, name)


def _check_log(found: Any) -> None:
    if found is None:
        return
    log = _Log.model_validate(found)
    if any(mean.numel() > _MOST for means in (log.total, log.recent) for mean in means.values()):
        raise _UnlikeError("log: a mean has more values than there are exits")


def _check_optimizer(found: Any, own: dict[str, Any], weights: list[Tensor]) -> None:
    """Compare parameter groups and momentum. The momentum can be missing before the first step."""
    if (
        not isinstance(found, dict)
        or set(found) != set(own)
        or not isinstance(found["state"], dict)
    ):
        raise _UnlikeError("optimizer has other keys")
    for name, value in own.items():
        if name != "state":
            _check_alike(found[name], value, f"optimizer.{name}")
    shapes = {weight.shape for weight in weights}
    numbers = {number for group in own["param_groups"] for number in group["params"]}
    for number, values in found["state"].items():
        if number not in numbers or not isinstance(values, dict):
            raise _UnlikeError(f"optimizer.state.{number}")
        current = own["state"].get(number)
        if current is not None:
            _check_alike(values, current, f"optimizer.state.{number}")
        elif any(isinstance(part, Tensor) and part.shape not in shapes for part in values.values()):
            raise _UnlikeError(f"optimizer.state.{number}: a shape that no weight has")


def _check_alike(found: Any, own: Any, where: str) -> None:
    """Check for the same type, the same shape and number format of tensors, and finite numbers."""
    if isinstance(own, Tensor):
        alike = isinstance(found, Tensor) and (found.shape, found.dtype) == (own.shape, own.dtype)
    elif isinstance(own, dict):
        alike = isinstance(found, dict) and set(found) == set(own)
    elif isinstance(own, list | tuple):
        alike = type(found) is type(own) and len(found) == len(own)
    elif isinstance(own, int | float) and not isinstance(own, bool):
        alike = type(found) in (int, float) and math.isfinite(found) and found >= min(0, own)
    else:
        alike = type(found) is type(own)
    if not alike:
        raise _UnlikeError(f"{where} differs in form")
    is_list = isinstance(own, list | tuple)
    parts = own.items() if isinstance(own, dict) else enumerate(own) if is_list else ()
    for name, value in parts:
        _check_alike(found[name], value, f"{where}.{name}")
