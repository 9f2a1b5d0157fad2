"""`erde predict MODEL - --live` at the end of a pipe that stays open, and rows on stdout as CSV."""

from __future__ import annotations

import csv
import io
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from erde_cli.commands.views import terminal
from erde_cli.commands.views.predict import CsvRows
from erde_cli.core.images import decoders
from erde_cli.core.images.named_paths import WAITING, Named, as_they_come, named_images
from erde_cli.core.inference.rows import Prediction
from erde_cli.core.workflows import predict as workflow
from erde_cli.core.workflows.options import Options

from ..conftest import Cli, JsonOf

Start = Callable[..., "Camera"]


class Camera:
    """Writes paths to a process, and reads what that answers, a line each."""

    def __init__(self, *line: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "erde_cli", "predict", *map(str, line), "--live"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
            env={name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"},
        )  # fmt: skip

    def send(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())

    def line(self, stream: Any = None) -> str:
        """The next line; where it needs more than is sent, it does not come within a minute."""
        stream, text = stream or self.process.stdout, b""
        while not text.endswith(b"\n"):
            assert select.select([stream], [], [], 60)[0], f"nothing after {text!r}"
            text += (got := stream.read(1))
            assert got, f"the end after {text!r}"
        return text.decode()

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out.decode(), err.decode()


@pytest.fixture
def camera() -> Iterator[Start]:
    begun: list[Camera] = []

    def start(*line: object) -> Camera:
        begun.append(Camera(*line, "--threads", 1))
        return begun[-1]

    yield start
    for one in begun:
        one.process.kill()
        one.process.communicate()


@pytest.fixture
def student(finished_run: Path) -> Path:
    return finished_run / "student"


@pytest.fixture
def photos(tmp_path: Path, digit_files: Path) -> list[Path]:
    """Six images, as a camera calls them."""
    paths = [tmp_path / f"frame{number}.png" for number in range(6)]
    for number, path in enumerate(paths):
        shutil.copy(digit_files / f"0/00{number}.png", path)
    return paths


FORMS = ["", "--json", "--csv -", "--csv - --runtime onnx"]


@pytest.mark.parametrize("form", FORMS)
def test_each_row_comes_before_the_next_path_is_written(
    student: Path, photos: list[Path], camera: Start, form: str
) -> None:
    end = camera(student, "-", *form.split())
    end.send(f"{photos[0]}\n")
    lines = [end.line(), end.line()]  # what stands above the rows, and the first row
    assert photos[0].name in lines[1]
    end.send(f"{photos[1]}\r\n{str(photos[2])[:-3]}")  # and a part of the next
    lines += [end.line()]
    end.send("png\n")
    lines += [end.line()]
    end.send("\nnowhere.png\n")
    while "nowhere.png" not in (told := end.line(end.process.stderr)):
        assert "Error" not in told
    end.send("nowhere.png\n")
    assert "nowhere.png" in end.line(end.process.stderr)  # it is told each time
    end.send(f"{photos[3]}\n{photos[3].parent / 'none.png'}\n{photos[4]}\n")
    lines += [end.line(), end.line()]
    end.send(str(photos[5]))  # without an end
    code, out, err = end.end()
    assert code == 1
    out = "".join(lines) + out
    rows, totals = {"": table, "--json": of_json}.get(form, of_csv)(out, err)
    assert rows == [str(path) for path in photos]
    assert "6 images, 3 failed" in totals


def table(out: str, _: str) -> tuple[list[str], str]:
    return [line.split()[0] for line in out.splitlines()[1:7]], out


def of_json(out: str, _: str) -> tuple[list[str], str]:
    found = json.loads(out)
    totals, failed = found["totals"], found["failed"]
    assert len(failed) == totals["failed"]
    assert out.splitlines()[2].startswith(',{"path"')
    return [row["path"] for row in found["images"]], (
        f"{totals['images']} images, {totals['failed']} failed"
    )


def of_csv(out: str, err: str) -> tuple[list[str], str]:
    return [row["path"] for row in csv.DictReader(io.StringIO(out))], err


def test_ctrl_c_while_a_path_is_waited_for_leaves_every_row(
    student: Path, photos: list[Path], camera: Start, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("older")
    end = camera(student, "-", "--json", "--csv", rows)
    end.send(f"{photos[0]}\n")
    begun = end.line() + end.line()
    written = rows.read_text()
    assert written.splitlines()[0].startswith("path,class_name")
    assert written.splitlines()[1].startswith(str(photos[0]))
    end.process.send_signal(signal.SIGINT)
    code, out, err = end.end()
    assert code == 130
    assert "Traceback" not in err
    found = json.loads(begun + out)
    assert [row["path"] for row in found["images"]] == [str(photos[0])]
    assert found["error"]["exit_code"] == 130
    assert rows.read_text() == written
    assert not list(tmp_path.glob(".erde-new-*"))


def typed(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_live_rows_are_those_of_the_list(
    student: Path, photos: list[Path], cli: Cli, json_of: JsonOf, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    content = "".join(f"{path}\n" for path in [*photos, tmp_path]).encode()
    found = []
    for more in ((), ("--live",), ("--live", "--batch", "2")):
        typed(monkeypatch, b"\xef\xbb\xbf" + content)
        found.append(json_of("predict", student, "-", photos[0], *more)["images"])
    assert [row["path"] for row in found[0]] == [str(p) for p in (*photos, *photos, photos[0])]
    for rows in found[1:]:
        assert [(one["path"], one["label"], one["exit"]) for one in rows] == [
            (one["path"], one["label"], one["exit"]) for one in found[0]
        ]
    rows_file = tmp_path / "rows.csv"
    for line, told in ((b"", "an empty list"), (b"a\0b\0", "null characters")):
        rows_file.write_text("older")
        typed(monkeypatch, line)
        code, out, err = cli("predict", student, "-", "--live", "--csv", rows_file)
        assert (code, out) == (2, "")
        assert told in err
        assert rows_file.read_text() == "older"
    typed(monkeypatch, b"nowhere.png\n")
    code, out, err = cli("predict", student, "-", "--live")
    assert code == 1
    assert "0 images, 1 failed" in out
    assert "nowhere.png: No such file" in err


def test_lines_are_given_as_they_come() -> None:
    class Blocks:
        def __init__(self, *blocks: bytes) -> None:
            self.blocks = [*blocks, b""]

        def read1(self, size: int) -> bytes:
            assert size > 0
            return self.blocks.pop(0)

    blocks = Blocks(b"a\nb", b"c\n\nd", b"e", b"f\ng")
    assert list(as_they_come(blocks)) == [
        b"a\n", b"", b"bc\n", b"\n", b"", b"def\n", b"", b"g",
    ]  # fmt: skip
    assert list(as_they_come(Blocks())) == [b""]
    assert list(named_images(["-"], iter([b"\n", b""]))) == [WAITING]


def test_whatever_has_arrived_is_answered_and_nothing_is_kept(
    student: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "_FILES_AT_ONCE", 4)
    taken: list[int] = []
    batches: list[int] = []
    failed = 0

    def arriving() -> Iterator[Named]:
        for number in range(100):
            for _ in range(number % 7):
                taken.append(1)
                yield Named(str(photos[0]))
                assert len(taken) - sum(batches) <= 4
            yield Named("nowhere.png", "No such file")
            yield WAITING
            assert (len(taken), number + 1) == (sum(batches), failed)

    def write(rows: workflow.Rows) -> None:
        nonlocal failed
        batches.append(len(rows.paths))
        failed += len(rows.failed)

    out = io.StringIO()
    observer = terminal._Quiet(Console(file=out))
    totals = workflow.predict_images(
        student,
        arriving(),
        Options(threads=1, observer=observer),
        write,
        workflow.PredictRequest(live=True),
    )
    assert totals.images == len(taken) == sum(batches)
    assert set(batches) == {0, 1, 2, 3, 4}
    assert out.getvalue().count("nowhere.png") == totals.failed == 100
    assert not observer._warned


def test_csv_on_stdout_is_the_file_and_nothing_else(
    student: Path, photos: list[Path], tmp_path: Path, cli: Cli
) -> None:
    odd = tmp_path / 'new\nline,".png'
    shutil.copy(photos[0], odd)
    (tmp_path / "no.png").write_text("no image")
    code, shown, err = cli("predict", student, tmp_path, "--csv", tmp_path / "rows.csv")
    assert (code, "7 images, 1 failed" in shown) == (1, True)
    code, out, err = cli("predict", student, tmp_path, "--csv", "-")
    assert code == 1
    assert out == (tmp_path / "rows.csv").read_text()
    assert "7 images, 1 failed" in err
    assert "leave here %" in err


def test_stdout_takes_one_form(tmp_path: Path, cli: Cli) -> None:
    code, out, err = cli("predict", tmp_path / "none", "a.png", "--csv", "-", "--json")
    assert code == 2
    assert "--csv - and --json" in err
    assert "--csv rows.csv" in err
    assert list(json.loads(out)) == ["error"]


def test_a_path_that_is_no_text_keeps_its_bytes_on_stdout(
    student: Path, photos: list[Path], tmp_path: Path
) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff.png"
    os.link(photos[0], odd)
    line = [sys.executable, "-m", "erde_cli", "predict", student, odd, "--csv", "-", "-q"]
    done = subprocess.run(line, capture_output=True, check=True)
    assert done.stdout.split(b"\n")[1].startswith(odd + b",")


def test_a_file_called_dash_is_one_and_stays_so(
    student: Path, photos: list[Path], tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = cli("predict", student, photos[0], "--csv", "./-")
    assert (code, "1 images" in out) == (0, True)
    assert (tmp_path / "-").read_text().startswith("path,class_name")


def test_a_screen_is_shown_no_control_character() -> None:
    for on_screen, expected in ((True, r"\x1b[31ma.png,"), (False, "\x1b[31ma.png,")):
        out = io.BytesIO()
        found = Prediction(0, "a", 0.5, 0.5, 0, 1)
        rows = CsvRows(out, on_screen=on_screen)
        rows.write(workflow.Rows(["\x1b[31ma.png"], [found], [], ("a",), 1))
        assert out.getvalue().decode().splitlines()[1].startswith(expected)


def test_whoever_reads_csv_may_leave(student: Path, photos: list[Path]) -> None:
    folders = f"{photos[0].parent} " * 300
    command = f"{sys.executable} -m erde_cli predict {student} {folders} --csv - -q | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("path,")
    assert done.stderr == ""
