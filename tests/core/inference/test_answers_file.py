"""Files of answers: read as written, and refused if anything about them is other."""

from pathlib import Path

import numpy as np
import pytest

from erde_cli.core.inference.answers_file import (
    PARTS,
    DamagedAnswersError,
    SplitAnswers,
    digest_in,
    read_arrays,
    split_answers,
    write_arrays,
)

NAMES = [f"test.{name}" for name in PARTS]


def answers(images: int = 5) -> SplitAnswers:
    generator = np.random.default_rng(0)
    predictions = generator.integers(0, 4, (images, 2))
    return SplitAnswers(generator.random((images, 2)), predictions, predictions[:, 1].copy())


def test_answers_are_read_as_they_were_written(tmp_path: Path) -> None:
    path, made = tmp_path / "answers.safetensors", answers()
    digest = write_arrays(path, made.arrays("test"), "inputs")
    assert digest_in(path) == digest
    arrays = read_arrays(path, NAMES, ["other", "inputs"])
    assert arrays is not None
    found = split_answers(arrays, "test", 2, 4)
    for name in PARTS:
        assert np.array_equal(getattr(found, name), getattr(made, name))
    assert found.correct[:, 1].all()
    assert read_arrays(path, NAMES, ["other"]) is None
    assert read_arrays(tmp_path / "none", NAMES, ["inputs"]) is None


def test_a_changed_number_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "answers.safetensors"
    write_arrays(path, answers().arrays("test"), "inputs")
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedAnswersError, match="digest"):
        read_arrays(path, NAMES, ["inputs"])
    path.write_bytes(b"no tensors")
    with pytest.raises(DamagedAnswersError):
        read_arrays(path, NAMES, ["inputs"])
    assert digest_in(path) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"test.scores": np.full((5, 2), np.nan)},
        {"test.scores": np.zeros((5, 3))},
        {"test.scores": np.zeros((5, 2), dtype=np.float32)},
        {"test.predictions": np.full((5, 2), 4)},
        {"test.labels": np.full(5, -1)},
        {"test.labels": np.zeros(4, dtype=np.int64)},
        {"test.labels": np.zeros(5)},
        {"test.labels": np.zeros((5, 1), dtype=np.int64)},
    ],
)
def test_arrays_that_fit_no_network_of_this_form_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(DamagedAnswersError):
        split_answers({**answers().arrays("test"), **changes}, "test", 2, 4)  # type: ignore[arg-type]
