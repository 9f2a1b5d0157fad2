"""Which epochs a tracker receives when a training resumes."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from erde_cli.core.arrays import ImageArray
from erde_cli.core.events import Observer, Role, Status
from erde_cli.core.tracking.contents import Parameter
from erde_cli.core.tracking.destination import Destination
from erde_cli.core.tracking.listener import TrackerListener, WorkedOn
from erde_cli.core.tracking.trackers import TRACKERS


class Small(TrackerListener):
    """A tracker that keeps the epochs in a list, and replaces those that are sent again."""

    rewinds = True
    losses: dict[int, float]
    after = -1

    def begin(self, on: WorkedOn, earlier: str | None) -> str:
        self.losses = {}
        return earlier or "first"

    def begin_role(self, role: Role, epoch: int, setting: Mapping[str, Parameter]) -> None:
        self.after = epoch

    def send_epoch(self, role: Role, epoch: int, figures: Mapping[str, float]) -> None:
        assert epoch not in self.losses
        self.losses[epoch] = figures["loss"]

    def send_figures(self, figures: Mapping[str, float]) -> None: ...

    def send_picture(self, name: str, pixels: ImageArray) -> None: ...

    def end(self, status: Status) -> None: ...


class Strict(Observer):
    def warning(self, message: str) -> None:
        raise AssertionError(message)


def training(run: Path, finished: int, epochs: int) -> Small:
    """A tracker of a training that resumes after `finished` epochs and ends after `epochs`."""
    rows = [{"epoch": epoch, "loss": epoch / 8} for epoch in range(1, epochs + 1)]
    logs = run / "logs/student"
    logs.mkdir(parents=True, exist_ok=True)
    (logs / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:finished]))
    found = Small(TRACKERS["tensorboard"], Destination(), run, Strict())
    found.run_started(run, {"name": "digits"})
    found.training_started("student", finished)
    for row in rows[finished:]:
        found.metrics("student", row)
    return found


def received(run: Path, epochs: dict[str, int] | None = None) -> dict[str, int]:
    """The kept epochs, which are replaced by `epochs` if given."""
    path = run / "logs/trackers.json"
    document = json.loads(path.read_text())
    found: dict[str, int] = document["runs"]["tensorboard"]["epochs"]
    if epochs is not None:
        document["runs"]["tensorboard"]["epochs"] = epochs
        path.write_text(json.dumps(document))
    return found


@pytest.mark.parametrize(
    ("kept", "sent"),
    [({"student": 3}, [4]), ({"student": 2}, [3, 4]), ({"teacher": 3}, [1, 2, 3, 4])],
)
def test_an_epoch_that_was_saved_and_not_sent_is_sent_first(
    kept: dict[str, int], sent: list[int], tmp_path: Path
) -> None:
    training(tmp_path, 0, 3)
    assert received(tmp_path, kept) == {"student": 3}
    found = training(tmp_path, 3, 4)
    assert found.losses == {epoch: epoch / 8 for epoch in sent}
    assert found.after == sent[0] - 1
    assert received(tmp_path) == {**kept, "student": 4}
    assert training(tmp_path, 4, 4).losses == {}


def test_a_training_killed_after_its_last_epoch_was_saved_sends_it(tmp_path: Path) -> None:
    training(tmp_path, 0, 2)
    received(tmp_path, {"student": 1})
    assert training(tmp_path, 2, 2).losses == {2: 0.25}
    assert received(tmp_path) == {"student": 2}


def test_a_training_that_starts_again_and_is_killed_sends_all_epochs(tmp_path: Path) -> None:
    training(tmp_path, 0, 3)
    assert training(tmp_path, 0, 0).after == 0
    assert training(tmp_path, 1, 2).losses == {1: 0.125, 2: 0.25}
