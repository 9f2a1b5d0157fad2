"""A file in a folder shows that all processes see the same one; its name is no path."""

from __future__ import annotations

from pathlib import Path

import pytest

from erde_cli.core.errors import InputError
from erde_cli.core.processes.folders import marked, new_mark, require_marks
from erde_cli.core.storage.temporary import sweep


@pytest.mark.parametrize(
    "name",
    ["", "..", "../secret", "/etc/passwd", ".erde-new-rank-0-../../secret", "a\x1b[31m",
     ".erde-new-rank-0-0123456789abcdef/", ".erde-new-rank-0-0123456789abcdef\n", "x" * 10**6],
    ids=lambda name: name[:20],
)  # fmt: skip
def test_a_name_that_erde_does_not_give_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("")
    (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match="Rank 0 has sent a name") as it:
        require_marks({"run": tmp_path / "run"}, name, 1, same_host=True)
    assert len(str(it.value)) < 500


def test_a_folder_of_another_place_is_refused(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    name = new_mark()
    with marked({"run": here}, name):
        require_marks({"run": here}, name, 1, same_host=True)
        with pytest.raises(InputError, match=r"Rank 1 does not see .* the cache folder"):
            require_marks({"run": here, "cache": there}, name, 1, same_host=True)
    assert not list(here.iterdir())


def test_a_mark_that_a_killed_process_left_is_removed_and_no_other(tmp_path: Path) -> None:
    left = tmp_path / new_mark()
    left.touch()
    with marked({"run": tmp_path}, used := new_mark()):
        sweep(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [used]
    assert not list(tmp_path.iterdir())
