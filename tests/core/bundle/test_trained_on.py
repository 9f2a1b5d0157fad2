"""Which files a network was trained on, by their content."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from erde_cli.core.bundle.document import TrainedOnDocument
from erde_cli.core.bundle.trained_on import TRAINED_ON, was_trained_on, write_trained_on
from erde_cli.core.errors import BundleError
from erde_cli.core.storage.short_digests import first_of_each, short_digests


def digests_of(*contents: bytes) -> np.ndarray:
    return short_digests(hashlib.sha256(content).hexdigest() for content in contents)


def test_files_are_known_again_by_their_content(tmp_path: Path) -> None:
    described = write_trained_on(tmp_path, digests_of(b"a", b"b", b"a", b"c"))
    assert described["files"] == 3
    assert (tmp_path / TRAINED_ON).stat().st_size == 3 * 8
    document = TrainedOnDocument.model_validate(described)
    again = was_trained_on(tmp_path, document, digests_of(b"c", b"d", b"a", b"a"))
    assert again is not None
    assert again.tolist() == [True, False, True, True]


def test_the_file_does_not_depend_on_the_order_of_the_images(tmp_path: Path) -> None:
    contents = [bytes([n]) for n in range(50)]
    first = write_trained_on(tmp_path, digests_of(*contents))
    assert write_trained_on(tmp_path, digests_of(*reversed(contents))) == first


def test_a_bundle_that_says_nothing_is_asked_nothing(tmp_path: Path) -> None:
    assert was_trained_on(tmp_path, None, digests_of(b"a")) is None


@pytest.mark.parametrize("content", [None, b"", b"\0" * 16, b"\0" * 24, b"\0" * 4096])
def test_a_damaged_file_is_no_alibi(content: bytes | None, tmp_path: Path) -> None:
    described = write_trained_on(tmp_path, digests_of(b"a", b"b", b"c"))
    (tmp_path / TRAINED_ON).unlink()
    if content is not None:
        (tmp_path / TRAINED_ON).write_bytes(content)
    with pytest.raises(BundleError, match="missing or damaged"):
        was_trained_on(tmp_path, TrainedOnDocument.model_validate(described), digests_of(b"a"))


def test_each_file_knows_the_first_one_with_its_content() -> None:
    found = first_of_each(digests_of(b"x", b"a", b"x", b"b", b"a", b"x"))
    assert found.tolist() == [0, 1, 0, 3, 1, 0]
