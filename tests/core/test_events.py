"""Several listeners hear the same; one that fails costs a warning and nothing else."""

import inspect
import signal
from pathlib import Path
from typing import Any

import pytest

from erde_cli.core.errors import InputError, StoppedError
from erde_cli.core.events import EVENTS, Listeners, Observer, named_listeners
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.workflows.options import Options, reported


class Heard(Observer):
    """Notes every event by its name, with what came with it."""

    def __init__(self) -> None:
        self.events: list[tuple[str, tuple[Any, ...]]] = []

    def __getattribute__(self, name: str) -> Any:
        if name not in EVENTS:
            return super().__getattribute__(name)
        return lambda *given, **named: self.events.append((name, (*given, *named.values())))


class Broken(Heard):
    def metrics(self, role: str, row: object) -> None:
        raise RuntimeError("no\nconnection")

    def __getattribute__(self, name: str) -> Any:
        return object.__getattribute__(self, name) if name == "metrics" else (
            super().__getattribute__(name)
        )  # fmt: skip


class Watched(Observer):
    shows_progress = True


def test_every_event_goes_to_every_listener_in_order() -> None:
    order: list[str] = []

    def named(name: str) -> Observer:
        return type(name, (Observer,), {"note": lambda self, text: order.append(name + text)})()

    Listeners(named("a"), named("b"), named("c")).note("!")
    assert order == ["a!", "b!", "c!"]
    one, two = Heard(), Heard()
    for event in EVENTS:
        count = len(inspect.signature(getattr(Observer, event)).parameters) - 1
        named_only = {"again": True} if event == "warning" else {}
        given = [f"{event} {index}" for index in range(count - len(named_only))]
        getattr(Listeners(one, two), event)(*given, **named_only)
        assert one.events[-1] == two.events[-1] == (event, (*given, *named_only.values()))
    assert {"run_started", "training_started", "metrics", "artifact", "ended"} <= set(EVENTS)


def test_progress_is_shown_where_anyone_shows_it() -> None:
    assert not Listeners(Observer(), Observer()).shows_progress
    assert Listeners(Watched(), Observer()).shows_progress
    assert Listeners(Observer(), Watched()).shows_progress


def test_a_listener_that_fails_is_named_once_and_left_out() -> None:
    shown, broken, last = Heard(), Broken(), Heard()
    told = Listeners(shown, broken, last)
    told.phase("Training")
    told.metrics("teacher", {"epoch": 1})
    told.metrics("teacher", {"epoch": 2})
    told.ended("finished")
    warning = "The listener Broken failed in metrics and receives no further events: RuntimeError"
    assert [name for name, _ in shown.events] == ["phase", "metrics", "warning", "metrics", "ended"]
    assert shown.events[2][1] == (f"{warning}: no connection",)
    assert [name for name, _ in broken.events] == ["phase"]
    assert [name for name, _ in last.events] == ["phase", "warning", "metrics", "metrics", "ended"]


def test_one_that_fails_on_warnings_as_well_ends_there() -> None:
    broken = type("Worse", (Observer,), {"warning": lambda self, message: 1 / 0})()
    shown = Heard()
    Listeners(shown, broken).warning("careful")
    assert [given[0][:19] for _, given in shown.events] == ["careful", "The listener Worse "]


def test_one_that_fails_while_another_is_named_is_told_nothing_more() -> None:
    first = type("First", (Observer,), {"note": lambda self, message: 1 / 0})()
    told: list[str] = []

    def warning(self: Observer, message: str, *, again: bool = False) -> None:
        raise RuntimeError

    methods = {"warning": warning, "note": lambda self, message: told.append(message)}
    second, shown = type("Second", (Observer,), methods)(), Heard()
    Listeners(shown, first, second).note("hello")
    assert told == []
    assert [name for name, _ in shown.events] == ["note", "warning", "warning"]


def test_what_a_listener_changes_changes_nothing_for_the_others() -> None:
    clears = {"metrics": lambda self, role, row: row.clear()}
    row, last = {"epoch": 1}, Heard()
    Listeners(Observer(), type("Clears", (Observer,), clears)(), last).metrics("teacher", row)
    assert row == {"epoch": 1}
    assert last.events == [("metrics", ("teacher", {"epoch": 1}))]


def test_errors_of_what_a_person_looks_at_are_not_swallowed() -> None:
    with pytest.raises(RuntimeError, match="connection"):
        Listeners(Broken(), Observer()).metrics("teacher", {})
    interrupting = type("Stop", (Observer,), {"note": lambda self, text: exec_interrupt()})()
    with pytest.raises(KeyboardInterrupt):
        Listeners(Observer(), interrupting).note("")


def exec_interrupt() -> None:
    raise KeyboardInterrupt


def test_listeners_are_named_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ERDE_LISTENERS", raising=False)
    assert named_listeners() == []
    monkeypatch.setenv("ERDE_LISTENERS", f"{__name__}:Heard, {__name__}:Broken,")
    assert [type(one) for one in named_listeners()] == [Heard, Broken]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_such_module:Tracker", "No module named"),
        (f"{__name__}:Nothing", "no attribute 'Nothing'"),
        ("collections:OrderedDict", "not an Observer"),
        (__name__, "not an Observer"),
        (f"{__name__}:exec_interrupt", None),
    ],
)
def test_a_wrong_name_is_told_at_once(
    name: str, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERDE_LISTENERS", name)
    if reason is None:
        with pytest.raises(KeyboardInterrupt):
            named_listeners()
        return
    with pytest.raises(InputError, match=reason) as caught:
        named_listeners()
    assert caught.value.got == name


@reported
def work(recipe: Recipe, run: Path, options: Options, error: BaseException | None = None) -> str:
    options.observer.note("work")
    if error is not None:
        raise error
    return "done"


@reported
def whole(recipe: Recipe, run: Path, options: Options) -> str:
    return work(recipe, run, options)


def test_a_run_is_told_once_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    recipe, heard = load_recipe("digits"), Heard()
    assert whole(recipe, run=tmp_path, options=Options("cpu", observer=heard)) == "done"
    (first, (folder, mapping)), *rest = heard.events
    assert (first, folder) == ("run_started", tmp_path)
    assert mapping == recipe.recorded()
    assert rest == [("note", ("work",)), ("ended", ("finished",))]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StoppedError("", signal=signal.SIGINT), "stopped"),
        (KeyboardInterrupt(), "stopped"),
        (InputError("", got="", expected="", hint=""), "failed"),
        (MemoryError(), "failed"),
    ],
)
def test_how_a_run_ended_is_told(error: BaseException, status: str, tmp_path: Path) -> None:
    heard = Heard()
    with pytest.raises(type(error)):
        work(load_recipe("digits"), tmp_path, Options("cpu", observer=heard), error)
    assert [name for name, _ in heard.events] == ["run_started", "note", "ended"]
    assert heard.events[-1][1] == (status,)
