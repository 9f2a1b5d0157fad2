"""Sessions of ONNX Runtime: their threads sleep while they wait, and their number is no matter."""

import time
from pathlib import Path

import numpy as np
import pytest

from erde_cli.core.runner.model import open_model
from erde_cli.core.runner.session import open_session

from .exports import PIXELS, write_exports


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    write_exports(folder)
    return folder


def test_waiting_threads_of_stages_sleep(exports: Path) -> None:
    for path in (exports / "stages").glob("*.onnx"):
        options = open_session(path, 2, one_of_several=True).get_session_options()
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_model_takes_no_cpu_time_between_its_answers(exports: Path) -> None:
    model = open_model(exports / "stages", threads=3)
    pixels = np.concatenate([PIXELS] * 20)
    spent, pause = 0.0, 0.005
    for _ in range(20):
        model.answer(pixels)
        start = time.process_time()
        time.sleep(pause)
        spent += time.process_time() - start
    assert spent < 0.2 * 20 * pause


@pytest.mark.parametrize("name", ["one.onnx", "stages"])
def test_answers_do_not_depend_on_the_number_of_threads(name: str, exports: Path) -> None:
    alone, *others = [open_model(exports / name, threads=count) for count in (1, 2, 3)]
    for thresholds in (None, "never", "always"):
        rows = alone.predict(PIXELS, thresholds=thresholds)
        assert all(one.predict(PIXELS, thresholds=thresholds) == rows for one in others)
