"""Which trainings of a comparison wait for another one, so that every cached view is made once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from erde_cli.core.workflows.compare_networks import Key, Network


class Gates:
    """One gate for each cache of views. The first training behind it fills the cache.

    Others wait until it begins its first epoch, for which the cache must be filled.
    """

    def __init__(self) -> None:
        self._fills: dict[Hashable, Key] = {}
        self._filled: set[Hashable] = set()

    def lets_through(self, network: Network) -> bool:
        """Whether a training can start now."""
        return not any(gate in self._fills for gate in _gates(network))

    def starts(self, network: Network) -> None:
        """A training starts, and fills what is not filled."""
        for gate in _gates(network):
            if gate not in self._filled:
                self._fills[gate] = network.key

    def trains(self, network: Network) -> None:
        """A training begins its first epoch: its caches are filled."""
        own = self._own(network)
        self._filled |= own
        self._release(own)

    def ends(self, network: Network) -> None:
        """A training has ended, perhaps before it has filled its caches."""
        self._release(self._own(network))

    def _own(self, network: Network) -> set[Hashable]:
        return {gate for gate, key in self._fills.items() if key == network.key}

    def _release(self, gates: Iterable[Hashable]) -> None:
        for gate in gates:
            del self._fills[gate]


def views_first(network: Network, networks: Sequence[Network]) -> int:
    """Views of the teacher's logits that the first student computes for all that share them."""
    own = _logits(network)
    sharing = [one for one in networks if own is not None and _logits(one) == own]
    views = [
        min(one.recipe.kept_views("student") or 0, one.recipe.training.student.epochs)
        for one in sharing
    ]
    return max(views, default=0)


def _gates(network: Network) -> list[Hashable]:
    """The caches that a network reads. Those of other seeds are others, but for plain views."""
    recipe, role = network.recipe, network.role
    gates = [_logits(network)]
    if recipe.training_of(role).heads_only:
        seed = None if recipe.plain_view(role) else network.seed
        gates.append(("features", role, seed, *_setting(network)))
    return [gate for gate in gates if gate is not None]


def _logits(network: Network) -> Hashable:
    """The cache of the teacher's logits that a student reads; None if it reads none."""
    if not network.taught or network.recipe.kept_views("student") is None:
        return None
    return ("logits", network.seed, *_setting(network))


def _setting(network: Network) -> tuple[str, str]:
    """What of a student's own training decides the values."""
    training = network.recipe.training_of(network.role)
    return training.precision, training.memory_format
