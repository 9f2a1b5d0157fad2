"""A stand-in for a tensor that has sizes and no numbers, for `shapes.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from erde_cli.core.errors import UnsupportedOperatorError

Sizes = tuple[int, ...]

RULES: dict[Any, Callable[..., Any]] = {}  # operator of torch → what it makes of shapes


class Count:
    """Multiply-adds so far."""

    def __init__(self) -> None:
        self.macs = 0


def unsupported(name: str) -> UnsupportedOperatorError:
    """The error for an operator without a rule."""
    return UnsupportedOperatorError(
        f"Cannot count the multiply-adds of {name} from shapes.",
        expected="operators listed in erde_cli/core/models/library/shapes.py",
        hint="add a rule there",
    )


class Shape:
    """Stands for a tensor in a forward pass: its sizes, and the count of multiply-adds so far."""

    dtype = torch.float32
    device = torch.device("meta")
    requires_grad = False
    is_nested = False
    is_cuda = False

    def __init__(self, sizes: Sizes, count: Count) -> None:
        self.shape = sizes
        self.count = count

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Answer an operator of torch by its rule."""
        rule = RULES.get(func)
        if rule is None:
            raise unsupported(getattr(func, "__name__", str(func)))
        return rule(*args, **(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        """Refuse a method that has no rule; Python itself looks up names with underscores."""
        if name.startswith("_"):
            raise AttributeError(name)
        raise unsupported(name)

    def of(self, *sizes: int) -> Shape:
        """Another shape with the same count."""
        return Shape(sizes, self.count)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def dim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def size(self, dim: int | None = None) -> Any:
        """All sizes, or one."""
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> int:
        """Product of the sizes."""
        return prod(self.shape)

    def __getitem__(self, index: Any) -> Shape:
        items = index if isinstance(index, tuple) else (index,)
        if Ellipsis in [item for item in items if not isinstance(item, Tensor)]:
            at = items.index(Ellipsis)
            left_out = self.dim() - sum(item is not None for item in items) + 1
            items = (*items[:at], *[slice(None)] * left_out, *items[at + 1 :])
        rest = list(self.shape)
        sizes: list[int] = []
        for item in items:
            if item is None:
                sizes.append(1)
                continue
            size = rest.pop(0)
            if isinstance(item, slice):
                sizes.append(len(range(*item.indices(size))))
            elif not isinstance(item, int):  # a tensor of indices
                sizes += item.shape
        return self.of(*sizes, *rest)

    def __setitem__(self, index: Any, value: Any) -> None:
        pass

    def view(self, *sizes: Any) -> Shape:
        """Other sizes, one of which may be -1."""
        wanted = list(sizes[0] if isinstance(sizes[0], Sequence) else sizes)
        if -1 in wanted:
            known = prod(size for size in wanted if size != -1)
            wanted[wanted.index(-1)] = self.numel() // known
        return self.of(*wanted)

    reshape = view

    def permute(self, *dims: Any) -> Shape:
        """Dimensions in another order."""
        order = dims[0] if isinstance(dims[0], Sequence) else dims
        return self.of(*(self.shape[dim] for dim in order))

    def transpose(self, first: int, second: int) -> Shape:
        """Two dimensions exchanged."""
        sizes = list(self.shape)
        sizes[first], sizes[second] = sizes[second], sizes[first]
        return self.of(*sizes)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Shape:
        """Dimensions from one to another made one."""
        end = end_dim % self.dim() + 1
        merged = prod(self.shape[start_dim:end])
        return self.of(*self.shape[:start_dim], merged, *self.shape[end:])

    def mean(self, dim: Any = None, keepdim: bool = False) -> Shape:
        """Without some dimensions, or with a size of 1 in their place."""
        dims = [dim] if isinstance(dim, int) else list(dim)
        gone = {one % self.dim() for one in dims}
        kept = [1 if place in gone else size for place, size in enumerate(self.shape)]
        if not keepdim:
            kept = [size for place, size in enumerate(self.shape) if place not in gone]
        return self.of(*kept)

    def norm(self, p: int = 2, dim: Any = None, keepdim: bool = False) -> Shape:
        """Without some dimensions, or with a size of 1 in their place."""
        return self.mean(dim, keepdim)

    def chunk(self, chunks: int, dim: int = 0) -> list[Shape]:
        """Equal parts."""
        sizes = list(self.shape)
        sizes[dim] //= chunks
        return [self.of(*sizes)] * chunks

    def unbind(self, dim: int = 0) -> list[Shape]:
        """Parts without a dimension."""
        place = dim % self.dim()
        return [self.of(*self.shape[:place], *self.shape[place + 1 :])] * self.shape[place]

    def unsqueeze(self, dim: int) -> Shape:
        """With one more dimension of size 1."""
        place = dim % (self.dim() + 1)
        return self.of(*self.shape[:place], 1, *self.shape[place:])

    def new_zeros(self, sizes: Sequence[int]) -> Shape:
        """A tensor of other sizes."""
        return self.of(*sizes)

    def expand(self, *sizes: int) -> Shape:
        """A size of -1 stays."""
        before = [1] * (len(sizes) - self.dim()) + list(self.shape)
        return self.of(*(old if new == -1 else new for old, new in zip(before, sizes, strict=True)))

    def expand_as(self, other: Shape) -> Shape:
        """Sizes of another one."""
        return self.of(*other.shape)

    def _same(self, *args: Any, **kwargs: Any) -> Shape:
        return self

    contiguous = masked_fill = sigmoid = softmax = float = type_as = pow = exp = rsqrt = _same

    def _with(self, other: Any) -> Shape:
        return element_wise(self, other)

    __add__ = __radd__ = __iadd__ = __mul__ = __rmul__ = __imul__ = _with
    __sub__ = __rsub__ = __truediv__ = mul = _with
    __eq__ = __ne__ = _with  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]

    def __matmul__(self, other: Any) -> Any:
        return torch.matmul(self, other)  # type: ignore[arg-type]

    matmul = __matmul__


def broadcast(first: Sequence[int], second: Sequence[int]) -> Sizes:
    """Sizes of what two tensors make element by element."""
    length = max(len(first), len(second))
    padded = ([1] * (length - len(sizes)) + list(sizes) for sizes in (first, second))
    return tuple(max(one, other) for one, other in zip(*padded, strict=True))


def shape_among(*values: Any) -> Shape:
    """The first of some values that is a shape."""
    return next(value for value in values if isinstance(value, Shape))


def element_wise(first: Any, second: Any, **keys: Any) -> Shape:
    """What two values make element by element, free of multiply-adds."""
    known = shape_among(first, second)
    other = second if known is first else first
    sizes = getattr(other, "shape", ())
    if sizes == known.shape or not sizes:
        return known
    return known.of(*broadcast(known.shape, sizes))
