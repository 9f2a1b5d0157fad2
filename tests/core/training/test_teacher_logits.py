"""A teacher's logits, computed and kept: the same to half precision, and never another's."""

from __future__ import annotations

import os
import shutil
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from erde_cli.core.data.augmentation import AugmentationPlan
from erde_cli.core.data.batches import Batch, Batches
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.store import ImageStore
from erde_cli.core.data.views import StoreViews
from erde_cli.core.device import Context
from erde_cli.core.errors import ErdeError, InputError
from erde_cli.core.events import Observer
from erde_cli.core.models.architecture import Architecture, build_model
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.training import view_cache
from erde_cli.core.training.teacher_logits import CachedLogits, ComputedLogits
from erde_cli.core.training.view_cache import HalfArray, ViewCache

IMAGES, EXITS, CLASSES, VIEWS = 41, 3, 5, 2
SHAPE = (IMAGES, EXITS, CLASSES)
CONTEXT = Context(torch.device("cpu"), "float32", 1)
PLAN = AugmentationPlan(crop=2, flip=True, cutout=0)
Run = Callable[..., list[tuple[Batch, torch.Tensor]]]


class Counter(Observer):
    """Counts the views that were computed."""

    def __init__(self) -> None:
        self.views: list[str] = []
        self.warnings: list[str] = []

    def warning(self, message: str) -> None:
        self.warnings.append(message)

    def progress(self, title: str, done: int, total: int) -> None:
        if done == total:
            self.views.append(title)


def make_teacher(seed: int = 3) -> EarlyExitNet:
    return build_model(Architecture("resnet", 8, 4, (1, 2), "erde", CLASSES, 8), seed)


def make_batches(batch_size: int = 8, seed: int = 1, side: int | None = None) -> Batches:
    generator = np.random.default_rng(0)
    images = torch.from_numpy(generator.integers(0, 256, (IMAGES, 8, 8, 3), dtype=np.uint8))
    store = ImageStore(images, torch.arange(IMAGES) % CLASSES, np.arange(IMAGES) + 100)
    pixels = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    return Batches(StoreViews(store, PLAN), pixels, batch_size, seed, CONTEXT, VIEWS, side)


def cache_at(root: Path, teacher: str = "a") -> ViewCache:
    cache = ViewCache.at(root, {"teacher": teacher}, SHAPE)
    cache.open(0)
    return cache


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Go through epochs with the cache: every batch with the logits given for it."""

    def through(
        observer: Observer,
        epochs: int = 4,
        batch_size: int = 8,
        teacher: EarlyExitNet | None = None,
    ) -> list[tuple[Batch, torch.Tensor]]:
        batches = make_batches(batch_size)
        network = teacher or make_teacher()
        logits = CachedLogits(
            ComputedLogits(network, CONTEXT), batches, cache_at(tmp_path), CONTEXT, observer
        )
        return [(batch, logits(batch)) for epoch in range(epochs) for batch in batches.epoch(epoch)]

    return through


def test_logits_read_are_those_computed_image_by_image_to_half_precision(run: Run) -> None:
    alone = ComputedLogits(make_teacher(), CONTEXT)
    seen = 0
    for batch, given in run(Observer()):
        assert given.dtype == torch.float32
        assert given.shape == (len(batch.labels), EXITS, CLASSES)
        torch.testing.assert_close(given, alone(batch), rtol=2**-10, atol=1e-4)
        one = Batch(batch.images[:1], batch.labels[:1], batch.rows[:1], batch.view)
        torch.testing.assert_close(given[:1], alone(one), rtol=2**-10, atol=1e-4)
        seen += 1
    assert seen == 4 * (IMAGES // 8)


def test_a_run_that_fills_sees_the_same_bytes_as_one_that_reads(run: Run) -> None:
    first, second = Counter(), Counter()
    filling, reading = run(first), run(second)
    assert len(first.views) == VIEWS  # each view once, though every one was shown twice
    assert second.views == []
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(filling, reading, strict=True))
    assert all(torch.equal(logits, logits.half().float()) for _, logits in filling)


def test_what_is_stored_does_not_depend_on_the_batches_of_who_filled_it(
    tmp_path: Path, run: Run
) -> None:
    run(Observer(), batch_size=8)
    stored = cache_at(tmp_path).read(0)
    assert stored is not None
    before = np.array(stored)
    other = tmp_path / "other"
    batches = make_batches(batch_size=20)
    cache = cache_at(other)
    logits = CachedLogits(
        ComputedLogits(make_teacher(), CONTEXT), batches, cache, CONTEXT, Observer()
    )
    logits(next(iter(batches.epoch(0))))
    again = cache.read(0)
    assert again is not None
    np.testing.assert_array_equal(before, again)


def test_epochs_show_the_views_in_turn(run: Run) -> None:
    by_epoch: dict[int, set[int]] = {}
    steps = IMAGES // 8
    for position, (batch, _) in enumerate(run(Observer(), epochs=5)):
        by_epoch.setdefault(position // steps, set()).add(batch.view)
    assert by_epoch == {epoch: {epoch % VIEWS} for epoch in range(5)}


def test_a_view_is_written_part_by_part_and_appears_whole(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that memory does not grow with the number of images."""
    run(Observer(), epochs=1)
    [expected] = cache_at(tmp_path).files(0)
    content = expected.read_bytes()
    expected.unlink()
    start = len(content) - cache_at(tmp_path).bytes_per_view
    written: list[int] = []

    class Watching(Observer):
        def progress(self, title: str, done: int, total: int) -> None:
            [growing] = expected.parent.glob(".erde-new-view-00000*")
            assert growing.read_bytes() == content[: start + done * EXITS * CLASSES * 2]
            assert not expected.exists()
            written.append(done)

    monkeypatch.setattr(view_cache, "_SMALL_AT_ONCE", 16)
    run(Watching(), epochs=1)
    assert written == [16, 32, IMAGES]
    assert expected.read_bytes() == content
    assert not list(expected.parent.glob(".erde-new-*"))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_view_is_written_and_checked_without_being_held_in_memory(tmp_path: Path) -> None:
    rows, row = 64, 500_000
    cache = ViewCache.at(tmp_path, {}, (rows, row))
    cache.open(0)
    cache.write(0, (np.full((1, row), number, np.float16) for number in range(2)))
    before = resident()
    tracemalloc.start()
    cache.write(1, (np.full((1, row), number, np.float16) for number in range(rows)))
    view = cache.read(1)
    _, allocated = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert max(allocated, resident() - before) < cache.bytes_per_view / 4
    assert cache.read(0) is None  # of another shape
    assert view is not None
    assert view[:, -1].tolist() == [*range(rows)]


def resident() -> int:
    """Memory of this process in bytes, mapped files included."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_view_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    """An error of the network's is passed on as it is."""
    cache = cache_at(tmp_path)

    def failing() -> Iterator[HalfArray]:
        yield np.zeros(SHAPE, np.float16)
        raise OSError("of the images")

    with pytest.raises(OSError, match="of the images"):
        cache.write(0, failing())
    assert [path.name for path in cache.folder.iterdir()] == ["key.json"]
    shutil.rmtree(cache.folder)
    with pytest.raises(ErdeError, match=r"Cannot write .*view-00000"):
        cache.write(0, [np.zeros(SHAPE, np.float16)])


def test_only_missing_views_are_computed(run: Run, tmp_path: Path) -> None:
    run(Observer(), epochs=1)
    assert cache_at(tmp_path).missing(VIEWS) == 1
    counter = Counter()
    run(counter)
    assert counter.views == ["Teacher's logits, view 2"]
    assert cache_at(tmp_path).missing(VIEWS) == 0


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _another_shape(path: Path) -> None:
    np.save(path, np.zeros((IMAGES, EXITS, CLASSES + 1), np.float16))


@pytest.mark.parametrize("damage", [_cut, _flip_a_bit, _empty, _another_shape])
def test_a_damaged_view_is_noticed_and_made_again(
    run: Run, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    before = [logits for _, logits in run(Observer())]
    [path] = cache_at(tmp_path).folder.glob("view-00000-*.npy")
    damage(path)
    assert cache_at(tmp_path).read(0) is None
    counter = Counter()
    after = [logits for _, logits in run(counter)]
    assert counter.views == ["Teacher's logits, view 1"]
    assert counter.warnings == [f"{path} is damaged. It is computed again."]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert len(list(cache_at(tmp_path).folder.glob("view-*.npy"))) == VIEWS


def test_another_key_has_another_folder_and_a_foreign_one_is_refused(tmp_path: Path) -> None:
    one, other = cache_at(tmp_path, "a"), cache_at(tmp_path, "b")
    assert one.folder != other.folder
    one.write(0, [np.zeros(SHAPE, np.float16)])
    assert other.read(0) is None
    (other.folder / "key.json").write_bytes((one.folder / "key.json").read_bytes())
    with pytest.raises(InputError, match="not a cache of this network"):
        cache_at(tmp_path, "b")


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path) -> None:
    cache = ViewCache.at(tmp_path, {"teacher": "a"}, SHAPE)
    with pytest.raises(InputError, match="no space for a cache") as caught:
        cache.open(10**18)
    assert "ERDE_CACHE" in caught.value.hint
    assert list(cache.folder.iterdir()) == []


def test_large_logits_stay_finite(tmp_path: Path) -> None:
    teacher = make_teacher()
    with torch.no_grad():
        teacher.heads[-1][-1].bias.fill_(1e6)
    batches = make_batches()
    logits = CachedLogits(
        ComputedLogits(teacher, CONTEXT), batches, cache_at(tmp_path), CONTEXT, Observer()
    )
    given = logits(next(iter(batches.epoch(0))))
    assert bool(torch.isfinite(given).all())


@pytest.mark.parametrize("own", [None, Normalisation((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))])
def test_the_logits_for_smaller_images_are_those_of_the_whole_views(
    tmp_path: Path, own: Normalisation | None
) -> None:
    """Computed and stored, so that students of all sizes share a cache."""
    whole, small = make_batches(), make_batches(side=6)
    compute = ComputedLogits(make_teacher(), CONTEXT, own and whole.normalisation.rescale(own))
    stored = []
    for batches, root in ((whole, tmp_path / "whole"), (small, tmp_path / "small")):
        cache = cache_at(root)
        logits = CachedLogits(compute, batches, cache, CONTEXT, Observer())
        logits(next(iter(batches.epoch(0))))
        stored.append(np.array(cache.read(0)))
    np.testing.assert_array_equal(*stored)
    for view, copy in zip(whole.epoch(0), small.epoch(0), strict=True):
        assert copy.images.shape[2] == 6
        assert torch.equal(compute(view), compute(copy))


def test_a_teacher_with_another_normalisation_gets_its_own() -> None:
    batches, own = make_batches(), Normalisation((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    assert batches.normalisation.rescale(batches.normalisation) is None
    rescale = batches.normalisation.rescale(own)
    teacher = make_teacher().eval()
    logits = ComputedLogits(teacher, CONTEXT, rescale)
    theirs = Batches(
        batches._images, own, batches.batch_size, 1, CONTEXT, VIEWS  # the same views
    )  # fmt: skip
    for given, expected in zip(batches.epoch(0), theirs.epoch(0), strict=True):
        with torch.no_grad():
            torch.testing.assert_close(
                logits(given), teacher(expected.images), rtol=1e-4, atol=1e-4
            )
