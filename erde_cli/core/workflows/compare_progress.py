"""Progress of several trainings at once, with one estimate of the time that all of them take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

from erde_cli.core.events import Observer
from erde_cli.core.workflows.compare_networks import Key, Network

_TITLE = "All trainings"
_WHOLE = 100_000  # parts of the bar


class CrewProgress:
    """Estimates the time left from the seconds that an epoch of each network has taken so far.

    Args:
        networks: those that are to be trained; others can turn out to be kept.
        workers: trainings at once.
        observer: receives the progress.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        workers: int,
        observer: Observer,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._left = {one.key: float(_epochs(one)) for one in networks}  # epochs
        self._networks = {one.key: one for one in networks}
        self._workers, self._observer, self._clock = workers, observer, clock
        self._start = clock()
        self._began: dict[Key, tuple[float, float]] = {}  # time, epochs that were left then
        self._of_label: dict[str, float] = {}  # seconds of an epoch
        self._shown = False

    def began(self, network: Network, epoch: int) -> None:
        """A training begins after `epoch` epochs."""
        self._left[network.key] = float(_epochs(network) - epoch)
        self._began[network.key] = self._clock(), self._left[network.key]

    def reached(self, network: Network, epochs: float) -> None:
        """A training has done `epochs` epochs, counted from its very beginning."""
        left = self._left[network.key] = max(0.0, _epochs(network) - epochs)
        since, before = self._began.get(network.key, (self._clock(), left))
        if before > left:
            self._of_label[network.label] = (self._clock() - since) / (before - left)
        self._show()

    def ended(self, network: Network) -> None:
        """A network is trained, kept or failed."""
        self._left[network.key] = 0.0
        self._show()

    def seconds_left(self) -> float | None:
        """Estimated seconds until all are trained; None before anything is known."""
        if not self._of_label:
            return None
        seconds = [left * self._seconds(self._networks[key]) for key, left in self._left.items()]
        return max(sum(seconds) / self._workers, *seconds, 0.0)

    def close(self) -> None:
        """Remove the progress from the display."""
        if self._shown:
            self._observer.progress(_TITLE, _WHOLE, _WHOLE)
            self._shown = False

    def _seconds(self, network: Network) -> float:
        """Seconds of an epoch: of the same student, or else the mean over all that are known."""
        known = self._of_label
        return known.get(network.label, sum(known.values()) / len(known))

    def _show(self) -> None:
        left, spent = self.seconds_left(), self._clock() - self._start
        if left:
            self._shown = True
            self._observer.progress(_TITLE, int(_WHOLE * spent / (spent + left)), _WHOLE)


def _epochs(network: Network) -> int:
    return network.recipe.training_of(network.role).epochs
