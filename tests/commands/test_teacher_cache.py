"""A teacher is paid for once: through the real command line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ..conftest import Cli

Distill = Callable[..., tuple[bytes, str]]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("ERDE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/teacher"


@pytest.fixture
def distill(cli: Cli, finished_run: Path, tiny_recipe: Path, tmp_path: Path) -> Distill:
    """Distill from the finished run's teacher into a folder of its own: weights, messages."""
    count = iter(range(100))

    def run(*sets: str) -> tuple[bytes, str]:
        out = tmp_path / f"run{next(count)}"
        options = [part for text in sets for part in ("--set", text)]
        code, _, err = cli(
            "distill", tiny_recipe, "--out", out, "--teacher", finished_run / "teacher", *options
        )
        assert code == 0, err
        return (out / "student/model.safetensors").read_bytes(), err

    return run


VIEWS = "distillation.teacher_cache.views=2"


def test_every_student_after_the_first_reads_what_the_first_filled(
    cache: Path, distill: Distill
) -> None:
    first, messages = distill(VIEWS)
    assert "Teacher's logits: 155 kB for 2 views, 0 of 2 views there" in " ".join(messages.split())
    [folder] = cache.iterdir()
    files = {path: path.stat().st_mtime_ns for path in folder.glob("view-*.npy")}
    assert len(files) == 2  # three epochs, two views
    again, messages = distill(VIEWS)
    assert again == first  # the same whether it fills or reads
    assert "all there" in messages
    assert distill(VIEWS, "distillation.method=kd")[0] != first
    assert distill(VIEWS, "distillation.weights.entropy=3", "student.width=3")[0] != first
    assert {path: path.stat().st_mtime_ns for path in folder.glob("view-*.npy")} == files
    assert list(cache.iterdir()) == [folder]


def test_what_the_logits_depend_on_has_a_cache_of_its_own(cache: Path, distill: Distill) -> None:
    changes = ("seed=3", "seed=4", "data.augmentation.crop=0", "data.augmentation.cutout=2")
    for count, change in enumerate(changes, 1):
        distill(VIEWS, "training.student.epochs=1", change)
        assert len(list(cache.iterdir())) == count, change


def test_nothing_is_kept_unless_it_is_asked_for(cache: Path, distill: Distill) -> None:
    distill("training.student.epochs=1")
    assert not cache.exists()


def test_a_student_without_a_teacher_sees_the_same_views(
    cli: Cli, tiny_recipe: Path, tmp_path: Path
) -> None:
    """So that students of other methods differ in the method alone."""
    weights = set()
    for views in ("null", "1", "2"):
        out = tmp_path / views
        code, _, err = cli(
            "distill", tiny_recipe, "--out", out, "--set", "distillation.method=cross_entropy",
            "--set", f"distillation.teacher_cache.views={views}",
        )  # fmt: skip
        assert code == 0, err
        weights.add((out / "student/model.safetensors").read_bytes())
    assert len(weights) == 3


def test_a_damaged_cache_is_made_again(cache: Path, distill: Distill) -> None:
    first, _ = distill(VIEWS)
    [folder] = cache.iterdir()
    damaged = sorted(folder.glob("view-*.npy"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-100])
    assert distill(VIEWS)[0] == first
    assert len(list(folder.glob("view-*.npy"))) == 2
