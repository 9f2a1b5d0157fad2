"""The cache of decoded images: written once and atomically, and again when files change."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.folder_layout import folder_source
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.data.splits import SPLITS
from erde_cli.core.data.user_folders import Reading, open_labelled_folder
from erde_cli.core.errors import DataError, ErdeError
from erde_cli.core.events import Observer
from erde_cli.core.images import decoders, image_cache, image_files
from erde_cli.core.images.pixels import DEFAULT_RULES
from erde_cli.core.recipe.sections.data import Data
from erde_cli.core.storage.files import digest_of_file
from erde_cli.core.storage.json_files import digest_of

from ..conftest import MakeFolder

COUNTS = {"train": {"a": 20, "b": 10}, "test": {"a": 3, "b": 4}}


class Listener(Observer):
    """Records notes, warnings and progress."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.decoded: list[tuple[int, int]] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warning(self, message: str) -> None:
        self.warnings.append(message)

    def progress(self, title: str, done: int, total: int) -> None:
        assert title == "Decoding images"
        self.decoded.append((done, total))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for each test."""
    monkeypatch.setenv("ERDE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


@pytest.fixture
def root(make_images: MakeFolder) -> Path:
    return make_images(COUNTS)


def opened(root: Path, size: int = 8, **settings: Any) -> tuple[Dataset, Listener]:
    listener = Listener()
    data = Data(dataset="imagefolder", root=str(root), image_size=size, **settings)
    return open_dataset(data, listener), listener


def assert_pixels_are_those_of_the_files(dataset: Dataset) -> None:
    size = dataset.image_size
    for split in SPLITS:
        store = dataset.load(split)
        pixels = store.part(0, len(store)).numpy()
        for number, found in zip(store.numbers, pixels, strict=True):
            with Image.open(dataset.source.files[number]) as image:  # type: ignore[attr-defined]
                wanted = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(found, np.asarray(wanted))


def digest_by_hashing(root: Path) -> str:
    source = folder_source(root)
    return source._digest_of([digest_of_file(path) for path in source.files])


def made(cache: Path) -> list[Path]:
    return sorted(cache.iterdir())


def test_images_are_decoded_once_and_a_note_names_the_cache(root: Path, cache: Path) -> None:
    first, listener = opened(root)
    [folder] = made(cache)
    assert listener.decoded[-1] == (37, 37)
    assert listener.warnings == []
    assert listener.notes == [f"Decoded images: 7 kB, cached in {folder}"]
    second, listener = opened(root)
    assert (listener.notes, listener.warnings, listener.decoded) == ([], [], [])
    assert made(cache) == [folder]
    assert second.fingerprint == first.fingerprint
    for dataset in (first, second):
        assert_pixels_are_those_of_the_files(dataset)


def test_a_second_start_opens_no_image(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(root)
    read: list[str] = []
    real = os.open
    # Not `open`: what reads an image anywhere in erde goes through one of these two.
    monkeypatch.setattr(
        os, "open", lambda path, *more: (read.append(str(path)), real(path, *more))[1]
    )
    monkeypatch.setattr(Image, "open", lambda *more, **options: pytest.fail("an image is opened"))
    dataset, _ = opened(root)
    for split in SPLITS:
        dataset.load(split)
    dataset.check("test")
    assert [path for path in read if path.endswith(".png")] == []


def write_noise(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def overwrite_in_place(root: Path) -> None:
    """Other pixels, the same number of bytes, the same time of change."""
    path = root / "train/a/000.png"
    before = path.stat()
    image = Image.fromarray(np.full((6, 6, 3), 9, np.uint8))
    image.save(path, pnginfo=None)
    content = path.read_bytes()
    path.write_bytes(content + b"\0" * (before.st_size - len(content)))
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap(root: Path) -> None:
    one, other = root / "train/a/000.png", root / "train/a/001.png"
    one.rename(root / "swap")
    other.rename(one)
    (root / "swap").rename(other)


@pytest.mark.parametrize(
    "change",
    [
        lambda root: write_noise(root / "train/a/000.png", 7),
        lambda root: write_noise(root / "train/a/new.png", 7),
        lambda root: write_noise(root / "test/b/new.png", 7),
        lambda root: (root / "train/a/000.png").unlink(),
        lambda root: (root / "train/a/000.png").rename(root / "train/a/zzz.png"),
        lambda root: (root / "train/a/000.png").rename(root / "train/b/000-moved.png"),
        lambda root: os.utime(root / "train/a/000.png"),
        overwrite_in_place,
        swap,
    ],
    ids=["changed", "added", "added to test", "removed", "renamed", "moved", "touched",
         "in place", "swapped"],
)  # fmt: skip
def test_images_are_decoded_again_when_files_change(
    root: Path, cache: Path, change: Callable[[Path], object]
) -> None:
    opened(root)
    time.sleep(0.02)  # longer than the clock of a file system may stand still
    change(root)
    dataset, listener = opened(root)
    assert len(listener.decoded) > 0
    assert len(made(cache)) == 2
    assert_pixels_are_those_of_the_files(dataset)
    assert dataset.source.digest() == digest_by_hashing(root)


def test_another_size_is_decoded_apart(root: Path, cache: Path) -> None:
    for size in (8, 12, 8, 12):
        dataset, _ = opened(root, size)
        assert_pixels_are_those_of_the_files(dataset)
    assert len(made(cache)) == 2


def test_a_link_that_leads_elsewhere_is_a_change(root: Path, tmp_path: Path) -> None:
    targets = [tmp_path / "one.png", tmp_path / "two.png"]
    link = root / "train/a/link.png"
    for seed, target in enumerate(targets):
        write_noise(target, seed)
        os.utime(target, ns=(1, 1))
    for target in targets:
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        assert_pixels_are_those_of_the_files(opened(root)[0])


def test_settings_that_affect_pixels_change_the_key(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(root)
    monkeypatch.setattr("erde_cli.core.images.decoding.__version__", "0.0")
    assert opened(root)[1].decoded
    assert not opened(root)[1].decoded
    monkeypatch.setattr(image_files, "VERSION", 99)
    assert opened(root)[1].decoded


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def edit_index(folder: Path, **values: object) -> None:
    path = folder / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: edit(folder / "images.npy", lambda content: content[:-1]),
        lambda folder: edit(folder / "images.npy", lambda content: b""),
        lambda folder: edit(folder / "images.npy", lambda content: bytes(len(content))),
        lambda folder: edit(
            folder / "images.npy", lambda content: content[:4000] + bytes(len(content) - 4000)
        ),
        lambda folder: edit(
            folder / "images.npy", lambda content: content.replace(b"(37, 8", b"(37, 4", 1)
        ),
        lambda folder: (folder / "images.npy").unlink(),
        lambda folder: (folder / "index.json").unlink(),
        lambda folder: (folder / "index.json").write_bytes(b"\xff{garbage"),
        lambda folder: (folder / "index.json").write_text("[]"),
        lambda folder: (folder / "index.json").write_text("{}"),
        lambda folder: edit_index(folder, key="that of others"),
        lambda folder: edit_index(folder, unreadable=[1]),
        lambda folder: (shutil.rmtree(folder), folder.write_text("a file")),
        lambda folder: [path.unlink() for path in folder.iterdir()],
        lambda folder: (folder / "checksums").unlink(),
        lambda folder: edit(folder / "checksums", lambda content: content[:-4] + bytes(4)),
        lambda folder: edit(folder / "checksums", lambda content: content[:-4]),
        lambda folder: edit(folder / "checksums", lambda content: b""),
    ],
    ids=["shorter", "empty", "zeros", "tail lost", "header", "no images", "no index",
         "garbage index", "list", "empty index", "foreign", "unreadable", "a file", "nothing",
         "no checksums", "other checksums", "fewer checksums", "empty checksums"],
)  # fmt: skip
def test_a_damaged_cache_is_written_again(
    root: Path, cache: Path, damage: Callable[[Path], object]
) -> None:
    opened(root)
    [folder] = made(cache)
    damage(folder)
    dataset, listener = opened(root)
    assert listener.decoded
    assert listener.warnings == [f"{folder} is damaged. Its images are decoded again."]
    assert_pixels_are_those_of_the_files(dataset)
    assert made(cache) == [folder]
    assert not opened(root)[1].decoded


@pytest.mark.parametrize("limit", [2000, 0], ids=["copied", "mapped"])
@pytest.mark.parametrize("place", [0, 11 * 192 + 95, 37 * 192 - 1], ids=["first", "middle", "last"])
def test_a_flipped_bit_is_noticed_before_its_image_is_used(
    root: Path, cache: Path, limit: int, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the parts that are compared at the beginning do not lie, as in a large file."""
    monkeypatch.setattr(image_cache, "_sample", lambda handle: 0)
    opened(root)
    [folder] = made(cache)
    path = folder / "images.npy"
    content = bytearray(path.read_bytes())
    content[len(content) - 37 * 192 + place] ^= 4
    path.write_bytes(content)
    dataset, listener = opened(root, memory_limit=limit)
    assert not listener.decoded
    whole = 0
    for split in SPLITS:
        try:
            dataset.load(split)
            whole += 1
        except DataError as error:
            assert f"{path} is damaged, at image {place // 192}." in str(error)  # noqa: PT017
            assert "run the same command again" in error.hint  # noqa: PT017
    assert whole == 2
    dataset, listener = opened(root, memory_limit=limit)
    assert listener.decoded
    assert_pixels_are_those_of_the_files(dataset)


def test_unreadable_files_are_remembered_with_their_reasons(root: Path) -> None:
    broken = root / "train/a/broken.png"
    broken.write_bytes(b"no image")
    messages = []
    for _ in range(2):
        dataset, listener = opened(root)
        with pytest.raises(DataError, match="1 file ") as caught:
            [dataset.load(split) for split in SPLITS]
        messages.append(caught.value.message)
    assert not listener.decoded
    assert messages[0] == messages[1]
    assert f"{broken}: UnidentifiedImageError" in messages[0]
    dataset, listener = opened(root, unreadable="skip", memory_limit=0)
    assert sum(len(dataset.load(split)) for split in SPLITS) == 37
    assert dataset.skipped == [broken]
    assert_pixels_are_those_of_the_files(dataset)


@pytest.mark.parametrize("limit", [0, 1])
def test_a_cache_that_cannot_be_written_is_done_without(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    whole, _ = opened(root)
    (tmp_path / "in the way").write_text("a file")
    monkeypatch.setenv("ERDE_CACHE", str(tmp_path / "in the way"))
    dataset, listener = opened(root, memory_limit=limit)
    [warning] = listener.warnings
    assert "Cannot write to" in warning
    assert "export ERDE_CACHE=FOLDER" in warning
    assert listener.notes == []
    assert dataset.fingerprint == whole.fingerprint == _fingerprint_by_hashing(root, dataset)
    assert_pixels_are_those_of_the_files(dataset)


def _fingerprint_by_hashing(root: Path, dataset: Dataset) -> str:
    """The fingerprint as it was before there was a cache."""
    splits = {name: numbers.tolist() for name, numbers in dataset.splits.items()}
    described = {"images": digest_by_hashing(root), "splits": splits}
    return digest_of(described)


@pytest.mark.parametrize("function", ["fsync", "pread"])
def test_a_disk_that_fails_half_way_is_done_without(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, function, full)
    dataset, listener = opened(root)
    assert "No space left on device" in listener.warnings[0]
    assert made(cache) == []
    assert_pixels_are_those_of_the_files(dataset)


def test_a_full_disk_causes_a_warning(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(root)._replace(free=7000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    dataset, listener = opened(root)
    assert "The disk has no space for a cache of 7 kB" in listener.warnings[0]
    assert_pixels_are_those_of_the_files(dataset)


def test_a_folder_that_is_evaluated_has_a_cache_too(make_images: MakeFolder) -> None:
    root = make_images({"": {"a": 2, "b": 3}})
    for times in range(2):
        listener = Listener()
        dataset = open_labelled_folder(
            root, ("a", "b"), Reading(8, DEFAULT_RULES), observer=listener
        )
        assert bool(listener.decoded) == (times == 0)
        assert dataset.load("test").labels.tolist() == [0, 0, 1, 1, 1]
    # The same files under another list of classes are another source.
    other = open_labelled_folder(root, ("a", "b", "c"), Reading(8, DEFAULT_RULES))
    assert other.source.digest() != dataset.source.digest()


def test_a_file_that_changes_while_it_is_read_is_refused(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = decoders.decode_files

    def change_and_decode(*arguments: Any) -> Any:
        write_noise(root / "train/a/003.png", 5)
        return real(*arguments)

    monkeypatch.setattr(decoders, "decode_files", change_and_decode)
    with pytest.raises(DataError, match="changed while they were read"):
        opened(root)
    assert made(cache) == []


def test_a_file_that_cannot_be_opened_is_an_error_and_no_cache(root: Path, cache: Path) -> None:
    path = root / "train/a/000.png"
    path.unlink()
    path.symlink_to(path)  # a link to itself
    source = folder_source(root)
    assert str(path) not in source.paths  # it is no file
    source.paths.append(str(path))
    with pytest.raises(DataError, match="Cannot open"):
        source.decode(8, Observer())
    assert not cache.exists()


@pytest.fixture
def in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode in processes, although it is slower."""
    monkeypatch.setattr(decoders, "_PAYS_FROM", 0)
    monkeypatch.setattr(decoders, "_FILES_AT_ONCE", 4)
    monkeypatch.setattr(decoders, "cores", lambda: 3)


def test_processes_find_what_this_one_finds(
    root: Path, in_processes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "train/a/broken.png").write_bytes(b"no image")
    odd = root / "train" / "a" / os.fsdecode(b"odd \xff\n name.png")
    shutil.copy(root / "train/a/000.png", odd)
    monkeypatch.setattr(decoders, "decode_files", lambda *more: pytest.fail("decoded here"))
    there = folder_source(root, skip_unreadable=True)
    there.decode(8, Observer())
    monkeypatch.undo()
    monkeypatch.setenv("ERDE_CACHE", str(tmp_path / "other"))
    here = folder_source(root, skip_unreadable=True)
    here.decode(8, Observer())
    images, numbers = here.read(np.arange(39), 8)
    found, found_numbers = there.read(np.arange(39), 8)
    np.testing.assert_array_equal(found, images)
    np.testing.assert_array_equal(found_numbers, numbers)
    assert there.digest() == here.digest()
    assert there.skipped == here.skipped


def test_pillows_limits_hold_in_processes_as_well(
    root: Path, in_processes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 35)
    source = folder_source(root)
    source.decode(8, Observer())
    with pytest.raises(DataError, match=r"(?s)37 files.*DecompressionBombWarning"):
        source.read(np.arange(37), 8)


@pytest.mark.usefixtures("in_processes")
def test_a_process_that_dies_is_an_error(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "_SERVE", "import os; os._exit(3)")
    with pytest.raises(ErdeError, match="decodes images died"):
        opened(root)
    assert made(cache) == []


@pytest.mark.usefixtures("in_processes")
def test_where_no_process_can_be_started_images_are_decoded_here(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*arguments: object, **options: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(decoders, "Popen", none)
    dataset, listener = opened(root)
    assert listener.warnings == []
    assert_pixels_are_those_of_the_files(dataset)


def test_a_renamed_folder_of_images_is_a_change(make_images: MakeFolder) -> None:
    """It leaves the times of the files as they were."""
    root = make_images({"train": {"a": 20, "b": 10, "b/deeper": 10}})
    opened(root)
    (root / "train/b/deeper").rename(root / "train/b/000-first")
    dataset, listener = opened(root)
    assert listener.decoded
    assert dataset.source.digest() == digest_by_hashing(root)
    assert_pixels_are_those_of_the_files(dataset)


def test_who_is_second_leaves_what_the_first_has_put_there(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        (folder / "by").write_text(folder.name)
    assert image_cache._put(second, first, lambda: True) is None
    assert (first / "by").read_text() == "first"
    assert image_cache._put(second, first, lambda: False) is None
    assert (first / "by").read_text() == "second"
    assert list(tmp_path.iterdir()) == [first]


SCRIPT = """
import sys
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.events import Observer
from erde_cli.core.images import decoders
from erde_cli.core.recipe.sections.data import Data
decoders._PAYS_FROM, decoders._FILES_AT_ONCE, decoders.cores = 0, 1, lambda: 2
class Listener(Observer):
    def progress(self, title, done, total):
        print(done, flush=True)
        if "wait" in sys.argv and done == 3:
            sys.stdin.readline()
data = Data(dataset="imagefolder", root=sys.argv[1], image_size=8)
print(open_dataset(data, Listener()).fingerprint)
"""


def start(root: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(root), *more]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, process_group=0
    )


def test_two_processes_at_once_both_work_and_leave_one_cache(root: Path, cache: Path) -> None:
    both = [start(root, "wait") for _ in range(2)]
    for process in both:  # neither goes on before both are half-way
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(3)] == ["1\n", "2\n", "3\n"]
    assert len(made(cache)) == 2
    ends = [process.communicate("\n", timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert {out.splitlines()[-1] for out, _ in ends} == {opened(root)[0].fingerprint}
    assert len(made(cache)) == 1
    assert not opened(root)[1].decoded


def test_ctrl_c_stops_at_once_and_leaves_nothing(root: Path, cache: Path) -> None:
    process = start(root, "wait")
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    assert len(made(cache)) == 1
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all that it has started
    begin = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - begin < 30
    assert process.returncode != 0
    assert "KeyboardInterrupt" in err
    assert err.count("Traceback") == 1  # the worker processes print nothing
    assert made(cache) == []


def test_beyond_the_limit_the_splits_share_the_mapped_file(root: Path) -> None:
    held, mapped = opened(root)[0], opened(root, memory_limit=0)[0]
    assert held.fingerprint == mapped.fingerprint
    for split in SPLITS:
        own, shared = held.load(split), mapped.load(split)
        assert (own.rows, own.mapping) == (None, None)
        assert len(own.images) == len(own)
        assert shared.mapping is not None
        assert len(shared.images) == 37
        assert shared.images.data_ptr() == mapped.load("train").images.data_ptr()
        assert torch.equal(shared.part(0, 99), own.images)
        assert torch.equal(shared.labels, own.labels)
        np.testing.assert_array_equal(shared.numbers, own.numbers)


def resident(field: str) -> int:
    """Memory of this process, in kB: RssFile of mapped files, RssAnon of other memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells it")
def test_memory_stays_flat_while_a_mapped_store_is_read(make_images: MakeFolder) -> None:
    root = make_images({"train": {"a": 40, "b": 40}, "test": {"a": 1, "b": 1}})
    dataset, _ = opened(root, 512, memory_limit=0)  # 64 MB
    store = dataset.load("train")
    before = {field: resident(field) for field in ("RssFile", "RssAnon")}
    for start in range(0, len(store), 4):
        assert store.part(start, 4).max() > 0
    assert len(store) * store.images[0].nbytes > 50_000_000
    for field, size in before.items():
        assert resident(field) - size < 15_000, field


def test_images_read_by_other_rules_are_other_images(root: Path, cache: Path) -> None:
    Image.new("RGBA", (6, 6), (0, 0, 0, 0)).save(root / "train/a/clear.png")
    first, _ = opened(root)
    number = first.source.paths.index(str(root / "train/a/clear.png"))  # type: ignore[attr-defined]
    colours = {}
    for rule in ("white", "black", "ignore"):
        dataset, _ = opened(root, transparent=rule)
        colours[rule] = dataset.source.decoded.images[number].mean()  # type: ignore[attr-defined]
    assert colours == {"white": 255, "black": 0, "ignore": 0}
    assert len(made(cache)) == 3
    opened(root, bit_depth=16, frames="first")  # the same pixels as without
    assert len(made(cache)) == 3
    opened(root, resize="crop")
    opened(root, resize="crop", crop_share=0.875)  # the same pixels as without
    assert len(made(cache)) == 4
    opened(root, resize="crop", crop_share=0.9)
    opened(root, interpolation="bicubic")
    assert len(made(cache)) == 6


def test_warnings_of_the_files_come_at_every_start(root: Path, cache: Path) -> None:
    deep = Image.fromarray(np.full((6, 6), 4000, np.uint16))
    deep.save(root / "train/a/deep.png")
    for _ in range(2):
        dataset, _ = opened(root)
        assert dataset.source.decoded.traits.deep == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["digests", "checksums"])
@pytest.mark.parametrize("content", [b"", b"\0" * 8, None])
def test_damaged_columns_are_written_again(
    root: Path, cache: Path, name: str, content: bytes | None
) -> None:
    first, _ = opened(root)
    path = made(cache)[0] / name
    path.write_bytes(path.read_bytes()[:-1] + b"\xff" if content is None else content)
    again, listener = opened(root)
    assert "is damaged" in listener.warnings[0]
    assert again.fingerprint == first.fingerprint
    assert (again.source.first_same == np.arange(37)).all()
