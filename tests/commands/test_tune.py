"""`erde tune` by the real command line: what it measures, what it says, what it leaves alone."""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from erde_cli.core import device as core_context
from erde_cli.core.errors import InputError
from erde_cli.core.measurement import training_speed as core_tuning
from erde_cli.core.measurement import training_speed_process as tuning_process
from erde_cli.core.measurement.training_speed import Candidate, Speeds
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.workflows import tune as workflow
from erde_cli.core.workflows import tune_worker
from erde_cli.core.workflows.tune import RoleTuned, Tuned, count_classes

from ..conftest import TINY, Cli, JsonOf

QUICK = ("--steps", 1, "--repeats", 3)
NOW = Candidate("float32", "contiguous", 1)
# Stands for a worker: in float16 it crashes in channels last, and says why it cannot in contiguous
# layout; it never answers in contiguous bfloat16; else it answers.
STAND_IN = """
asked = json.loads(sys.stdin.readline())["candidate"]
for line in sys.stdin:
    way = (asked["precision"], asked["memory_format"])
    if way == ("float16", "channels_last"):
        __import__("os").abort()
    if way == ("bfloat16", "contiguous"):
        __import__("time").sleep(60)
    said = {"failed": "no [b]arithmetic"} if way[0] == "float16" else {"images_per_second": 7}
    print(json.dumps(said), flush=True)
"""


@pytest.fixture(autouse=True)
def _threads_are_left_as_they_were() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == before


@pytest.fixture
def float32_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "PRECISIONS", ("float32",))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning_process, "_SERVE", STAND_IN)
    monkeypatch.setattr(core_tuning, "_LEAST", 1.5)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_both_networks_are_measured_in_either_layout_and_nothing_is_written(
    tiny_recipe: Path, tmp_path: Path, json_of: JsonOf, monkeypatch: pytest.MonkeyPatch,
    float32_only: None,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    before = snapshot(tiny_recipe.parent)
    roles = ("teacher", "student")
    sets = [part for role in roles for part in ("--set", f"training.{role}.precision=float32")]
    found = json_of("tune", tiny_recipe, *QUICK, "--threads", "1", *sets)
    assert set(found) == {"recipe", "device", "steps", "repeats", "yaml", "roles"}
    assert (found["recipe"], found["device"], found["steps"]) == ("tiny", "cpu", 1)
    assert tuple(found["roles"]) == roles
    for role in found["roles"].values():
        assert set(role) == {
            "batch_size", "classes", "candidates", "skipped", "clear_gain", "change", "threads",
        }  # fmt: skip
        assert (role["batch_size"], role["classes"]) == (64, 10)
        ways = {(one["precision"], one["memory_format"]) for one in role["candidates"]}
        assert ways == {("float32", "contiguous"), ("float32", "channels_last")}
        [now] = [one for one in role["candidates"] if one["now"]]
        assert now["factor"] == {"median": 1.0, "low": 1.0, "high": 1.0}
        assert len([one for one in role["candidates"] if one["best"]]) == 1
        for one in role["candidates"]:
            speed = one["images_per_second"]
            assert 0 < speed["low"] <= speed["median"] <= speed["high"]
            assert (one["threads"], one["compile"]) == (1, False)
        assert bool(role["change"]) <= role["clear_gain"]
        assert role["threads"] is None
    [now] = [one for one in found["roles"]["teacher"]["candidates"] if one["now"]]
    assert (now["precision"], now["memory_format"]) == ("float32", "channels_last")
    assert snapshot(tiny_recipe.parent) == before
    assert list(tmp_path.iterdir()) == []


def test_the_table_marks_the_best_and_says_what_to_do(
    tiny_recipe: Path, cli: Cli, float32_only: None
) -> None:
    code, out, err = cli("tune", tiny_recipe, *QUICK, "--threads", "1", "--role", "student")
    assert code == 0, err
    assert "Training steps of the student, batch 64, cpu" in out
    assert "teacher" not in out
    for part in ("images/s (low to high)", "factor", "float32 channels_last", "best", "1.00"):
        assert part in out, part
    verdicts = ("Leave them", "keep the recipe", "add to the recipe: training: {student: {")
    assert any(verdict in out for verdict in verdicts)
    assert "Measuring training steps of the student" in err


def test_quiet_is_quiet(tiny_recipe: Path, cli: Cli, stand_in: None, float32_only: None) -> None:
    code, _, err = cli("tune", tiny_recipe, *QUICK, "--threads", "1", "--quiet")
    assert (code, err) == (0, "")


def test_the_recipes_own_settings_are_what_the_others_are_compared_with(
    tiny_recipe: Path, json_of: JsonOf, stand_in: None, float32_only: None
) -> None:
    found = json_of(
        "tune", tiny_recipe, *QUICK, "--role", "teacher", "--threads", "1",
        "--set", "training.teacher.precision=bfloat16",
    )  # fmt: skip
    candidates = found["roles"]["teacher"]["candidates"]
    assert [(one["precision"], one["now"]) for one in candidates] == [
        ("bfloat16", True), ("float32", False), ("float32", False),
    ]  # fmt: skip


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_every_candidate_trains_in_its_own_way(
    tiny_recipe: Path, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, seen = tune_worker.build_model, []

    def spy(*given: Any) -> Any:
        model = build(*given)
        first = next(m for m in model.modules() if isinstance(m, torch.nn.Conv2d))
        first.register_forward_hook(
            lambda _, inputs, output: seen.append(
                (output.dtype, output.is_contiguous(memory_format=torch.channels_last))
            )
        )
        return model

    monkeypatch.setattr(tune_worker, "build_model", spy)
    recipe = load_recipe(str(tiny_recipe))
    for precision in ("float32", "bfloat16", "float16"):
        for layout in ("contiguous", "channels_last"):
            seen.clear()
            candidate = Candidate(precision, layout, 1)
            run = tune_worker.training(tune_worker.request(recipe, role, "cpu", 10, candidate))
            assert run(2) > 0
            assert set(seen) == {(getattr(torch, precision), layout == "channels_last")}


def answers_of(recipe: Path, candidate: Candidate) -> list[dict[str, Any]]:
    """What a worker says when it is asked for one step, and for one more."""
    asked = tune_worker.request(load_recipe(str(recipe)), "student", "cpu", 10, candidate)
    lines = [json.dumps(one) for one in (asked, {"steps": 1}, {"steps": 1})]
    said = io.StringIO()
    tune_worker.answer_requests(lines, said)
    return [json.loads(line) for line in said.getvalue().splitlines()]


def test_a_worker_answers_each_request_with_a_speed(tiny_recipe: Path) -> None:
    said = answers_of(tiny_recipe, NOW)
    assert [set(one) for one in said] == [{"images_per_second"}] * 2
    assert all(one["images_per_second"] > 0 for one in said)


def test_a_worker_says_in_one_line_why_it_cannot(
    tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def unsupported_reason(device: torch.device, precision: str, layout: str) -> str:
        return "no such arithmetic" if precision == "float16" else ""

    monkeypatch.setattr(core_context, "unsupported_reason", unsupported_reason)
    [said, _] = answers_of(tiny_recipe, Candidate("float16", "contiguous", 1))
    assert said == {
        "failed": "The device cpu cannot train in float16, contiguous: no such arithmetic"
    }

    def lacking(_: object) -> None:
        raise InputError("torch.compile does not work here: no compiler")

    monkeypatch.setattr(tune_worker, "require_compiler", lacking)
    [said, _] = answers_of(tiny_recipe, Candidate("float32", "contiguous", 1, compile=True))
    assert said == {"failed": "torch.compile does not work here: no compiler"}

    def broken(*_: object) -> None:
        raise RuntimeError("out of memory\nat line 3")

    monkeypatch.setattr(tune_worker, "train_step", broken)
    assert answers_of(tiny_recipe, NOW) == [{"failed": "out of memory"}] * 2


def test_a_candidate_that_crashes_or_hangs_is_a_row_and_the_rest_goes_on(
    tiny_recipe: Path, cli: Cli, stand_in: None
) -> None:
    arguments = (
        "tune", tiny_recipe, *QUICK, "--role", "student", "--threads", "1",
        "--set", "training.student.precision=float32",
    )  # fmt: skip
    code, out, err = cli(*arguments, "--json")
    assert code == 0, err
    role = json.loads(out)["roles"]["student"]
    reasons = {(one["precision"], one["memory_format"]): one["reason"] for one in role["skipped"]}
    assert reasons == {
        ("float16", "contiguous"): "no [b]arithmetic",
        ("float16", "channels_last"): "crashed, signal 6",
        ("bfloat16", "contiguous"): "no answer within 1.5 s",
    }
    assert [one["images_per_second"]["median"] for one in role["candidates"]] == [7, 7, 7]
    code, out, _ = cli(*arguments)
    assert code == 0
    for reason in ("crashed, signal 6", "no [b]arithmetic"):
        [row] = [line for line in out.splitlines() if reason in line]
        assert "float16" in row


def test_where_the_recipes_own_settings_fail_another_way_is_named(
    tiny_recipe: Path, cli: Cli, stand_in: None
) -> None:
    arguments = (
        "tune", tiny_recipe, *QUICK, "--role", "student", "--threads", "1",
        "--set", "training.student.precision=float16",
        "--set", "training.student.memory_format=contiguous",
    )  # fmt: skip
    code, out, err = cli(*arguments)
    assert code == 0, err
    assert "The recipe's own settings cannot be measured: no [b]arithmetic." in out
    assert "add to the recipe: training: {student: {precision:" in out
    code, out, _ = cli(*arguments, "--json")
    assert {one["factor"] for one in json.loads(out)["roles"]["student"]["candidates"]} == {None}


def test_heads_that_are_trained_alone_have_no_steps_to_tune(tmp_path: Path, cli: Cli) -> None:
    settings = "{backbone: torchvision/resnet18, pretrained: true, exits: 2}"
    training = "{epochs: 1, train: heads}"
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"data: {{dataset: digits, image_size: 32}}\nteacher: {settings}\nstudent: {settings}\n"
        f"training: {{teacher: {training}, student: {training}}}\n"
    )
    code, _, err = cli("tune", path)
    assert code == 2
    assert "nothing to tune" in err
    assert "training.student.train: heads" in err


def test_a_device_that_is_not_there_is_told_before_any_process_starts(
    tiny_recipe: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning_process, "Popen", lambda *_, **__: pytest.fail("started"))
    assert cli("tune", tiny_recipe, "--device", "toaster")[0] == 2


@pytest.mark.parametrize("command", ["train-teacher", "run", "tune"])
def test_float16_where_the_device_cannot_is_told_before_any_image_is_read(
    command: str, folder_recipe: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    for image in (folder_recipe.parent / "images/train/dark").iterdir():
        image.write_bytes(b"broken")  # read first, this would be the error

    def unsupported_reason(device: torch.device, precision: str, layout: str) -> str:
        return "no 'Half' here" if precision == "float16" else ""

    monkeypatch.setattr(core_context, "unsupported_reason", unsupported_reason)
    where = () if command == "tune" else ("--out", tmp_path / "run")
    arguments = (command, folder_recipe, *where, "--json")
    code, out, err = cli(*arguments, "--set", "training.teacher.precision=float16")
    assert code == 2
    assert (
        "cannot train in float16, channels_last: no 'Half' here"
        in json.loads(out)["error"]["message"]
    )
    assert "Traceback" not in err


def test_what_the_student_cannot_do_is_told_before_the_teacher_is_trained(
    tiny_recipe: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_context, "compile_failure", lambda _: "No working C++ compiler")
    code, out, _ = cli(
        "run", tiny_recipe, "--out", tmp_path / "run", "--json",
        "--set", "training.student.compile=true",
    )  # fmt: skip
    assert code == 2
    error = json.loads(out)["error"]
    assert "No working C++ compiler" in error["message"]
    assert "compile: false" in error["hint"]
    assert not (tmp_path / "run" / "teacher").exists()


def test_a_run_in_float16_says_so_in_its_logs(
    tiny_recipe: Path, tmp_path: Path, json_of: JsonOf
) -> None:
    changes = ("--set", "training.student.precision=float16", "--set", "training.student.epochs=1")
    layout = ("--set", "training.student.memory_format=contiguous")
    few = ("--set", "training.teacher.epochs=1")
    json_of("run", tiny_recipe, "--out", tmp_path, *changes, *layout, *few)
    written = json.loads((tmp_path / "logs/student/context.json").read_text())
    assert (written["precision"], written["memory_format"]) == ("float16", "contiguous_format")


def tuned(**figures: Any) -> Tuned:
    speeds = Speeds({NOW: [10, 11, 12], **figures["found"]}, {})
    return Tuned("mine", "cpu", 1, 3, {"teacher": RoleTuned(64, 10, NOW, speeds)})


@pytest.mark.parametrize(
    ("best", "change", "threads"),
    [
        (Candidate("bfloat16", "channels_last", 1),
         {"precision": "bfloat16", "memory_format": "channels_last"}, None),
        (Candidate("float32", "channels_last", 2),
         {"precision": "float32", "memory_format": "channels_last"}, 2),
        (Candidate("float32", "contiguous", 1, compile=True), {"compile": True}, None),
        (Candidate("float32", "contiguous", 4), {}, 4),
    ],
)  # fmt: skip
def test_a_clear_gain_becomes_lines_that_a_recipe_takes(
    best: Candidate, change: dict[str, Any], threads: int | None, tmp_path: Path
) -> None:
    found = tuned(found={best: [20, 21, 22]})
    assert found.roles["teacher"].change == change
    assert found.roles["teacher"].threads == threads
    if not change:
        assert found.yaml is None
        return
    document = yaml.safe_load(TINY)
    line = yaml.safe_load(found.yaml or "")
    document["training"]["teacher"].update(line["training"]["teacher"])
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(document))
    settings = load_recipe(str(path)).training.teacher
    assert {key: getattr(settings, key) for key in change} == change


def test_a_gain_within_the_spread_changes_nothing() -> None:
    found = tuned(found={Candidate("bfloat16", "channels_last", 2): [11, 12, 14]})
    assert found.yaml is None
    assert found.roles["teacher"].change == {}
    assert found.roles["teacher"].threads is None


def test_threads_are_1_half_and_all_and_always_what_is_used_now(tiny_recipe: Path) -> None:
    recipe = load_recipe(str(tiny_recipe))
    options = workflow.Options("cpu")
    own, cores = torch.get_num_threads(), os.cpu_count() or 1
    found = workflow._candidates(recipe, "teacher", options, None, False)
    assert {one.threads for one in found} == {1, max(1, cores // 2), cores, own}
    assert found[0].threads == own
    assert torch.get_num_threads() == own
    elsewhere = workflow._candidates(recipe, "teacher", options, [own + 1, own + 2], False)
    assert elsewhere[0].threads == own + 2


def test_one_network_does_not_change_what_the_other_is_compared_with(
    tiny_recipe: Path, json_of: JsonOf, stand_in: None, float32_only: None
) -> None:
    own = torch.get_num_threads()
    roles = json_of("tune", tiny_recipe, *QUICK, "--threads", f"{own},{own + 1}")["roles"]
    for role in roles.values():
        assert [one["threads"] for one in role["candidates"] if one["now"]] == [own]
        assert {one["threads"] for one in role["candidates"]} == {own, own + 1}


def test_classes_are_known_or_counted_or_guessed(folder_recipe: Path, tmp_path: Path) -> None:
    def classes(*changes: str) -> int:
        return count_classes(load_recipe(str(folder_recipe), changes).data)

    assert classes() == 2
    assert classes(f"data.root={tmp_path / 'nowhere'}") == 10
    for name, count in (("cifar10", 10), ("cifar100", 100), ("svhn", 10)):
        assert classes(f"data.dataset={name}", "data.root=null") == count
