"""First weights of a library's network: the library's own, or those of a file.

Every tensor of the file must belong to the network and have its shape, and every tensor of the
network must be in the file. Only the last linear layer stays new, because the classes are others.
"""

from __future__ import annotations

import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import chain as chained
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from erde_cli.core.errors import DownloadError, InputError, brief
from erde_cli.core.models.architecture import Architecture
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.library.chains import chain_of
from erde_cli.core.models.library.networks import WeightsOnMeta, library_models, library_network
from erde_cli.core.recipe.sections.network import Network
from erde_cli.core.storage.archives import require_plain_parts
from erde_cli.core.storage.files import digest_of_file

_COUNTER = "num_batches_tracked"  # of a norm: no weight, and missing from many files
_NAMED = 3  # tensors in a message


@dataclass(frozen=True)
class FirstWeights:
    """Where a network's first weights come from.

    source: of the library: the name of its weights; else the name of the file. sha256: of the
    file. tensors: number of tensors taken from it.
    """

    source: str
    sha256: str
    tensors: int

    def to_json(self) -> dict[str, Any]:
        """Form in `bundle.json`."""
        return asdict(self)


def library_normalisation(name: str) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel that the library's own weights expect."""
    library, _, short = name.partition("/")
    models = library_models(library)
    if library == "timm":
        settings = models.get_pretrained_cfg(short) or models.get_pretrained_cfg("resnet18")
        return list(settings.mean), list(settings.std)
    transforms = models.get_model_weights(short).DEFAULT.transforms()
    return list(transforms.mean), list(transforms.std)


def load_first_weights(
    model: EarlyExitNet, architecture: Architecture, network: Network
) -> FirstWeights:
    """Replace the weights of a new network by the library's, or by those of a file.

    Args:
        model: built from `architecture`; early heads and the last linear layer stay as they are.
        architecture: its backbone is a library's network.
        network: section of the recipe, with `pretrained` or `weights`.

    Raises:
        InputError: the file cannot be read, or a tensor is missing, unexpected or of another shape.
        DownloadError: the library's weights cannot be downloaded.
    """
    if network.pretrained:
        path, source = _own_weights(architecture.backbone)
    else:
        path = Path(network.weights or "")
        source = path.name
    tensors = _read(path)
    with WeightsOnMeta():
        original, kind = library_network(
            architecture.backbone, architecture.classes, architecture.image_size,
            small_stem=architecture.stem == "small",
        )  # fmt: skip
    state = original.state_dict()
    taken = OrderedDict(_matched(tensors, state, kind.last, path, network.match))
    # Versions of the modules, which MNASNet looks up; other versions have other shapes.
    taken._metadata = state._metadata  # type: ignore[attr-defined]
    original.load_state_dict(taken, strict=False, assign=True)
    backbone = chain_of(original, kind)
    blocks = chained.from_iterable(stage.children() for stage in model.stages)
    for target, loaded in zip(
        [*blocks, model.heads[-1]], [*backbone.blocks, backbone.classifier], strict=True
    ):
        _copy(loaded, target)
    return FirstWeights(source, digest_of_file(path), len(taken))


@torch.no_grad()
def _copy(source: nn.Module, target: nn.Module) -> None:
    """Copy all tensors that were loaded; the others are on the meta device."""
    state = target.state_dict()
    for name, tensor in source.state_dict().items():
        if not tensor.is_meta:
            state[name].copy_(tensor)


def _own_weights(name: str) -> tuple[Path, str]:
    """File and name of the library's own weights; downloads them if the file is missing.

    Raises:
        InputError: the library is timm, or the file is not the published one.
        DownloadError: there is no connection.
    """
    library, _, short = name.partition("/")
    if library == "timm":
        raise InputError(
            "erde does not download weights of timm.",
            got=f"pretrained: true, backbone: {name}",
            expected="weights: FILE",
            hint=f"download model.safetensors of https://huggingface.co/timm/{short}, and write "
            "weights: model.safetensors instead of pretrained: true",
        )
    weights = library_models(library).get_model_weights(short).DEFAULT
    path = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    published = re.search(r"-([0-9a-f]{8,})\.", path.name)
    prefix = published.group(1) if published else ""
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(weights.url, str(path), prefix, progress=False)
        except (URLError, OSError, RuntimeError) as error:
            raise DownloadError(
                f"The weights of {name} cannot be downloaded: {brief(str(error))}.",
                expected=f"a connection to {weights.url}, or that file at {path}",
                hint=f"download {weights.url} on another machine, and put it at {path}",
            ) from error
    if not digest_of_file(path).startswith(prefix):
        raise InputError(
            f"{path} is not the published file.",
            got=f"a SHA-256 that does not begin with {prefix}",
            expected=f"the file at {weights.url}",
            hint="delete the file; erde downloads it again",
        )
    return path, f"torchvision {weights}"


def _read(path: Path) -> dict[str, Tensor]:
    """Tensors of a file by name, in its order; the file is mapped where its format allows it.

    Raises:
        InputError: it is missing, or not a file of weights.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        is_zip = zipfile.is_zipfile(path)  # the format that can be mapped
        if is_zip:
            require_plain_parts(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except FileNotFoundError as error:
        raise InputError(
            f"The file of weights {path} does not exist.",
            expected="a safetensors file, or a state dict that PyTorch has saved",
            hint="correct weights in the recipe; the path is relative to the recipe",
        ) from error
    except Exception as error:  # untrusted bytes can raise any exception
        reason = (str(error).splitlines() or [repr(error)])[0]
        # torch would advise to unpickle the file without restriction.
        if type(error).__name__ == "UnpicklingError" or "weights_only" in reason:
            reason = "not a state dict, or one with code in it"
        raise _unusable(path, reason) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(map(torch.is_tensor, content.values())):
        raise _unusable(path, f"a {type(content).__name__} that is not a state dict")
    return dict(content)


def _unusable(path: Path, got: str) -> InputError:
    return InputError(
        f"{path} is not a usable file of weights.",
        got=brief(got),
        expected="a safetensors file, or a state dict that PyTorch has saved, without code",
        hint="save the state dict of the network alone: torch.save(model.state_dict(), FILE)",
    )


def _matched(
    tensors: Mapping[str, Tensor], state: Mapping[str, Tensor], last: str, path: Path, match: str
) -> dict[str, Tensor]:
    """Tensors of the file by their names in the network, without the last linear layer.

    Raises:
        InputError: tensors are missing, unexpected or of another shape; the first ones are named.
    """
    if match == "order":
        tensors = _in_order(tensors, state, path)
    own = {name: tensor for name, tensor in state.items() if not name.startswith(f"{last}.")}
    given = {name: one for name, one in tensors.items() if not name.startswith(f"{last}.")}
    missing = [name for name in own if name not in given and not name.endswith(_COUNTER)]
    unexpected = [name for name in given if name not in own]
    reshaped = [
        f"{name} {list(given[name].shape)}, expected {list(own[name].shape)}"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    if any(problems.values()):
        raise InputError(
            f"The tensors of {path} are not those of the network.",
            got="; ".join(
                brief(f"{len(names)} {what}: {', '.join(names[:_NAMED])}")
                for what, names in problems.items()
                if names
            ),
            expected=f"the {len(own)} tensors of the backbone, each with its shape",
            hint="use the file of this network; match: order takes other names in the same order",
        )
    floats = {name: one.float() if one.is_floating_point() else one for name, one in given.items()}
    if not all(bool(one.isfinite().all()) for one in floats.values()):
        raise _unusable(path, "numbers that are not finite")
    return floats


def _in_order(
    tensors: Mapping[str, Tensor], state: Mapping[str, Tensor], path: Path
) -> dict[str, Tensor]:
    """Give the tensors of a file the names of the network's, one after the other."""
    values = [tensor for tensor in tensors.values() if tensor.dim()]  # counters have no dimension
    names = [name for name, tensor in state.items() if tensor.dim()]
    if len(values) != len(names):
        raise InputError(
            f"The number of tensors in {path} is not that of the network.",
            got=f"{len(values)}, not counting {_COUNTER}",
            expected=str(len(names)),
            hint="use a file of this network",
        )
    return dict(zip(names, values, strict=True))
