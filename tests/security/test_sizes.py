"""A small file makes no large allocation: sizes are looked at before anything is built or read."""

import io
import json
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

from erde_cli.core.bundle import weights as weights_file
from erde_cli.core.bundle.bundle import load_bundle
from erde_cli.core.calibration.tests_file import read_tests
from erde_cli.core.errors import BundleError, InputError
from erde_cli.core.models.architecture import Architecture, build_model
from erde_cli.core.storage import json_files as json_text
from erde_cli.core.storage.files import digest_of_file
from erde_cli.core.storage.json_files import JsonError, load_json, parse_json
from erde_cli.core.training.checkpoints import Checkpoints, Saved
from erde_cli.core.training.resume_state import mismatch
from erde_cli.core.training.view_cache import ViewCache

from ..edited import sealed
from .conftest import packed

LIMITED = """
import resource, sys
from erde_cli.core.bundle.bundle import load_bundle
from erde_cli.core.errors import BundleError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load_bundle(sys.argv[1])
except BundleError as error:
    print(error.message)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
sys.exit(grown > 60_000)
"""


def rewrite(
    student: Path, edit: Callable[[dict[str, Any]], Any], weights: bytes | None = None
) -> None:
    document = json.loads((student / "bundle.json").read_text())
    if weights is not None:
        (student / "model.safetensors").write_bytes(weights)
        document["weights_digest"] = digest_of_file(student / "model.safetensors")
    edit(document)
    (student / "bundle.json").write_text(json.dumps(sealed(document)))


@pytest.mark.parametrize(
    "changed",
    [{"depth": 9998}, {"width": 1024}, {"width": 1024, "widening": 64, "image_size": 1024},
     {"stem": 1024, "image_size": 1024}, {"depth": 9998, "width": 1024, "widening": 64}],
)  # fmt: skip
def test_a_tiny_folder_that_asks_for_a_giant_is_refused_before_it_is_built(
    changed: dict[str, int], run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = run_copy / "student"
    rewrite(student, lambda d: d["architecture"].update(changed))
    build = weights_file.build_model

    def only_shapes(*arguments: Any) -> Any:
        assert torch.empty(1).is_meta
        return build(*arguments)

    monkeypatch.setattr(weights_file, "build_model", only_shapes)
    with pytest.raises(BundleError, match="do not fit"):
        load_bundle(student)


def test_a_depth_that_no_file_can_have_is_refused_by_the_number_of_tensors(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite(run_copy / "student", lambda d: d["architecture"].update(depth=9998))
    monkeypatch.setattr(weights_file, "build_model", lambda *_: pytest.fail("built"))
    with pytest.raises(BundleError, match="fewer tensors"):
        load_bundle(run_copy / "student")


def test_weights_in_another_number_format_are_refused(run_copy: Path) -> None:
    path = run_copy / "student" / "model.safetensors"
    halved = {name: tensor.half() for name, tensor in load_file(path).items()}
    rewrite(run_copy / "student", lambda d: None, save(halved))
    with pytest.raises(BundleError, match="does not match the network"):
        load_bundle(run_copy / "student")


def test_the_memory_of_a_refused_giant_stays_small(run_copy: Path) -> None:
    student = run_copy / "student"
    rewrite(student, lambda d: d["architecture"].update(width=1024, widening=64))
    command = [sys.executable, "-c", LIMITED, str(student)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "do not fit" in done.stdout


def table(**entries: Any) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0", struct.pack("<Q", 2**60), struct.pack("<Q", 2**63 + 5) + b"{}",
        struct.pack("<Q", 30_000_000_000) + b"{", struct.pack("<Q", 4) + b"[" * 4,
        struct.pack("<Q", 100_000) + b"[" * 100_000, struct.pack("<Q", 2) + b"[]",
        table(x={"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}),
        table(x={"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}),
        table(x={"dtype": "F32", "shape": 10**400, "data_offsets": [0, 4]}),
        table(x=1), table(**{str(n): {"dtype": "F32", "shape": [1]} for n in range(50)}),
    ],
)  # fmt: skip
def test_weights_with_an_odd_table_of_contents_are_refused(run_copy: Path, content: bytes) -> None:
    rewrite(run_copy / "student", lambda d: None, content)
    with pytest.raises(BundleError, match="do not fit"):
        load_bundle(run_copy / "student")


def test_features_of_a_gigabyte_are_refused_before_any_training() -> None:
    with pytest.raises(InputError, match="fill the memory"):
        build_model(Architecture("resnet", 8, 1, (1,), "gap", 2, 1024, stem=1024))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 41 + "]" * 41, "nested"), ("[" * 100_000, "recursion"),
        ('{"a": 1, "a": 2}', "repeats"),
        ("1e999", "too large"), ("-1e999", "too large"), ("NaN", "not a finite number"),
        ("[Infinity]", "not a finite"), ("9" * 5000, "digits"), ("{", "Expecting"),
        ("\x00", "Expecting"),
    ],
)  # fmt: skip
def test_json_that_erde_never_writes_is_refused(text: str, reason: str) -> None:
    with pytest.raises(JsonError, match=reason):
        parse_json(text)
    assert parse_json("[" * 40 + "]" * 40) is not None


def test_no_more_of_a_giant_json_is_read_than_the_limit(tmp_path: Path) -> None:
    giant = tmp_path / "giant.json"
    with giant.open("wb") as handle:
        handle.truncate(100 * json_text.LARGEST)
    tracemalloc.start()
    with pytest.raises(JsonError, match="larger than 16,000,000 bytes"):
        load_json(giant)
    assert tracemalloc.get_traced_memory()[1] < 3 * json_text.LARGEST
    tracemalloc.stop()
    with pytest.raises(JsonError):
        load_json(tmp_path)


@pytest.mark.parametrize("name", ["bundle.json", "thresholds.json", "tests.json"])
def test_odd_json_in_a_bundle_is_reported_in_one_message(student: Path, name: str) -> None:
    (student / name).write_text("[" * 100_000)
    read = read_tests if name == "tests.json" else lambda path: load_bundle(path).thresholds()
    with pytest.raises(BundleError) as caught:
        read(student)
    assert caught.value.hint


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|O', 'fortran_order': False, 'shape': (2, 1, 3), }",
        "{'descr': '<f2', 'fortran_order': False, 'shape': (2**60,), }",
        "{'descr': '<f2', 'fortran_order': False, 'shape': (999999999999, 99999999999), }",
        "(" * 9000,
        "__import__('os').system('x')",
    ],
)
def test_the_header_of_kept_logits_is_compared_and_never_interpreted(
    header: str, tmp_path: Path
) -> None:
    cache = ViewCache(tmp_path, {}, (2, 1, 3))
    cache.write(0, [np.zeros((2, 1, 3), np.float16)])
    assert cache.read(0) is not None
    (path,) = tmp_path.glob("*.npy")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"<f2", b"<i2"))
    assert cache.read(0) is None
    path.write_bytes(whole + b"more")
    assert cache.read(0) is None
    text = header.encode() + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text + bytes(12))
    assert cache.read(0) is None
    stream = io.BytesIO()
    np.savez(stream, x=np.zeros(3))
    path.write_bytes(stream.getvalue())
    assert cache.read(0) is None


def saved_by(folder: Path, **changed: Any) -> tuple[Checkpoints, Saved]:
    whole: dict[str, Any] = {"made_by": {}, "state": {"epoch": 1}, "metrics": [], "timings": []}
    saved = Saved(**{**whole, **changed})
    checkpoints = Checkpoints(folder, "inputs")
    checkpoints.save(1, saved)
    return checkpoints, saved


def test_a_checkpoint_whose_parts_are_packed_is_left_out(tmp_path: Path) -> None:
    from .conftest import under_its_digest

    checkpoints, _ = saved_by(tmp_path, state={"zeros": torch.zeros(1000)})
    assert checkpoints.latest(pytest.fail) is not None
    (path,) = tmp_path.iterdir()
    under_its_digest(path, packed(path.read_bytes()))
    warnings: list[str] = []
    assert checkpoints.latest(warnings.append) is None
    assert "compressed" in warnings[0]


OWN = {
    "log": None, "epoch": 0, "step": 0, "scaler": {},
    "model": {"w": torch.zeros(2, 3)},
    "optimizer": {"state": {}, "param_groups": [{"lr": 0.1, "params": [0], "nesterov": True}]},
}  # fmt: skip
LOG = {"batch_size": 4, "seconds": 1.0, "steps": 1, "recent_steps": 0, "finite": 1, "skipped": 0,
       "total": {"loss": torch.zeros(())}, "recent": {}}  # fmt: skip


def changed_at(path: str, value: Any) -> dict[str, Any]:
    state: Any = json.loads(json.dumps({k: v for k, v in OWN.items() if k != "model"}))
    state |= {"model": {"w": torch.zeros(2, 3)}, "log": dict(LOG)}
    *above, last = path.split(".")
    inside: Any = state
    for key in above:
        inside = inside[int(key) if isinstance(inside, list) else key]
    inside[last] = value
    return dict(state)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model.w", torch.zeros(1).expand(2**40)), ("model.w", torch.zeros(2, 3).double()),
        ("model.other", torch.zeros(2, 3)), ("model", []), ("epoch", "1"), ("step", float("nan")),
        ("epoch", -1), ("surprise", 1), ("log", 5), ("log.batch_size", 0), ("log.total", []),
        ("log.recent", {"x": torch.zeros(1).expand(10**12)}), ("optimizer", None),
        ("optimizer.state", {0: {"momentum_buffer": torch.zeros(1).expand(2**40)}}),
        ("optimizer.state", {7: {}}), ("optimizer.state", {0: 1}),
        ("optimizer.param_groups", []), ("optimizer.param_groups.0.lr", "fast"),
        ("optimizer.param_groups.0.params", [0, 1]), ("optimizer.param_groups.0.nesterov", 1),
    ],
)  # fmt: skip
def test_a_state_that_is_not_of_this_training_is_told_part_by_part(path: str, value: Any) -> None:
    assert mismatch(Saved({}, changed_at("epoch", 1), [], []), OWN) == ""
    assert mismatch(Saved({}, changed_at(path, value), [], []), OWN)


@pytest.mark.parametrize(
    "rows",
    [{"metrics": 1}, {"metrics": [{"x": torch.zeros(1)}]}, {"timings": [{"images": 1}]},
     {"timings": [{"images": float("nan"), "seconds": 1}]}, {"made_by": []}],
)  # fmt: skip
def test_rows_that_cannot_be_written_again_are_told(rows: dict[str, Any]) -> None:
    whole: dict[str, Any] = {"made_by": {}, "state": OWN, "metrics": [], "timings": []}
    assert mismatch(Saved(**whole), OWN) == ""
    assert mismatch(Saved(**{**whole, **rows}), OWN)
