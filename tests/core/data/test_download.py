"""Downloads from a server on this machine: whole files appear, or none."""

import errno
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from erde_cli.core.data import download
from erde_cli.core.data.download import fetch
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.data.published import PublishedSource
from erde_cli.core.errors import DataError, DownloadError
from erde_cli.core.events import Observer
from erde_cli.core.platform.torchvision_import import torchvision_datasets
from erde_cli.core.recipe.sections.data import Data

from ...published_files import (
    EXTRA_FILE,
    FILES,
    Server,
    publish,
    serving,
    write_cifar10,
    write_cifar100,
    write_svhn,
)

ASKED = {
    "cifar10": ["/cifar-10-python.tar.gz"],
    "cifar100": ["/cifar-100-python.tar.gz"],
    "svhn": ["/train_32x32.mat", "/test_32x32.mat"],
}


class Recorder(Observer):
    """Records all events."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps: list[tuple[str, int, int]] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def progress(self, title: str, done: int, total: int) -> None:
        self.steps.append((title, done, total))


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the server publishes."""
    root = tmp_path_factory.mktemp("origin")
    write_cifar10(root, 2, 2)
    write_cifar100(root, 2, 2)
    write_svhn(root, 2, 2, extra_per_class=2)
    return root


@pytest.fixture
def server(origin: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving() as server:
        publish(monkeypatch, server, origin)
        yield server


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ERDE_DATA", str(tmp_path / "elsewhere"))
    return tmp_path / "made" / "data"


def settings_for(name: str, root: Path, **settings: Any) -> Data:
    return Data(dataset=name, root=str(root), **settings)  # type: ignore[arg-type]


def files_below(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
def test_a_data_set_is_downloaded_where_the_recipe_says_so(
    server: Server, origin: Path, root: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder()
    dataset = open_dataset(settings_for(name, root, download=True), recorder)
    assert list(dict.fromkeys(server.asked)) == ASKED[name]
    assert files_below(root) == sorted(FILES[name])
    for file in FILES[name]:
        assert (root / file).read_bytes() == (origin / file).read_bytes()
    assert dataset.fingerprint == open_dataset(settings_for(name, origin)).fingerprint
    assert len(recorder.notes) == len(ASKED[name])
    assert server.address in recorder.notes[0]
    last = {title: (done, total) for title, done, total in recorder.steps}
    for path in ASKED[name]:
        size = len(server.content[path])
        assert last[f"Downloading {path[1:]}"] == (size, size)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_downloaded_without_being_asked_for(server: Server, root: Path) -> None:
    with pytest.raises(DataError, match="missing or corrupt"):
        open_dataset(settings_for("cifar10", root))
    assert server.asked == []
    assert not root.exists()


def test_what_is_whole_is_not_asked_for_again(server: Server, root: Path) -> None:
    assert fetch("svhn", root, Observer()) == ["train_32x32.mat", "test_32x32.mat"]
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    server.asked.clear()
    assert fetch("svhn", root, Observer()) == []
    open_dataset(settings_for("svhn", root, download=True))
    assert server.asked == []
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_only_what_is_wanting_is_downloaded(server: Server, root: Path) -> None:
    fetch("svhn", root, Observer())
    server.asked.clear()
    assert fetch("svhn", root, Observer(), extra=True) == [EXTRA_FILE]
    assert set(server.asked) == {f"/{EXTRA_FILE}"}
    assert len(PublishedSource("svhn", root, extra=True).labels) == 60
    (root / "test_32x32.mat").unlink()
    server.asked.clear()
    assert fetch("svhn", root, Observer(), extra=True) == ["test_32x32.mat"]
    assert set(server.asked) == {"/test_32x32.mat"}


def test_a_corrupt_file_is_replaced_and_the_whole_ones_stay(
    server: Server, origin: Path, root: Path
) -> None:
    fetch("cifar10", root, Observer())
    [bad, *good] = [root / file for file in FILES["cifar10"]]
    bad.write_bytes(b"cut short")
    before = {path: path.stat().st_ino for path in good}
    assert fetch("cifar10", root, Observer()) == ["cifar-10-python.tar.gz"]
    assert bad.read_bytes() == (origin / FILES["cifar10"][0]).read_bytes()
    assert {path: path.stat().st_ino for path in good} == before


def test_a_whole_archive_that_lies_there_is_unpacked_and_not_downloaded(
    server: Server, root: Path
) -> None:
    root.mkdir(parents=True)
    archive = root / "cifar-10-python.tar.gz"
    archive.write_bytes(server.content["/cifar-10-python.tar.gz"])
    fetch("cifar10", root, Observer())
    assert server.asked == []
    assert files_below(root) == sorted([archive.name, *FILES["cifar10"]])


def test_a_half_downloaded_archive_that_lies_there_is_not_taken_for_the_whole_one(
    server: Server, root: Path
) -> None:
    root.mkdir(parents=True)
    half = server.content["/cifar-10-python.tar.gz"][:1000]
    (root / "cifar-10-python.tar.gz").write_bytes(half)
    fetch("cifar10", root, Observer())
    assert set(server.asked) == {"/cifar-10-python.tar.gz"}
    PublishedSource("cifar10", root)


def fails(name: str, root: Path, **settings: Any) -> DownloadError:
    """The error of a download that fails and leaves nothing behind."""
    before = files_below(root)
    with pytest.raises(DownloadError) as caught:
        open_dataset(settings_for(name, root, download=True, **settings))
    assert caught.value.exit_code == 1
    assert caught.value.message == f"{name} cannot be downloaded into {root}."
    assert f"erde data fetch {name} --root {root}" in caught.value.hint
    assert "by hand: put" in caught.value.hint
    assert files_below(root) == before
    assert not [path for path in root.rglob("*") if path.name.startswith(".")]
    return caught.value


@pytest.mark.parametrize("name", ["cifar10", "svhn"])
def test_another_file_than_the_published_one_is_refused_and_the_next_try_works(
    server: Server, root: Path, name: str
) -> None:
    path = ASKED[name][0]
    right = server.content[path]
    server.content[path] = right[:-1] + bytes([right[-1] ^ 1])
    error = fails(name, root)
    assert f"{len(right):,} bytes with md5" in error.got
    assert ", expected md5" in error.got
    assert path[1:] in error.expected
    server.content[path] = right
    fetch(name, root, Observer())
    PublishedSource(name, root)


def test_a_download_that_is_cut_short_is_refused(
    origin: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(cut=1) as server:
        publish(monkeypatch, server, origin)
        error = fails("svhn", root)
        assert f"{len(server.content['/train_32x32.mat']) - 1:,} bytes with md5" in error.got


def test_what_came_before_a_failure_is_kept(server: Server, root: Path) -> None:
    del server.content["/test_32x32.mat"]
    with pytest.raises(DownloadError) as caught:
        fetch("svhn", root, Observer(), extra=True)
    assert "404" in caught.value.got
    assert files_below(root) == ["train_32x32.mat"]
    assert "put test_32x32.mat and extra_32x32.mat into" in caught.value.hint
    assert "--extra" in caught.value.hint


def test_a_server_that_cannot_be_reached_is_told(
    origin: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as server:
        publish(monkeypatch, server, origin)
    assert fails("cifar10", root).got == "Connection refused"


def test_a_server_that_falls_silent_is_given_up(
    origin: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_SILENCE", 0.1)
    with serving(silence=30) as server:
        publish(monkeypatch, server, origin)
        assert "timed out" in fails("cifar10", root).got
    assert socket.getdefaulttimeout() is None


def test_a_full_disk_is_told(server: Server, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(url: str, path: str) -> None:
        Path(path).write_bytes(b"the first bytes")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torchvision_datasets().utils, "_urlretrieve", full)
    assert fails("svhn", root).got == "No space left on device"


def test_a_disk_that_is_full_from_the_start_is_no_mistake_of_the_user(
    server: Server, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "TemporaryDirectory", full)
    assert fails("svhn", root).got == "No space left on device"


def test_an_archive_without_the_files_is_refused(
    server: Server, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = torchvision_datasets().CIFAR10
    listed = [[file, "0" * 32 if file == "data_batch_3" else md5] for file, md5 in kind.train_list]
    monkeypatch.setattr(kind, "train_list", listed)
    assert "data_batch_3: corrupt" in fails("cifar10", root).got


def test_an_interrupted_download_leaves_nothing(
    server: Server, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(url: str, path: str) -> None:
        Path(path).write_bytes(b"the first bytes")
        raise KeyboardInterrupt

    monkeypatch.setattr(torchvision_datasets().utils, "_urlretrieve", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch("svhn", root, Observer())
    assert list(root.iterdir()) == []
    monkeypatch.undo()


def test_torchvisions_own_bar_is_back_after_a_download(server: Server, root: Path) -> None:
    bar = torchvision_datasets().utils.tqdm
    fetch("svhn", root, Observer())
    shutil.rmtree(root)
    server.content.clear()
    with pytest.raises(DownloadError):
        fetch("svhn", root, Observer())
    assert torchvision_datasets().utils.tqdm is bar


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_in_the_way_of_the_folder_is_told(
    server: Server, tmp_path: Path, below: str
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError) as caught:
        open_dataset(settings_for("svhn", tmp_path / "file" / below, download=True))
    assert str(tmp_path / "file") in caught.value.message
    assert caught.value.exit_code == 2
    assert "--root" in caught.value.hint
    assert server.asked == []


def test_a_folder_that_may_not_be_written_to_is_told_before_anything_is_downloaded(
    server: Server, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(download, "TemporaryDirectory", refuse)
    with pytest.raises(DataError, match=f"Cannot write into {root}: Permission denied") as caught:
        fetch("cifar10", root, Observer())
    assert caught.value.exit_code == 2
    assert server.asked == []
