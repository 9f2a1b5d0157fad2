"""Names and construction of the networks of torchvision and timm, without pretrained weights."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from difflib import get_close_matches
from importlib import import_module
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from erde_cli.core.errors import InputError, brief
from erde_cli.core.models.library import timm_kinds, torchvision_kinds
from erde_cli.core.models.library.kind import Kind
from erde_cli.core.platform.extras import require_extra
from erde_cli.core.platform.torchvision_import import torchvision_models
from erde_cli.core.recipe.packages import shadowing

_KINDS = {"torchvision": torchvision_kinds.KINDS, "timm": timm_kinds.KINDS}
LIBRARIES = tuple(_KINDS)

_ALLOCATE = {torch.empty, torch.zeros, torch.ones, torch.randn, torch.rand}
_COMPUTE = {torch.arange, torch.linspace, torch.full, torch.tensor}
_INITIALISE = {
    Tensor.normal_, Tensor.uniform_, Tensor.fill_, Tensor.zero_, Tensor.mul_, Tensor.add_,
    Tensor.erfinv_, Tensor.clamp_,
}  # fmt: skip
_SCALE = {Tensor.mul, Tensor.__mul__, Tensor.__rmul__, torch.log}
_INITIALISERS = [name for name in vars(nn.init) if name.endswith("_") and not name.startswith("_")]
_RESET = "reset_parameters"
_LAYERS = (nn.modules.conv._ConvNd, nn.Linear, nn.LayerNorm, nn.modules.batchnorm._NormBase)


def library_names(library: str) -> dict[str, str]:
    """Names of the networks that can be cut, each with the name of its kind.

    Args:
        library: "torchvision" or "timm".

    Raises:
        InputError: the library is not installed.
    """
    kinds = _KINDS[library]
    models = library_models(library)
    if library == "timm":
        return {name: kind for kind in kinds for name in models.list_models(module=kind)}
    builders = {name: models.get_model_builder(name) for name in models.list_models(module=models)}
    modules = {name: builder.__module__.split(".")[-1] for name, builder in builders.items()}
    return {name: module for name, module in modules.items() if module in kinds}


def library_network(
    name: str, classes: int | None, image_size: int, *, small_stem: bool = False
) -> tuple[nn.Module, Kind]:
    """Build a network with its library's constructor and fresh weights; also return its kind.

    Inside `torch.device("meta")` the weights need no memory, and no values are drawn.

    Args:
        name: `torchvision/` or `timm/` and a name in the library's own list.
        classes: replaces the last linear layer; None keeps the library's classes and layer.
        image_size: side of the images in pixels. Only vision transformers depend on it.
        small_stem: gives the strided convolution of the stem a stride of 1 and leaves out the
            pooling after it.

    Raises:
        InputError: erde cannot cut this network, its library is not installed, or it cannot be
            built with these arguments.
    """
    library, short, kind = _find(name)
    sized = {kind.sized: image_size} if kind.sized else {}
    build = _builder(library, short)
    try:
        network = _built(build, sized)
    except (AssertionError, ValueError) as error:  # the patches do not fill the image
        raise InputError(
            f"{name} cannot be built for images of this size.",
            got=f"image_size {image_size}: {brief(str(error))}",
            expected="a multiple of the side of its patches",
            hint="use an image_size such as 224, or another backbone",
        ) from error
    if any(module._non_persistent_buffers_set for module in network.modules()):
        raise InputError(
            f"{name} has constants that are not among its weights.",
            got="buffers that a state dict leaves out",
            expected="a network whose state dict is complete",
            hint="use another backbone",
        )
    if small_stem:
        _shrink_stem(network, kind, name)
    _replace_last(network, kind, name, classes)
    return network, kind


def library_models(library: str) -> Any:
    """The module that lists and builds the library's networks."""
    models = torchvision_models()  # also before timm, whose own import of torchvision can fail
    if library == "torchvision":
        return models
    require_extra("timm", "A backbone of timm")
    return import_module("timm")


def _builder(library: str, name: str) -> Callable[..., Any]:
    models = library_models(library)
    if library == "torchvision":
        builder: Callable[..., Any] = models.get_model_builder(name)
        return lambda **keys: builder(weights=None, **keys)
    return lambda **keys: models.create_model(name, pretrained=False, **keys)


def _find(name: str) -> tuple[str, str, Kind]:
    """Library, name in the library, and kind of a network."""
    library, slash, short = name.partition("/")
    if not slash or library not in _KINDS:
        near = [f"torchvision/{one}" for one in _near(name, "torchvision")]
        raise InputError(
            "The name of this backbone does not begin with a library.",
            got=brief(name),
            expected=" or ".join(f"{known}/NAME" for known in LIBRARIES),
            hint=f"write {' or '.join(near)}" if near else "write torchvision/resnet18",
        )
    kinds = library_names(library)
    if short not in kinds:
        near = [f"{library}/{one}" for one in _near(short, library)]
        raise InputError(
            f"erde cannot use a network of {library} with this name as a backbone."
            + shadowing(library),
            got=brief(name),
            expected=f"one of the {len(kinds)} names in {library}'s own list "
            f"of these kinds: {', '.join(_KINDS[library])}",
            hint=f"write {' or '.join(near)}" if near else f"write {library}/{next(iter(kinds))}",
        )
    return library, short, _KINDS[library][kinds[short]]


def _near(name: str, library: str) -> list[str]:
    plain = name[-100:].split("/")[-1].split(".")[0]  # without a path and a tag
    return get_close_matches(plain.lower(), library_names(library))


def _built(build: Callable[..., Any], sized: dict[str, int]) -> nn.Module:
    network: nn.Module
    if not torch.empty(0).is_meta:
        network = build(**sized)
        return network
    with nullcontext() if WeightsOnMeta.active else WeightsOnMeta():
        network = build(**sized)
    return network if all(buffer.is_meta for buffer in network.buffers()) else network.to("meta")


class WeightsOnMeta(TorchFunctionMode):
    """Allocate weights on the meta device and skip their initialisation.

    `torch.device("meta")` puts all tensors there, including those from which torchvision computes
    the widths of a RegNet. It takes longer: initialisers run on that device, and torch imports its
    compiler, a second's work, when it multiplies a tensor there.
    """

    active = False

    def __enter__(self) -> WeightsOnMeta:
        """Begin."""
        WeightsOnMeta.active = True
        owners = [*((nn.init, name) for name in _INITIALISERS), *((k, _RESET) for k in _LAYERS)]
        self._kept = [(owner, name, getattr(owner, name)) for owner, name in owners]
        for owner, name in owners:
            setattr(owner, name, _leave)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        """End."""
        WeightsOnMeta.active = False
        for owner, name, function in self._kept:
            setattr(owner, name, function)
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Choose the device of a new tensor, or skip an operator that only sets values."""
        kwargs = kwargs or {}
        if func in _INITIALISE:
            if args[0].is_meta:
                return args[0]
        elif func in _ALLOCATE:
            kwargs["device"] = kwargs.get("device") or "meta"
            func = torch.empty
        elif func is torch.tensor and isinstance(args[0], int):  # a norm's counter of batches
            return torch.empty((), dtype=torch.long, device="meta")
        elif func in _COMPUTE:
            kwargs["device"] = kwargs.get("device") or "cpu"
        elif func in _SCALE and args[0].is_meta and not any(map(torch.is_tensor, args[1:])):
            return torch.empty(args[0].shape, device="meta")
        return func(*args, **kwargs)


def _leave(tensor: Any, *args: Any, **keys: Any) -> Any:
    """In place of an initialiser."""
    return tensor


def _shrink_stem(network: nn.Module, kind: Kind, name: str) -> None:
    if not kind.stem:
        raise InputError(
            f"{name} has no strided stem, so it has no small one.",
            got="stem: small",
            expected="a network that begins with a strided convolution, such as a ResNet",
            hint="leave the stem as it is, or use another backbone",
        )
    modules = network.get_submodule(kind.stem).modules()
    strided = next(module for module in modules if isinstance(module, nn.Conv2d))
    strided.stride = (1, 1)
    if kind.pool:
        network.set_submodule(kind.pool, nn.Identity())


def _replace_last(network: nn.Module, kind: Kind, name: str, classes: int | None) -> None:
    last = network.get_submodule(kind.last)
    if classes is not None:
        known = isinstance(last, nn.Linear)
        inputs = last.in_features if known else network.head_hidden_size  # an Identity of timm
        network.set_submodule(kind.last, nn.Linear(cast(int, inputs), classes))
    elif not isinstance(last, nn.Linear):
        raise InputError(
            f"{name} has no classes of its own.",
            got="no number of classes",
            expected="a number of classes, for a new last layer",
            hint="train it on your own images, or use another backbone",
        )
