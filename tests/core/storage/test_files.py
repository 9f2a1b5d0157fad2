"""Files and folders that appear whole or not at all, and digests."""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from erde_cli.core.errors import ErdeError, InputError
from erde_cli.core.storage.files import (
    digest_of_file,
    make_folder,
    replaced_folder,
    write_file,
    write_text,
)
from erde_cli.core.storage.json_files import digest_of, read_json, write_json


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """The umask of the process, for one test."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, MemoryError])
def test_a_writer_that_raises_midway_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")

    def write_half(temporary: Path) -> None:
        temporary.write_text("ha")
        raise error

    with pytest.raises(error):
        write_file(path, write_half)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["result.json"]


def test_a_full_disk_is_an_error_of_the_machine_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")

    def fill_the_disk(temporary: Path) -> None:
        temporary.write_text("ha")
        raise OSError(28, "No space left on device")

    with pytest.raises(ErdeError, match="No space left") as caught:
        write_file(path, fill_the_disk)
    assert caught.value.exit_code == 1
    assert path.read_text() == "old"
    assert names(tmp_path) == ["result.json"]


def test_the_file_is_not_there_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "result.bin"
    there = []

    def write(temporary: Path) -> None:
        temporary.write_bytes(b"12")
        there.append(path.exists())
        assert temporary.parent == path.parent

    write_file(path, write)
    assert there == [False]
    assert path.read_bytes() == b"12"
    assert names(tmp_path) == ["result.bin"]


def test_the_temporary_file_has_the_same_ending_so_that_writers_know_the_format(
    tmp_path: Path,
) -> None:
    endings = []
    write_file(tmp_path / "picture.png", lambda temporary: endings.append(temporary.suffix))
    assert endings == [".png"]


def test_a_file_takes_the_place_of_the_old_one_and_makes_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "text.txt"
    write_text(path, "one")
    write_text(path, "zwei ü")
    assert path.read_bytes() == "zwei ü".encode()
    assert names(path.parent) == ["text.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_folder_that_is_half_filled_never_takes_the_place_of_the_old(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "old").write_text("old")

    def fill_half() -> None:
        with replaced_folder(path) as temporary:
            (temporary / "new").write_text("new")
            raise error

    with pytest.raises(error):
        fill_half()
    assert names(tmp_path) == ["bundle"]
    assert names(path) == ["old"]


def test_a_half_filled_folder_does_not_appear_where_none_was(tmp_path: Path) -> None:
    def fill_half() -> None:
        with replaced_folder(tmp_path / "bundle") as temporary:
            (temporary / "new").write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fill_half()
    assert names(tmp_path) == []


@pytest.mark.parametrize("old", [None, ["old"], ["old", "new"]])
def test_a_filled_folder_takes_the_place_of_the_old_with_nothing_of_it(
    tmp_path: Path, old: list[str] | None
) -> None:
    path = tmp_path / "runs" / "bundle"
    for name in old or []:
        make_folder(path)
        (path / name).write_text("old")
    with replaced_folder(path) as temporary:
        (temporary / "new").write_text("new")
    assert names(path) == ["new"]
    assert (path / "new").read_text() == "new"
    assert names(path.parent) == ["bundle"]


def test_a_folder_does_not_take_the_place_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    path.write_text("a file")

    def fill() -> None:
        with replaced_folder(path) as temporary:
            (temporary / "new").write_text("new")

    with pytest.raises(ErdeError):
        fill()
    assert names(tmp_path) == ["bundle"]
    assert path.read_text() == "a file"


@pytest.mark.parametrize(
    "write",
    [
        lambda path: make_folder(path),
        lambda path: write_text(path / "file", "text"),
        lambda path: write_json(path / "deeper" / "file", {}),
        lambda path: replaced_folder(path / "folder").__enter__(),
    ],
)
def test_a_file_in_the_way_of_a_folder_is_an_input_error(
    tmp_path: Path, write: Callable[[Path], object]
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="Cannot create the folder") as caught:
        write(tmp_path / "file" / "folder")
    assert "--out" in caught.value.hint
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_file_that_cannot_be_made_is_an_error_of_erde(tmp_path: Path) -> None:
    with pytest.raises(ErdeError):
        write_text(tmp_path / ("a" * 300), "no file system takes a name of 300 bytes")
    assert names(tmp_path) == []


def test_a_folder_in_the_place_of_the_file_is_an_error_of_erde(tmp_path: Path) -> None:
    (tmp_path / "result.json").mkdir()
    with pytest.raises(ErdeError, match="Cannot write"):
        write_json(tmp_path / "result.json", {})
    assert names(tmp_path) == ["result.json"]


def test_permission_bits_follow_the_umask(tmp_path: Path, umask: int) -> None:
    write_text(tmp_path / "file", "text")
    with replaced_folder(tmp_path / "folder"):
        pass
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~umask
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o777 & ~umask
    assert os.umask(umask) == umask


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_have_are_refused(tmp_path: Path, number: float) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"loss": 1.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": [number]})
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest_of([number])
    assert read_json(path) == {"loss": 1.5}
    assert names(tmp_path) == ["result.json"]


def test_a_json_file_reads_back_as_it_was_and_ends_in_a_line(tmp_path: Path) -> None:
    document = {"name": "größe", "values": [1, 0.1, None, True], "inside": {"b": 1, "a": 2}}
    write_json(tmp_path / "a.json", document)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "a.json") == document
    assert text.endswith("}\n")
    assert "größe" in text


@pytest.mark.parametrize("content", [b"", b"{", b"{'a': 1}", b"\xff\xfe{}", b"[1, 2,"])
def test_a_file_that_is_not_json_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"Cannot read .*broken\.json as JSON") as caught:
        read_json(path)
    assert caught.value.hint


def test_a_digest_depends_on_the_document_and_not_on_the_order_of_its_keys() -> None:
    text = b'{"a":"\\u00fc","b":[1,2]}'
    assert digest_of({"b": [1, 2], "a": "ü"}) == hashlib.sha256(text).hexdigest()
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    assert digest_of({"a": 1, "b": 2}) != digest_of({"a": 2, "b": 1})
    assert digest_of([1, 2]) != digest_of([2, 1])


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4000
    (tmp_path / "weights").write_bytes(content)
    assert digest_of_file(tmp_path / "weights") == hashlib.sha256(content).hexdigest()


def test_the_keys_of_a_file_keep_their_order(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"z": 1, "a": 2})
    assert list(json.loads((tmp_path / "a.json").read_text())) == ["z", "a"]
