"""The trackers of --track: names, addresses, and what is sent of a recipe and of results."""

import pytest

from erde_cli.core.errors import InputError
from erde_cli.core.tracking.contents import of_epoch, of_report, parameters
from erde_cli.core.tracking.destination import Destination
from erde_cli.core.tracking.trackers import TRACKERS, read_tracks


@pytest.mark.parametrize(
    ("address", "shown", "user", "password"),
    [
        ("https://host/path", "https://host/path", "", ""),
        ("https://me:s%2Fcret@host:8080/path", "https://host:8080/path", "me", "s/cret"),
        ("https://token@host", "https://host", "token", ""),
        ("postgresql://me:p@ss@host/db?password=other#x", "postgresql://host/db", "me", "p@ss"),
        ("databricks://scope:prefix", "databricks://scope:prefix", "", ""),
        ("sqlite:////home/me@work/a.db", "sqlite:////home/me@work/a.db", "", ""),
        ("runs/boards", "runs/boards", "", ""),
        ("runs/12:30", "runs/12:30", "", ""),
        ("C:\\runs", "C:\\runs", "", ""),
        ("c:/runs", "c:/runs", "", ""),
        ("sqlite:////data/a.db", "sqlite:////data/a.db", "", ""),
        ("", "", "", ""),
    ],
)
def test_an_address_is_shown_without_its_credentials(
    address: str, shown: str, user: str, password: str
) -> None:
    found = Destination.read(address)
    assert (found.shown, found.user, found.password) == (shown, user, password)
    assert found.full == address
    assert found.hide(f"no host at {address}.") == f"no host at {shown}."
    for secret in filter(None, ("s%2Fcret", "s/cret", "token", "p@ss", "other")):
        if secret in address:
            assert secret not in found.hide(f"{secret} and {address}/x and {secret}")
            assert secret not in repr(found)


def test_no_value_of_a_query_or_fragment_is_shown() -> None:
    found = Destination.read("https://host?bare&key=a%2Fb&ssl=other#z=part")
    assert found.shown == "https://host"
    assert found.hide("bare a%2Fb a/b other part") == "*** *** *** *** ***"


def test_every_tracker_is_read_with_and_without_an_address() -> None:
    for name, tracker in TRACKERS.items():
        assert read_tracks([name]) == ((tracker, Destination()),)
        [(found, destination)] = read_tracks([tracker.example])
        assert found is tracker
        assert destination.shown == tracker.example.partition(":")[2]
    assert [tracker.name for tracker, _ in read_tracks(list(TRACKERS))] == list(TRACKERS)
    assert read_tracks([]) == ()


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("wandb:https://me:secret@", "https:"),
        ("tensorboard:https://me:secret@host", "https://host"),
        ("wandb:ftp://me:secret@host", "ftp://host"),
        ("wandb:team/project", "team/project"),
        ("mlflow:", "nothing"),
        ("mlflow: ", "nothing"),
        ("mlflow:https://me:secret@[host", "***"),
        ("https://me:secret@host", "'https'"),
        ("mlflow-skinny:https://me:secret@host", "'mlflow-skinny'"),
        ("secret@host", "***"),
        *(
            (f"{name}:{address}", "***")
            for name in TRACKERS
            for address in (
                "api:secret@host", "api:secret", ":secret", "secret@host", "u:secret/team",
                "https:/u:secret@h", "https:secret@h", "me:secret@https://host",
                "https:///u:secret@h", "https://me:se/secret@h", "https://me:12?secret@h",
                "https://me:12#secret@h", "https://api:secret", "https://u:x@h/secret@host",
                "a/u:secret://host",
            )
        ),
    ],
)  # fmt: skip
def test_no_message_repeats_a_credential(text: str, got: str) -> None:
    with pytest.raises(InputError) as caught:
        read_tracks([text])
    assert got in caught.value.got
    assert "secret" not in str(caught.value)


def test_a_recipe_becomes_flat_and_tells_no_folder() -> None:
    recipe = {
        "name": "digits",
        "seed": 3,
        "data": {"root": "photos/of patients", "crop": None, "flip": True},
        "teacher": {"weights": "/data/me/first.pt", "exits": [2, 4], "depth": 14},
        "other": "~/mine",
    }
    assert parameters(recipe) == {
        "name": "digits", "seed": 3, "data.root": "of patients", "data.flip": True,
        "teacher.weights": "first.pt", "teacher.exits": "[2, 4]", "teacher.depth": 14,
        "other": "mine",
    }  # fmt: skip


def test_an_epoch_has_a_figure_for_each_exit_and_no_other_values() -> None:
    row = {
        "epoch": 3, "loss": 0.5, "kd": [1, 2.5], "entropy_teacher_wrong": [None, 0.25],
        "collapsed": [0, 2], "skipped_steps": 0,
    }  # fmt: skip
    assert of_epoch(row) == {
        "loss": 0.5, "kd/exit_0": 1.0, "kd/exit_1": 2.5, "entropy_teacher_wrong/exit_1": 0.25,
        "collapsed_exits": 2.0, "skipped_steps": 0.0,
    }  # fmt: skip


def test_a_report_gives_its_figures_and_nothing_of_the_classes(report: dict[str, object]) -> None:
    found = of_report(report)
    student = report["student"]
    assert isinstance(student, dict)
    assert found["report/student/accuracy"] == student["accuracy"]
    assert found["report/student/exit_rate/exit_1"] == student["exits"][1]["exit_rate"]
    assert found["report/macs_ratio"] == report["macs_ratio"]
    assert found["report/accuracy_drop_low"] == report["accuracy_drop_interval"][0]  # type: ignore[index]
    assert not [name for name in found if "class" in name or "data" in name]
