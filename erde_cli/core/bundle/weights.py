"""Load `model.safetensors` of a bundle; its header is checked before the network is built.

A small file cannot cause a large network: only tensors that the file contains are allocated.
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

_LENGTH = 8  # bytes before the header, which contain its length
_AGAIN = "copy the folder again, or train it again"
_DTYPES = {torch.float32: "F32", torch.int64: "I64"}

_Shape = tuple[int, ...]


class _Entry(BaseModel):
    dtype: str
    shape: list[Annotated[int, Field(ge=0)]]


_HEADER = TypeAdapter(dict[str, _Entry])


def load_network(path: Path, architecture: Architecture) -> EarlyExitNet:
    """The network of an architecture with the weights of a file, on the CPU.

    Raises:
        InputError: the weights do not fit the architecture.
        SafetensorError: the file is damaged.
    """
    stored = _read_header(path)
    if len(stored) < (architecture.depth or 1):
        raise InputError(
            "The file has fewer tensors than the network has layers.",
            got=str(len(stored)),
            expected=f"{architecture.depth} or more",
            hint=_AGAIN,
        )
    with torch.device("meta"):  # shapes without memory
        model = build_model(architecture)
    expected = {name: _described(tensor) for name, tensor in model.state_dict().items()}
    if stored != expected:
        names = {**stored, **expected}
        name = next(name for name in names if stored.get(name) != expected.get(name))
        raise InputError(
            "A tensor of the file does not match the network.",
            got=f"{name[:100]}: {_words(stored.get(name))}",
            expected=_words(expected.get(name)),
            hint=_AGAIN,
        )
    # Copied, because load_file maps the file into memory and the file can change.
    weights = {name: tensor.clone() for name, tensor in load_file(path).items()}
    model.load_state_dict(weights, assign=True)
    return model


def _read_header(path: Path) -> dict[str, tuple[str, _Shape]]:
    """Number format and shape of every tensor in a file."""
    with path.open("rb") as handle:
        length = int.from_bytes(handle.read(_LENGTH), "little")
        if length > LARGEST:
            raise InputError(
                "The header of the file is too long.",
                got=f"{length:,} bytes",
                expected=f"at most {LARGEST:,}",
                hint=_AGAIN,
            )
        content = handle.read(length)
    try:
        document: Any = parse_json(content.decode())
        if isinstance(document, dict):
            document.pop("__metadata__", None)
        entries = _HEADER.validate_python(document)
    except (UnicodeDecodeError, JsonError, ValidationError) as error:
        raise InputError(
            "The file is not a safetensors file.",
            got=first_reason(error) if isinstance(error, ValidationError) else brief(str(error)),
            expected="a file written by erde",
            hint=_AGAIN,
        ) from error
    return {name: (entry.dtype, tuple(entry.shape)) for name, entry in entries.items()}


def _described(tensor: torch.Tensor) -> tuple[str, _Shape]:
    return _DTYPES[tensor.dtype], tuple(tensor.shape)


def _words(tensor: tuple[str, _Shape] | None) -> str:
    return "nothing" if tensor is None else f"{tensor[0]} {list(tensor[1])}"[:200]
