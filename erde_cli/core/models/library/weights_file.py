"""Read a file of weights from outside: safetensors, or a state dict that PyTorch has saved."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from erde_cli.core.errors import InputError, brief
from erde_cli.core.storage.archives import require_plain_parts

_LONGEST_LICENSE = 200  # characters, as in bundle.json


@dataclass(frozen=True)
class WeightsFile:
    """Content of a file of weights.

    tensors: dense, on the CPU, by name, in the order of the file; mapped, not read, where the
    format allows it. in_order: whether that is the order of the network's modules; safetensors
    sorts the names. license: as the file states it; None: it states none.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    in_order: bool
    license: str | None


def read_weights(path: Path) -> WeightsFile:
    """Read a file of weights; no code in it runs.

    Raises:
        InputError: it is missing, or not a file of weights.
    """
    if not path.exists():
        raise InputError(
            f"The file of weights {path} does not exist.",
            expected="a safetensors file, or a state dict that PyTorch has saved",
            hint="correct weights in the recipe; the path is relative to the recipe",
        )
    if not path.is_file():  # a pipe or a device can be endless
        raise unusable(path, "a folder" if path.is_dir() else "not a regular file")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as opened:
                tensors, metadata = opened.get_tensors(), opened.metadata() or {}
            return WeightsFile(path, tensors, False, license_text(metadata.get("license")))
        is_zip = zipfile.is_zipfile(path)  # the format that can be mapped
        if is_zip:
            require_plain_parts(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except Exception as error:  # untrusted bytes can raise any exception
        reason = (str(error).splitlines() or [repr(error)])[0]
        # torch would advise to unpickle the file without restriction.
        if type(error).__name__ == "UnpicklingError" or "weights_only" in reason:
            reason = "not a state dict, or one with code in it"
        raise unusable(path, reason) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(map(torch.is_tensor, content.values())):
        raise unusable(path, f"a {type(content).__name__} that is not a state dict")
    odd = [name for name, tensor in content.items() if not _is_usual(name, tensor)]
    if odd:
        raise unusable(path, f"a tensor with another name or layout than a weight: {odd[0]}")
    return WeightsFile(path, dict(content), True, None)


def license_text(stated: Any) -> str | None:
    """A licence as its source states it; None if that is not a short printable text."""
    is_text = isinstance(stated, str) and stated.isprintable()
    return stated if is_text and 0 < len(stated) <= _LONGEST_LICENSE else None


def unusable(path: Path, got: str) -> InputError:
    """The error for a file whose content cannot be used."""
    return InputError(
        f"{path} is not a usable file of weights.",
        got=brief(got),
        expected="a safetensors file, or a state dict that PyTorch has saved, without code",
        hint="save the state dict of the network alone: torch.save(model.state_dict(), FILE)",
    )


def _is_usual(name: Any, tensor: Tensor) -> bool:
    """Whether a tensor is named by a text, dense, and not without values."""
    dense = tensor.layout == torch.strided and not tensor.is_nested
    return isinstance(name, str) and dense and tensor.device.type == "cpu"
