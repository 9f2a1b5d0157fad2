"""Options that are no numbers, out of bounds, or against each other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .case import Case
from .conftest import Refused


def given(line: str, *says: str) -> Case:
    """A line that is wrong by itself; nothing needs to be there."""
    return Case(line[:80], line, says)


STUDENT = "run/student"

TYPED = [
    given("distil", "distil", "distill"),
    given("run", "RECIPE"),
    given("calibrate", "BUNDLE"),
    given("predict run/student", "PATH"),
    given("data fetch", "NAME"),
    given("data fetch cifar10 --root ''", "--root", "got nothing"),
    given("recipes shwo digits", "shwo"),
    given("run digits and more", "and more"),
    given("run digits --frobnicate", "--frobnicate"),
    given("run digits --sed 3", "--sed", "--seed"),
    given("run --out", "--out", "argument"),
    given("run digits --out -", "--out", "got -", "./-"),
    given("predict - a.png", "MODEL", "got -"),
    given("calibrate run/student --max-drop 1 --data -", "--data", "got -", "--json", "./-"),
    given("export run/student --format onnx --out -", "--out", "got -"),
    given("evaluate - --data images", "BUNDLE", "got -"),
    given("data fetch cifar10 --root -", "--root", "got -"),
    given("export run/student --out x.onnx", "--format"),
    given("export run/student --format onnx", "--out"),
]

NUMBERS = [
    given("run digits --seed many", "--seed", "many"),
    given("run digits --seed -1", "--seed", "-1"),
    given("run digits --seed nan", "--seed", "nan"),
    given("run digits --seed 1e3", "--seed", "1e3"),
    given("run digits --threads 0", "--threads", "0"),
    given("run digits --threads -1", "--threads", "-1"),
    given("run digits --threads nan", "--threads", "nan"),
    given("run digits --threads 1.5", "--threads", "1.5"),
    given("run digits --threads ''", "--threads"),
    *(
        given(f"init images --minutes {value}", "--minutes", value)
        for value in ("0", "-5", "nan", "inf", "many", "1000000")
    ),
    given("init", "FOLDER"),
    given("init --out -", "--out", "got -"),
    given("plan", "RECIPE|FOLDER"),
    given("tune digits --threads 1,many", "--threads", "1,many"),
    given("tune digits --threads 0", "--threads", "'0'"),
    given("tune digits --threads ''", "--threads", "''"),
    given(f"tune digits --threads {'9' * 5000}", "--threads", "999..."),
    given("tune digits --repeats 1", "--repeats", "3"),
    given("tune digits --steps 0", "--steps", "0"),
    given("tune digits --steps 1000000000", "--steps", "1000000000"),
    given("tune digits --repeats 1000000000", "--repeats", "1000000000"),
    given("predict run/student a.png --batch 0", "--batch", "0"),
    given("predict run/student a.png --workers 0", "--workers", "0"),
    given("predict run/student - --live --workers 2", "--live and --workers 2"),
    given("predict run/student a.png --batch -4", "--batch", "-4"),
    given("predict run/student a.png --batch nan", "--batch", "nan"),
    given(f"predict run/student a.png --batch {10**12}", "--batch", "1000000000000"),
    *(
        given(f"profile run/student --latency --batch '{sizes}'", f"{sizes}\n", "--batch 1,32,256")
        for sizes in ("", "0", "1,", "1,many", "-1", "1,1", "1,,2", "1.5", "²", "65537")
    ),
    given(f"profile run/student --latency --batch 1,{'9' * 99}", "--batch 1,32,256"),
    given("profile run/student --latency --repeats 1", "--repeats", "1"),
    given(f"profile run/student --latency --repeats {10**9}", "--repeats", "1000000000"),
    *(given(f"compare digits --workers {n}", f"--workers {n}", "1 to ") for n in (0, -1, 1000)),
    given("compare digits --workers many", "--workers", "many"),
    *(
        given(f"compare digits --seeds 4 --shard '{text}'", f"--shard '{text}'", "--shard 1/2")
        for text in ("0/4", "5/4", "x", "", "1", "1/0", "-1/4", "1/2/3", "²/4", "9999999/4")
    ),
    given("compare digits --shard 1/4", "more shards than seeds", "1/4 of 3 seeds", "--seeds"),
    given("compare digits --shard 1/999999", "1/999999 of 3 seeds", "at most 3 shards"),
    given("compare digits --seeds 0", "--seeds", "0"),
    given("compare digits --seeds -3", "--seeds", "-3"),
    given("compare digits --seeds 1.5", "--seeds", "1.5"),
    given("compare digits --seeds nan", "--seeds", "nan"),
    given("compare digits --seeds 1,2,3", "--seeds", "1,2,3"),
    given(f"compare digits --seeds {10**12}", "--seeds", "1000000000000"),
]

TARGETS = [
    given("calibrate run/student", "exactly one target", "none", "--max-drop 1"),
    given("calibrate run/student --max-drop 1 --device toaster", "toaster"),
    given("calibrate run/student --max-drop 1 --max-macs 0.5", "--max-drop and --max-macs"),
    given("calibrate run/student --max-risk 0.1 --threshold 1", "--threshold and --max-risk"),
    *(
        given(f"calibrate run/student {option} {value}", option, value.rstrip("0") or "0")
        for option, values in {
            "--max-drop": ("-1", "nan", "inf", "101", "much", "''"),
            "--min-accuracy": ("0", "-1", "85", "nan", "inf"),
            "--max-macs": ("0", "2", "-0.5", "nan", "inf"),
            "--max-latency": ("0", "-1", "nan", "inf"),
            "--max-risk": ("0", "1", "-0.1", "nan", "inf"),
        }.items()
        for value in values
    ),
    *(
        given(f"calibrate run/student --threshold {value}", "threshold", value, '"always"')
        for value in ("-1", "nan", "inf", "often", "1e999")
    ),
    *(
        given(f"{command} --threshold {value}", "threshold", wrong, '"always"')
        for command in (
            "calibrate run/student",
            "evaluate run/student",
            "predict run/student a.png",
        )
        for value, wrong in (("0.5,often", "'often'"), ("0.5,", "''"), ("-1,0.5", "'-1'"))
    ),
    given("calibrate run/student --threshold ''", "threshold", "''"),
    *(
        given(f"calibrate run/student --max-risk 0.1 --confidence {value}", "--confidence", value)
        for value in ("0.2", "1", "95", "nan", "-0.9")
    ),
    given("calibrate run/student --max-drop 1 --confidence 0.9", "requires --max-risk"),
    given("calibrate run/student --max-drop 1 --risk disagreement", "requires --max-risk"),
    given("calibrate run/student --max-risk 0.1 --risk error", "--risk", "error"),
    given("calibrate run/student --pick max-macs", "'max-macs'", "NAME=VALUE"),
    given("calibrate run/student --pick threshold=1", "'threshold=1'", "NAME=VALUE"),
    given("calibrate run/student --pick max-macs=much", "'max-macs=much'", "NAME=VALUE"),
    given("calibrate run/student --pick max-macs=2", "--max-macs", "2"),
    given("calibrate run/student --pick max-macs=nan", "--max-macs", "nan"),
    given("calibrate run/student --pick =1", "'=1'"),
    given("calibrate run/student --pick max-drop=1 --temperature", "--temperature"),
    given("calibrate run/student --pick max-drop=1 --max-drop 1", "--pick and --max-drop"),
    given("calibrate run/student --pick max-drop=1 --data a", "--pick and --data"),
    given("calibrate run/student --max-drop 1 --data ''", "--data", "got nothing"),
    given("calibrate run/student --max-macs 1 --images ''", "--images", "got nothing"),
    given("calibrate run/student --max-drop 1 --precision float16", "float16", "bfloat16"),
    given("calibrate run/student --max-drop 1 --metric recall", "--metric", "balanced_accuracy"),
    given("calibrate run/student --metric accuracy", "exactly one target", "none"),
    given(
        "calibrate run/student --max-risk 0.1 --metric balanced_accuracy",
        "--max-risk does not support --metric",
        "--max-risk with --metric",
        "--max-drop 1 --metric",
    ),
    given(
        "calibrate run/student --threshold 1 --metric balanced_accuracy",
        "--threshold does not support --metric",
        "--threshold with --metric",
    ),
    given("calibrate run/student --pick max-drop=1 --metric accuracy", "--pick and --metric"),
]

CHOICES = [
    given("run digits --device toaster", "toaster", "cuda"),
    given("run digits --device CPU", "CPU"),
    given("evaluate run/student --split validation", "validation", "calibration"),
    given("evaluate run/student --precision float64", "float64"),
    given("export run/student --format tflite --out x", "tflite", "onnx-staged"),
    given("export run/student --format torch-export --out x.onnx", "x.onnx", ".pt2"),
    given(
        "export run/student --format torch-export --int8 --out x.pt2",
        "--format onnx --int8",
        "--format onnx-staged --int8",
    ),
    given(
        "export run/student --format onnx --portable --out x.onnx",
        "combination",
        "--format onnx --exit N --portable",
        "--format onnx-staged --portable",
    ),
    given(
        "export run/student --format onnx-staged --exit 1 --out x",
        "combination",
        "--format onnx --exit N",
        "--format torch-export --exit N",
    ),
    given(
        "export run/student --format onnx-staged --int8 --portable --out x",
        "combination",
        "--format onnx-staged --int8",
        "--format onnx-staged --portable",
    ),
    given(
        "export run/student --format onnx --exit 1 --int8 --out x.onnx",
        "combination",
        "--format onnx --int8",
        "--format onnx --exit N",
    ),
    given(
        "export run/student --format onnx --exit 1 --portable --no-preprocessing --out x.onnx",
        "combination",
        "--format onnx --exit N --portable",
        "--format onnx --exit N --no-preprocessing",
    ),
    given("export run/student --format onnx --exit 0 --out x.onnx", "--exit", "x>=1"),
    given("export run/student --format onnx --exit last --out x.onnx", "--exit", "last"),
    given("export run/student --format onnx --out x.onnx --data nowhere", "nowhere"),
    given("export run/student --format onnx --out x.onnx --input some", "--input", "some", "any"),
    given(
        "export run/student --format onnx-staged --out x --input any",
        "combination",
        "--format onnx-staged --input any",
        "--format onnx --input any",
    ),
    given(
        "export run/student --format torch-export --out x.pt2 --input any",
        "combination",
        "--format torch-export --input any",
        "--format onnx --input any",
    ),
    given(
        "export run/student --format onnx --out x.onnx --input any --no-preprocessing",
        "combination",
        "--format onnx --no-preprocessing, or --format onnx --input any",
    ),
    given(
        "export run/student --format onnx --out x.onnx --input any --int8",
        "--format onnx --int8, or --format onnx --input any",
    ),
    given(
        "export run/student --format onnx --out x.onnx --input any --exit 1",
        "--format onnx --exit N, or --format onnx --input any",
    ),
    given(
        "export x.onnx --check --format onnx --out y.onnx",
        "--check",
        "--format, --out",
        "leave --format and --out out",
    ),
    given("export x.onnx --check --int8", "--check", "--int8"),
    given(
        "export x.onnx --check --exit 1 --portable --input any",
        "--check",
        "--exit, --portable, --input any",
    ),
    given("export x.pt2 --check", "x.pt2", "can run code", "manifest.json"),
    given("export run/student --format onnx --out ''", "--out", "got nothing"),
    given("predict run/student a.png --threshold often", "'often'"),
    given("predict run/student a.png --threshold nan", "'nan'"),
    given("predict run/student a.png --threshold 1 --pick max-drop=1", "--threshold 1 and --pick"),
    given("predict run/student a.png --pick max-drop", "'max-drop'"),
    given("predict run/student a.png --csv nowhere/rows.csv", "nowhere"),
    given("predict run/student a.png --csv .", "a folder"),
    given("predict run/student a.png --csv ''", "--csv", "got nothing"),
    given("predict run/student a.png --live", "got:      no -", "erde predict MODEL - --live"),
    given("evaluate run/student --live", "--live"),
    given("predict run/student a.png --runtime jax", "jax", "onnx"),
    given("predict run/student a.png --runtime onnx --device cuda", "--device cuda"),
    given("predict x.onnx a.png --runtime torch", "x.onnx", "--runtime torch"),
    given("predict x.pt2 a.png", "x.pt2"),
    given("predict '' a.png", "MODEL", "got nothing"),
    given("evaluate ''", "BUNDLE", "got nothing"),
    given("evaluate run/student --out ''", "--out", "got nothing"),
    given("evaluate run/student --teacher ''", "--teacher", "got nothing"),
    *(
        given(f"profile run/student {option}", "next:     erde profile run/student --latency")
        for option in ("--batch 1", "--repeats 5", "--out x", "--runtime onnx")
    ),
    given("profile run/student --latency --out ''", "--out", "got nothing"),
    given("profile run/student --latency --runtime onnx --device cuda", "--device cuda"),
    given("tune digits --role pupil", "pupil", "student"),
    given("compare digits --out ''", "--out", "got nothing"),
    given("compare digits --teacher ''", "--teacher", "got nothing"),
    given("distill digits --out out --teacher ''", "--teacher", "got nothing"),
    *(
        given(f"{command} --track {value}", *says)
        for command in ("run digits", "train-teacher digits", "distill digits", "compare digits")
        for value, *says in (
            ("wanbd", "'wanbd'", "did you mean wandb?"),
            ("neptune", "'neptune'", "tensorboard, mlflow, wandb", "--track tensorboard"),
            ("mlflow:", "mlflow does not take", "a tracking server", "mlflow:https://"),
            ("wandb:team/project", "got:      team/project", "address of a server"),
            ("tensorboard:https://me:secret@host", "got:      https://host\n", "a folder"),
            ("wandb:api:secret@host", "got:      *** (it may", "with its https://"),
        )
    ),
    given("run digits --track tensorboard --track tensorboard:x", "more than once", "2 times"),
    given("run digits --track-images", "--track-images needs a tracker", "no --track"),
    given("run digits --out ''", "--out", "got nothing"),
    given("run digits --out ' '", "--out", "got nothing"),
    given("train-teacher digits --out ''", "--out", "got nothing"),
]

REFUSED_AT_ONCE = [*TYPED, *NUMBERS, *TARGETS, *CHOICES]  # nothing heavy is imported

REFUSED_BY_THE_RECIPE = [  # before torch is imported
    given("compare digits --grid distillation.temperature=2,4", "erde-temperature-4"),
    given("compare digits --vary distillation.form=add", "erde-form-add"),
    given("compare digits --own kd:training.student.momentum=0", "{momentum: 0}"),
    given("compare digits --set comparison.students=[erde,sgd]", "comparison.students.sgd"),
    given(
        "compare digits --set 'comparison.students=[{name: a, student: {width: 8}}]'",
        "comparison.students.0.student",
    ),
    given("compare digits --methods erde,sgd", "erde,sgd"),
    given("compare digits --methods erde,erde", "erde,erde"),
    given("compare digits --methods static", "static"),
    given("compare digits --methods ''", "--methods"),
    given(f"run digits --seed {2**70}", "seed", "less than or equal to"),
    given("plan nowhere", "'nowhere'", "erde recipes"),
    given(
        "compare digits --set calibration.metric=balanced_accuracy",
        "accuracy at equal cost",
        "calibration.metric: balanced_accuracy",
        "--set calibration.metric=accuracy",
    ),
]

REFUSED_LATER = [
    given("export x.onnx --check", "There is no file x.onnx"),
    *(
        given(f"data fetch {name}", f"'{name}'", f"did you mean {meant}?")
        for name, meant in (("cifar", "cifar10"), ("CIFAR-100", "cifar100"), ("digit", "digits"))
    ),
    given("data fetch mnist", "'mnist'", "cifar10"),
    given("data fetch digits", "digits is built in"),
    given("data fetch imagefolder", "your own images", "data.root"),
    given("data fetch cifar10 --extra", "--extra", "only svhn"),
    given("run digits --threads 1000000000 --out out", "1000000000", "--threads"),
    given(f"evaluate run/student --threads {10**30}", "threads"),
    given("calibrate run/student --threads 1000000 --max-drop 1", "1000000"),
    given("init nowhere", "nowhere", "no such folder"),
    given("plan digits --threads 1000000", "1000000"),
    given("predict run/student a.png --workers 99999", "99999 workers with 1 each"),
    given("predict run/student a.png --workers 300 --threads 4", "300 workers with 4 each"),
    given("tune digits --threads 1,1000000", "1000000"),
    given("calibrate run/student --max-macs 0.5 --data a --images b", "--data a and --images b"),
    *(
        given(f"calibrate run/student {target} --images b", "needs labels", "--data FOLDER")
        for target in ("--max-drop 1", "--min-accuracy 0.5", "--max-risk 0.1 --risk accuracy-gap")
    ),
    given("calibrate run/student --max-macs 1 --images b --temperature", "--temperature needs"),
    given(
        "calibrate run/student --max-macs 1 --images b --metric balanced_accuracy",
        "--metric balanced_accuracy needs labels",
        "--data FOLDER",
    ),
    given("run digits --out out --device mps", "'mps'", "--device"),
    *(
        given(
            f"run digits --out out --device cpu --set training.{role}.sync_batch_norm=true",
            "SyncBatchNorm needs an accelerator",
            "sync_batch_norm: false",
        )
        for role in ("teacher", "student")
    ),
    given("evaluate run/student --split train --data a", "--data a and --split train"),
    given("compare digits --teacher nowhere", "nowhere"),
]


def file_in_the_way(here: Path) -> None:
    (here / "out").write_text("mine")


def link_in_the_way(here: Path) -> None:
    (here / "elsewhere").mkdir()
    (here / "out").mkdir()
    (here / "out" / "teacher").symlink_to("../elsewhere")


def notes_in_the_way(here: Path) -> None:
    (here / "out" / "teacher").mkdir(parents=True)
    (here / "out" / "teacher" / "notes.txt").write_text("mine")


def notes_in_the_folder(here: Path) -> None:
    (here / "out").mkdir()
    (here / "out" / "notes.txt").write_text("mine")


def closed(here: Path) -> None:
    (here / "closed").mkdir()


def pipe_for_rows(here: Path) -> None:
    os.mkfifo(here / "rows.csv")


PLACES = [
    Case("out is a file", "run digits --out out", ("out",), prepare=file_in_the_way),
    Case("out is below a file", "run digits --out out/run", ("out/run",), prepare=file_in_the_way),
    Case("out is below a device", "run digits --out /dev/null/run", ("/dev/null/run",)),
    Case("out is in a closed folder", "run digits --out closed/run",
         ("closed/run", "Permission denied"), prepare=closed, locked="closed"),
    Case("out is a closed folder", "run digits --out closed", ("closed", "Permission denied"),
         prepare=closed, locked="closed"),
    Case("out of a comparison is a closed folder", "compare digits --out closed",
         ("closed", "Permission denied"), prepare=closed, locked="closed"),
    Case("out has a name of 300 letters", f"run digits --out {'n' * 300}",
         ("--out", "too long")),
    Case("a link where the teacher goes", "train-teacher digits --out out",
         ("out/teacher", "a link"), prepare=link_in_the_way),
    Case("notes where the teacher goes", "train-teacher digits --out out",
         ("out/teacher", "other files"), prepare=notes_in_the_way),
    Case("notes where the teacher of a run goes", "run digits --out out",
         ("out/teacher", "other files"), prepare=notes_in_the_way),
    Case("notes where a comparison goes", "compare digits --out out",
         ("out", "not part of a comparison"), prepare=notes_in_the_folder),
    Case("an export over a folder", "export run/student --format onnx --out out",
         ("out", "a folder"), prepare=notes_in_the_folder),
    Case("rows into a pipe", "predict run/student a.png --csv rows.csv",
         ("rows.csv", "a pipe"), prepare=pipe_for_rows),
    Case("rows into a device", "predict run/student a.png --csv /dev/stdout",
         ("/dev/stdout", "a device")),
    Case("an export over a device", "export run/student --format torch-export --out /dev/x.pt2",
         ("/dev/x.pt2", "a device")),
    Case("out is below two folders that are not there", "run digits --out a/b/c --threads 1000000",
         ("1000000",)),
    Case("nobody's home as out", "run digits --out=~nobody-here/run", ("~nobody-here",)),
    Case("a bundle with a name of 5,000 letters", f"evaluate {'n' * 5000}", ("BUNDLE", "too long")),
    Case("a folder with a name of 300 letters",
         f"calibrate x --max-drop 1 --data {'n' * 300}", ("--data", "too long")),
    Case("distill without a teacher", "distill digits --out out",
         ("out/teacher", "erde train-teacher")),
    Case("distill alone with a teacher",
         "distill digits --out out --set distillation.method=cross_entropy --teacher nowhere",
         ("nowhere",)),
    Case("data sets in a file", "data", ("is a file", "ERDE_DATA"), {"mine.txt": "x"},
         environment={"ERDE_DATA": "{here}/mine.txt"}),
    Case("a download into data sets in a file", "data fetch cifar10", ("is a file", "ERDE_DATA"),
         {"mine.txt": "x"}, environment={"ERDE_DATA": "{here}/mine.txt"}),
    Case("a download into a file", "data fetch cifar10 --root mine.txt", ("mine.txt",),
         {"mine.txt": "x"}),
]  # fmt: skip

CASES = [*REFUSED_AT_ONCE, *REFUSED_BY_THE_RECIPE, *REFUSED_LATER, *PLACES]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_bad_option_is_refused(case: Case, refused: Refused) -> None:
    refused(case)
