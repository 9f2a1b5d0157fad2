"""`model.safetensors` of a bundle: its own table of contents is read before anything is built.

A small file cannot make a large network: what is allocated are the tensors that the file holds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from safetensors.torch import load_file

from erde_cli.core.errors import InputError, brief, first_reason
from erde_cli.core.models.architecture import Architecture, build_model
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.storage.json_files import LARGEST, JsonError, parse_json

_LENGTH = 8  # bytes in front of the table, which tell how long it is
_AGAIN = "copy the folder again, or train it again"
_DTYPES = {torch.float32: "F32", torch.int64: "I64"}

_Shape = tuple[int, ...]


class _Entry(BaseModel):
    dtype: str
    shape: list[Annotated[int, Field(ge=0)]]


_TABLE = TypeAdapter(dict[str, _Entry])


def load_network(path: Path, architecture: Architecture) -> EarlyExitNet:
    """The network of an architecture with the weights of a file, on the CPU.

    Raises:
        InputError: they do not fit.
        SafetensorError: the file is damaged.
    """
    table = _read_table(path)
    if len(table) < architecture.depth:
        raise InputError(
            "There are fewer tensors than the network has layers.",
            got=str(len(table)),
            expected=f"{architecture.depth} or more",
            hint=_AGAIN,
        )
    with torch.device("meta"):  # shapes without memory
        model = build_model(architecture)
    expected = {name: _described(tensor) for name, tensor in model.state_dict().items()}
    if table != expected:
        name = next(name for name in {**table, **expected} if table.get(name) != expected.get(name))
        raise InputError(
            "A tensor is another than the network's.",
            got=f"{name[:100]}: {_words(table.get(name))}",
            expected=_words(expected.get(name)),
            hint=_AGAIN,
        )
    # Copied: what is read is a file mapped into memory, which may change.
    weights = {name: tensor.clone() for name, tensor in load_file(path).items()}
    model.load_state_dict(weights, assign=True)
    return model


def _read_table(path: Path) -> dict[str, tuple[str, _Shape]]:
    """Number format and shape of every tensor in a file."""
    with path.open("rb") as handle:
        length = int.from_bytes(handle.read(_LENGTH), "little")
        if length > LARGEST:
            raise InputError(
                "Its table of contents is too long.",
                got=f"{length:,} bytes",
                expected=f"at most {LARGEST:,}",
                hint=_AGAIN,
            )
        content = handle.read(length)
    try:
        document: Any = parse_json(content.decode())
        if isinstance(document, dict):
            document.pop("__metadata__", None)
        table = _TABLE.validate_python(document)
    except (UnicodeDecodeError, JsonError, ValidationError) as error:
        raise InputError(
            "It is no file of safetensors.",
            got=first_reason(error) if isinstance(error, ValidationError) else brief(str(error)),
            expected="what erde writes",
            hint=_AGAIN,
        ) from error
    return {name: (entry.dtype, tuple(entry.shape)) for name, entry in table.items()}


def _described(tensor: torch.Tensor) -> tuple[str, _Shape]:
    return _DTYPES[tensor.dtype], tuple(tensor.shape)


def _words(found: tuple[str, _Shape] | None) -> str:
    return "nothing" if found is None else f"{found[0]} {list(found[1])}"[:200]
