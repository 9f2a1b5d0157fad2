"""A folder of everything that erde ever reads back, made once, and what is put in its place."""

import hashlib
import io
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from erde_cli.app import main
from erde_cli.core.errors import StoppedError
from erde_cli.core.training.epochs import TrainingRecorder

CACHED = ("--set", "distillation.teacher_cache.views=1")


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def raw_pickle(payload: Payload) -> bytes:
    return pickle.dumps(payload, protocol=2)


def torch_archive(payload: Payload) -> bytes:
    stream = io.BytesIO()
    torch.save({"format": 1, "state": payload}, stream)
    return stream.getvalue()


def object_array(payload: Payload) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([payload], dtype=object), allow_pickle=True)
    return stream.getvalue()


KINDS: dict[str, Callable[[Payload], bytes]] = {
    "pickle": raw_pickle, "torch.save": torch_archive, "npy": object_array,
}  # fmt: skip


@pytest.fixture(params=KINDS)
def content(request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    """Bytes whose unpickling makes the folder `owned` in `tmp_path`."""
    return KINDS[request.param](Payload(tmp_path / "owned"))


@pytest.fixture(scope="session")
def everything(
    finished_run: Path, tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """`run`, evaluated, stopped in a second training and exported in three forms; `cache`."""
    root = tmp_path_factory.mktemp("everything")
    shutil.copytree(finished_run, root / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ERDE_CACHE", str(root / "cache"))
        student = str(root / "run" / "student")
        for format_, name in (
            ("onnx", "m.onnx"),
            ("onnx-staged", "stages"),
            ("torch-export", "m.pt2"),
        ):
            out = str(root / "exported" / name)
            assert main(["export", student, "--format", format_, "--out", out, "-q"]) == 0
        after = TrainingRecorder.after_step

        def stop(self: TrainingRecorder, state: Any) -> None:
            after(self, state)
            if state.step == 30:
                self.save(state)
                raise StoppedError("stopped by the test", signal=15)

        patch.setattr(TrainingRecorder, "after_step", stop)
        shutil.rmtree(root / "run" / "student")
        distill = ["distill", str(tiny_recipe), "--out", str(root / "run"), "-q", *CACHED]
        assert main(distill) == 128 + 15
        shutil.copytree(finished_run / "student", root / "run" / "student")
    assert list((root / "run" / "checkpoints" / "student").iterdir())
    return root


@pytest.fixture
def made(everything: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of everything that a test may change."""
    copy = tmp_path / "made"
    shutil.copytree(everything, copy)
    monkeypatch.setenv("ERDE_CACHE", str(copy / "cache"))
    return copy


def under_its_digest(path: Path, content: bytes) -> None:
    """Put content in the place of a file, and make the digest in its name fit."""
    if path.suffix == ".pt":
        stem = path.stem.rpartition("-")[0]
        path.unlink()
        path = path.with_name(f"{stem}-{hashlib.sha256(content).hexdigest()[:16]}.pt")
    path.write_bytes(content)


def packed(content: bytes) -> bytes:
    """The same archive with its parts deflated."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return stream.getvalue()
