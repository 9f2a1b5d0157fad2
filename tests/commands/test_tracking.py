"""Trackers: a run that is stopped and goes on, read back by the trackers' own readers."""

import base64
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from erde_cli.app import main
from erde_cli.core.platform import extras
from erde_cli.core.tracking.wandb import PRIVATE

from ..conftest import Cli

STOPPER = """\
import os, signal
from erde_cli.core.events import Observer


class Stopper(Observer):
    def metrics(self, role, row):
        if (role, row["epoch"]) == ("student", 1):
            os.kill(os.getpid(), signal.SIGINT)
"""
RECIPE = """\
name: colours
data: {dataset: imagefolder, root: ROOT, image_size: 8, augmentation: {crop: 1}}
teacher: {depth: 8, width: 2, exits: 2}
student: {depth: 8, width: 1, exits: 2}
training:
  teacher: {epochs: 2, batch_size: 16, learning_rate: 0.05}
  student: {epochs: 2, batch_size: 16, learning_rate: 0.05}
calibration: {threshold: 0.5}
"""
ALL = ("--track", "tensorboard", "--track", "mlflow", "--track", "wandb")
SECRET = "0123456789abcdef" * 2 + "01234567"  # as long as a key of W&B


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    root = tmp_path_factory.mktemp("patients") / "colours"
    for label, name in enumerate(("dark", "light")):
        for split, count in (("train", 24), ("test", 4)):
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                grey = 120 * label + 3 * index + (split == "test")
                Image.new("RGB", (8, 8), (grey, grey, 99)).save(
                    root / split / name / f"{index}.png"
                )
    path = root.parent / "colours.yaml"
    path.write_text(RECIPE.replace("ROOT", str(root)))
    return path


@pytest.fixture(autouse=True, scope="module")
def _offline() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        yield
    import wandb

    wandb.teardown()


@pytest.fixture(scope="module")
def plain(recipe: Path) -> Path:
    """The run without trackers."""
    run = recipe.parent / "plain"
    assert main(["run", str(recipe), "--out", str(run), "--quiet"]) == 0
    return run


@pytest.fixture(scope="module")
def tracked(recipe: Path) -> Path:
    """A run with all trackers that was stopped after the student's first epoch, and went on."""
    run = recipe.parent / "tracked"
    (recipe.parent / "stopper_of_tracking.py").write_text(STOPPER)
    line = ["run", str(recipe), "--out", str(run), *ALL]  # not quiet: W&B could take the output
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(recipe.parent)
        patch.setenv("ERDE_LISTENERS", "stopper_of_tracking:Stopper")
        assert main(line) == 130
    assert main([*line, "--track-images"]) == 0
    return run


def rows(run: Path, role: str) -> list[dict[str, Any]]:
    text = (run / "logs" / role / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def board(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    found.Reload()
    return found


def client(run: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{run / 'logs/mlflow.db'}")


def wandb_records(path: Path) -> Iterator[Any]:
    """Records of a file of W&B: protocol buffers in LevelDB's log format."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, parts = path.read_bytes(), 7, b""
    assert content[:4] == b":W&B"
    while place < len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(parts)
            parts = b""


def wandb_files(run: Path) -> list[Path]:
    return sorted((run / "logs/wandb").glob("offline-run-*/run-*.wandb"))


def assert_same_figures(found: dict[int, float], expected: list[dict[str, Any]], name: str) -> None:
    assert found == pytest.approx({row["epoch"]: row[name] for row in expected})


def test_tracking_changes_no_byte(plain: Path, tracked: Path) -> None:
    for name in ("teacher/model.safetensors", "student/model.safetensors",
                 "logs/student/metrics.jsonl", "student/thresholds.json"):  # fmt: skip
        assert (plain / name).read_bytes() == (tracked / name).read_bytes(), name
    assert not (plain / "logs/trackers.json").exists()


def test_tensorboard_shows_each_epoch_once(tracked: Path) -> None:
    for role in ("teacher", "student"):
        found = board(tracked / "logs/tensorboard" / role)
        scalars = found.Scalars("loss")
        assert [one.step for one in scalars] == [1, 2]
        assert_same_figures({one.step: one.value for one in scalars}, rows(tracked, role), "loss")
        last = found.Scalars("accuracy_calibration/exit_1")[-1].value
        assert last == pytest.approx(rows(tracked, role)[-1]["accuracy_calibration"][1])
        from tensorboard.plugins.hparams.metadata import parse_session_start_info_plugin_data

        metadata = found.SummaryMetadata("_hparams_/session_start_info")
        sent = parse_session_start_info_plugin_data(metadata.plugin_data.content).hparams
        assert sent["student.width"].number_value == 1
        assert sent["data.root"].string_value == "colours"
        assert sent["device"].string_value == "cpu"
        assert sent["versions.torch"].string_value
    assert "distillation/exit_0" in found.Tags()["scalars"]
    results = board(tracked / "logs/tensorboard/results")
    report = json.loads((tracked / "report.json").read_text())
    [accuracy] = results.Scalars("report/student/accuracy")
    assert accuracy.value == pytest.approx(report["student"]["accuracy"])
    assert {"student/tradeoff", "student/images_of_exit_1"} <= set(results.Tags()["images"])


def test_mlflow_has_one_run_of_the_whole_training(tracked: Path) -> None:
    found = client(tracked)
    experiment = found.get_experiment_by_name("colours")
    [run] = found.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    for role in ("teacher", "student"):
        history = found.get_metric_history(run.info.run_id, f"{role}/loss")
        assert [one.step for one in history] == [1, 2]
        assert_same_figures({one.step: one.value for one in history}, rows(tracked, role), "loss")
        assert run.data.tags[f"{role}.device"] == "cpu"
    assert run.data.params["student.width"] == "1"
    assert run.data.params["data.root"] == "colours"
    report = json.loads((tracked / "report.json").read_text())
    assert run.data.metrics["report/macs_ratio"] == pytest.approx(report["macs_ratio"])
    files = {one.path for one in found.list_artifacts(run.info.run_id)}
    assert files == {"thresholds.json", "teacher", "student"}
    pictures = {one.path for one in found.list_artifacts(run.info.run_id, "student")}
    assert {"student/tradeoff.png", "student/frontier.png", "student/images_of_exit_1.png"} <= (
        pictures
    )
    assert "student/confusion.png" not in pictures


def test_wandb_goes_on_under_the_same_id_and_collects_nothing_by_itself(tracked: Path) -> None:
    first, second = wandb_files(tracked)
    assert first.name == second.name
    losses: dict[str, dict[int, float]] = {"teacher": {}, "student": {}}
    summary: dict[str, Any] = {}
    for path in (first, second):
        for record in wandb_records(path):
            assert not record.output.line, "the console"
            assert not record.output_raw.line, "the console"
            assert not record.stats.item, "the machine"
            if record.WhichOneof("record_type") == "run":
                run = record.run
                assert run.project == "colours"
                assert not run.host, "the machine"
                assert not run.git.remote_url, "the repository"
                assert not run.git.commit, "the repository"
            names = {one.path for one in record.files.files}
            assert not names & {"wandb-metadata.json", "requirements.txt", "output.log"}, names
            items = {
                "/".join(one.nested_key) or one.key: json.loads(one.value_json)
                for one in record.history.item
            }
            for role, values in losses.items():
                if f"{role}/loss" in items:
                    values[items[f"{role}/epoch"]] = items[f"{role}/loss"]
            for one in record.summary.update:
                summary["/".join(one.nested_key) or one.key] = one.value_json
    for role, values in losses.items():
        assert_same_figures(values, rows(tracked, role), "loss")
    report = json.loads((tracked / "report.json").read_text())
    assert float(summary["report/macs_ratio"]) == pytest.approx(report["macs_ratio"])
    content = first.read_bytes() + second.read_bytes()
    private = {socket.gethostname(), str(tracked.parent), sys.argv[0], os.getcwd()}  # noqa: PTH109
    assert not [text for text in private if len(text) > 3 and text.encode() in content]


def test_wandb_is_given_settings_that_it_knows() -> None:
    import wandb

    settings = wandb.Settings(**PRIVATE)
    assert {name: getattr(settings, name) for name in PRIVATE} == PRIVATE
    on = {name for name, value in PRIVATE.items() if value is True}
    assert on == {
        "disable_code", "disable_git", "disable_job_creation", "x_disable_machine_info",
        "x_disable_meta", "x_disable_stats",
    }  # fmt: skip
    assert (settings.console, settings.save_code, settings.x_save_requirements) == (
        "off", False, False,
    )  # fmt: skip


def test_a_training_that_starts_again_shows_no_epoch_twice(recipe: Path, tracked: Path) -> None:
    line = ["train-teacher", str(recipe), "--out", str(tracked), "--quiet", *ALL]
    assert main(line) == 0
    scalars = board(tracked / "logs/tensorboard/teacher").Scalars("loss")
    assert [one.step for one in scalars] == [1, 2]
    found = client(tracked)
    experiment = found.get_experiment_by_name("colours")
    runs = found.search_runs([experiment.experiment_id])
    assert len(runs) == 2
    for run in runs:
        history = found.get_metric_history(run.info.run_id, "teacher/loss")
        assert [one.step for one in history] == [1, 2]
    assert len({path.name for path in wandb_files(tracked)}) == 2
    for run in runs:
        found.delete_run(run.info.run_id)
    line = ["distill", str(recipe), "--out", str(tracked), "--quiet", "--track", "mlflow"]
    assert main(line) == 0
    [run] = found.search_runs([experiment.experiment_id])
    assert run.data.params["student.width"] == "1"
    assert "student/loss" in run.data.metrics


def test_a_resumed_training_sends_the_epochs_that_a_tracker_lacks(
    recipe: Path, tracked: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    line = ["run", str(recipe), "--out", str(run), "--quiet", "--track", "tensorboard"]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(recipe.parent)
        patch.setenv("ERDE_LISTENERS", "stopper_of_tracking:Stopper")
        assert main(line) == 130
    path = run / "logs/trackers.json"
    document = json.loads(path.read_text())
    assert document["runs"]["tensorboard"]["epochs"].pop("student") == 1
    path.write_text(json.dumps(document))  # as if killed before that was stored
    assert main([*line, "--track", "mlflow"]) == 0
    scalars = board(run / "logs/tensorboard/student").Scalars("loss")
    assert [one.step for one in scalars] == [1, 2]
    found = client(run)
    [one_run] = found.search_runs([found.get_experiment_by_name("colours").experiment_id])
    history = found.get_metric_history(one_run.info.run_id, "student/loss")
    assert [one.step for one in history] == [1, 2]
    assert_same_figures({one.step: one.value for one in history}, rows(run, "student"), "loss")


def test_no_images_are_sent_unless_asked_for(
    recipe: Path, plain: Path, tmp_path: Path, cli: Cli
) -> None:
    boards = tmp_path / "boards"
    (boards / "run").mkdir(parents=True)  # of another run
    line = ("run", recipe, "--out", tmp_path / "run", "--track", f"tensorboard:{boards}")
    code, _, err = cli(*line, "--quiet")
    assert (code, err) == (0, "")
    images = board(boards / "run-2/results").Tags()["images"]
    assert set(images) == {"student/tradeoff", "student/frontier", "teacher/tradeoff"}
    assert not (boards / "run/results").exists()
    assert not (tmp_path / "run/logs/tensorboard").exists()


def test_a_comparison_has_a_run_for_each_network_and_one_for_its_results(
    recipe: Path, tmp_path: Path, cli: Cli
) -> None:
    run = tmp_path / "compared"
    line = ("compare", recipe, "--out", run, "--seeds", 1, "--methods", "kd,cross_entropy")
    code, _, err = cli(*line, "--quiet", "--track", "tensorboard")
    assert code == 0, err
    folder = run / "logs/tensorboard"
    seed = folder / "seed-0"
    for place in (seed / "teacher", seed / "kd/student", seed / "cross_entropy/student"):
        assert [one.step for one in board(place).Scalars("loss")] == [1, 2], place
    results = json.loads((run / "results.json").read_text())
    [mean] = board(folder / "results").Scalars("comparison/kd/auc_mean")
    assert mean.value == pytest.approx(results["summary"][0]["auc"]["mean"])
    assert cli(*line, "--quiet", "--track", "tensorboard")[0] == 0  # the folder is still its own


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def test_a_tracker_that_fails_is_one_warning_and_no_credential_stays(
    recipe: Path, plain: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "WANDB_BASE_URL"):
        monkeypatch.setenv(name, "")
    (tmp_path / "file").write_text("mine")
    line = (
        "train-teacher", recipe, "--out", tmp_path / "run", "--track",
        f"mlflow:http://me:{SECRET}@127.0.0.1:{free_port()}/store", "--track",
        f"tensorboard:{tmp_path / 'file'}", "--track", f"wandb:https://api:{SECRET}@wandb.invalid",
    )  # fmt: skip
    code, out, err = cli(*line)
    assert code == 0, err
    for title in ("MLflow", "TensorBoard"):
        assert err.count(f"Warning: {title} receives nothing more, and the work goes on: ") == 1
    assert "Weights & Biases writes to" in err
    assert err.count("Warning") == 2
    assert SECRET not in out + err
    weights = "teacher/model.safetensors"
    assert (tmp_path / "run" / weights).read_bytes() == (plain / weights).read_bytes()
    for path in (tmp_path / "run").rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    kept = json.loads((tmp_path / "run/logs/trackers.json").read_text())["runs"]
    assert kept["wandb"]["where"] == "https://wandb.invalid"


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_an_address_that_can_hide_a_credential_is_refused_before_any_work(
    name: str, recipe: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for address in (f"api:{SECRET}@host", f"user:{SECRET}", f"https:/u:{SECRET}@h"):
        code, out, err = cli("run", recipe, "--out", "run", "--track", f"{name}:{address}")
        assert (code, out) == (2, ""), address
        assert "got:      ***" in err
        assert f"for example: --track {name}:" in err
        assert SECRET not in err
    assert not list(tmp_path.iterdir())


def test_a_server_receives_the_credentials_and_nobody_else(
    recipe: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
    seen = []

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            self.send_response(403)
            self.end_headers()
            self.wfile.write(f"{self.path} is not for me:{SECRET}".encode())

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = f"mlflow:http://me:{SECRET}@127.0.0.1:{server.server_port}"
        line = ("train-teacher", recipe, "--out", tmp_path / "run", "--track", store)
        code, out, err = cli(*line)
        server.shutdown()
    assert code == 0, err
    assert set(seen) == {"Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()}
    assert err.count("Warning: MLflow receives nothing more") == 1
    assert "403" in err
    assert SECRET not in out + err


def test_a_database_that_cannot_be_opened_shows_no_password(
    recipe: Path, tmp_path: Path, cli: Cli
) -> None:
    store = f"mlflow:mysql+nothing://me:{SECRET}@127.0.0.1/db?ssl={SECRET}"
    code, out, err = cli("train-teacher", recipe, "--out", tmp_path / "run", "--track", store)
    assert code == 0, err
    assert "MLflow receives nothing more" in err
    assert SECRET not in out + err


def test_a_full_disk_is_one_warning(
    recipe: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RecordWriter, "write", fail)
    hook = threading.excepthook
    code, _, err = cli(
        "train-teacher", recipe, "--out", tmp_path / "run", "--track", "tensorboard"
    )  # fmt: skip
    assert code == 0, err
    assert err.count("Warning: TensorBoard receives nothing more") == 1
    assert "No space left" in err
    assert "Traceback" not in err
    assert threading.excepthook is hook


def test_a_package_that_cannot_be_imported_is_one_warning(
    recipe: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    line = ("train-teacher", recipe, "--out", tmp_path / "run", "--track", "tensorboard", "--json")
    code, out, err = cli(*line)
    assert (code, json.loads(out)["epochs"]) == (0, 2)
    assert err.count("Warning: TensorBoard receives nothing more") == 1
    assert "ModuleNotFoundError" in err


def test_a_damaged_list_of_tracker_runs_costs_only_the_continuation(
    recipe: Path, tmp_path: Path, cli: Cli
) -> None:
    logs = tmp_path / "run/logs"
    logs.mkdir(parents=True)
    for text in ("{", '{"format": 1, "runs": {"tensorboard": {"id": "../../x", "where": ""}}}'):
        (logs / "trackers.json").write_text(text)
        line = ("train-teacher", recipe, "--out", tmp_path / "run", "--track", "tensorboard")
        code, _, err = cli(*line, "--quiet")
        assert (code, err) == (0, "")
        assert json.loads((logs / "trackers.json").read_text())["runs"]["tensorboard"]["id"]
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_package_is_one_sentence_before_any_work(
    name: str, recipe: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    code, out, err = cli("run", recipe, "--out", tmp_path / "run", "--track", name)
    assert (code, out) == (2, "")
    assert f"--track {name} needs {name}" in err
    assert f"pip install 'erde-cli[{name}]'" in err
    assert not (tmp_path / "run").exists()


MODE = """
import wandb
from pathlib import Path
from erde_cli.core.events import Observer
from erde_cli.core.tracking.destination import Destination
from erde_cli.core.tracking.trackers import TRACKERS
from erde_cli.core.tracking.wandb import WandB
for address in ("", "https://api:given@wandb.example.com"):
    listener = WandB(TRACKERS["wandb"], Destination.read(address), Path(), Observer())
    print(listener._mode(wandb))
"""


def test_wandb_is_online_for_those_who_are_logged_in(tmp_path: Path) -> None:
    told = []
    for key in ({}, {"WANDB_API_KEY": SECRET}):
        environment = {**os.environ, **key, "HOME": str(tmp_path), "WANDB_SILENT": "true"}
        environment.pop("WANDB_MODE", None)
        done = subprocess.run(
            [sys.executable, "-c", MODE], env=environment, cwd=tmp_path, capture_output=True,
            text=True, check=True,
        )  # fmt: skip
        told.append(done.stdout.splitlines())
    assert told == [
        ["('offline', '')", "('online', 'given')"],
        ["('online', '')", "('online', 'given')"],
    ]


def test_a_run_without_trackers_imports_none(recipe: Path, plain: Path) -> None:
    code = (
        "import sys; from erde_cli.app import main; "
        f"assert main(['run', {str(recipe)!r}, '--out', {str(plain)!r}, '--quiet']) == 0; "
        "print([n for n in ('tensorboard', 'mlflow', 'wandb') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
