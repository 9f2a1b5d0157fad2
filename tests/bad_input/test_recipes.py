"""Recipes that are none, and recipes that say what cannot be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from .case import Case, recipe, written
from .conftest import Refused

LINE = "run mine.yaml --out out"
FOLDER = {"dataset": "imagefolder", "root": "images"}


def text(name: str, content: str | bytes, *says: str) -> Case:
    """A recipe by its text."""
    return Case(name, LINE, ("mine.yaml", *says), {"mine.yaml": content})


def wrong(name: str, changes: dict[str, Any], *says: str) -> Case:
    """A recipe in which some keys have other values; the first is named."""
    return text(name, written(recipe(changes)), next(iter(changes)), *says)


def bomb() -> str:
    """Nine lines that would unfold to a thousand million entries."""
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    return "\n".join(lines)


GOOD = written(recipe())
FROM_WEIGHTS: dict[str, Any] = {  # a teacher with first weights
    "teacher.backbone": "torchvision/resnet18", "teacher.depth": ..., "teacher.width": ...,
    "teacher.pretrained": True, "data.image_size": 32,
}  # fmt: skip

TEXTS = [
    text("empty file", "", "a recipe must be a mapping of sections, got nothing"),
    text("blanks only", "  \n\n ", "got nothing"),
    text("comments only", "# my recipe\n", "got nothing"),
    text("an empty document", "---\n", "got nothing"),
    text("a list", "- seed: 3\n- data: 1\n", "got list"),
    text("one word", "digits\n", "got str"),
    text("one number", "3\n", "got int"),
    text("prose", "This is: not a: recipe", "line 1", "not valid YAML"),
    text("a program", "def main():\n    return [1, 2\n", "unknown key"),
    text("TOML", "[data]\ndataset = 'digits'\n", "not valid YAML"),
    text("broken JSON", '{"seed": 3, "data": {"dataset": "digits"', "not valid YAML"),
    text("a tab", "data:\n\tdataset: digits\n", "line 2", "tab", "spaces"),
    text("a tab in a section", GOOD.replace("  root", "\troot").replace("  depth", "\tdepth"),
         "tab", "spaces"),
    text("wrong indentation", "data:\n    dataset: digits\n  image_size: 8\n", "line 3"),
    text("no blank after the colon", GOOD.replace("seed: 3", "seed:3"), "line 2"),
    text("a section twice", GOOD + GOOD, "'seed' is repeated"),
    text("a key twice", GOOD.replace("seed: 3", "seed: 3\nseed: 4"), "line 2", "'seed'"),
    text("a key twice in a section", "data:\n  root: a\n  root: b\n", "line 3", "'root'"),
    text("an alias", "a: &x 1\nb: *x\n", "line 2", "aliases"),
    text("a bomb of aliases", bomb(), "line 2", "aliases"),
    text("an alias of itself", "a: &a [*a]\n", "aliases"),
    text("a merge key", "a: &x {b: 1}\nc:\n  <<: *x\n", "aliases"),
    text("a Python object", "a: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
    text("a tag of somebody's", "data: !include data.yaml\n", "not valid YAML", "!include"),
    text("two documents", GOOD + "---\n" + GOOD, "another document"),
    text("an open quote", "name: 'mine\n", "not valid YAML"),
    text("an open bracket", "teacher: {depth: 14\nseed: 3\n", "not valid YAML"),
    text("a null character", "seed: \0\n", "not valid YAML"),
    text("control characters", "seed: \x1b[31m3\n", "not valid YAML"),
    text("5,000 levels", "{a: " * 5000, "not valid YAML"),
    text("an endless number", "seed: " + "9" * 5000 + "\n", "not valid YAML"),
    text("half of a character", 'name: "\\ud83c"\n', "name", "valid string"),
    text("10 MB", b"# " + b"x" * 10_000_000, "10,000,002 bytes", "200,000"),
    text("10 MB of keys", b"".join(b"key%d: 1\n" % n for n in range(900_000)), "200,000"),
    text("a picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "UTF-8"),
    text("UTF-16", GOOD.encode("utf-16"), "got:      UTF-16\n", "iconv -f UTF-16 -t UTF-8"),
    text("UTF-16 of the other kind", b"\xfe\xff" + GOOD.encode("utf-16-be"), "-f UTF-16 -t"),
    text("UTF-16 without a mark", GOOD.encode("utf-16-le"), "got:      UTF-16LE", "-f UTF-16LE -t"),
    text("UTF-32", GOOD.encode("utf-32"), "got:      UTF-32\n", "iconv -f UTF-32 -t UTF-8"),
    text("Latin-1", "name: Äpfel\n".encode("latin-1"), "0xc4 in line 1", "-f ISO-8859-1 -t UTF-8"),
    text("a pickle", b"\x80\x04\x95\x10\0\0\0", "UTF-8"),
    text("1,000 unknown keys", "".join(f"key{n}: 1\n" for n in range(1000)), "key0", "more"),
    text("a very long value", GOOD.replace("digits", "d" * 100_000), "data.dataset", "..."),
    text("a very long key", "? " + "k" * 100_000 + "\n: 1", "kkk...", "unknown key"),
]  # fmt: skip

TYPES = [
    wrong("epochs as a word", {"training.student.epochs": "many"}, "'many'", "valid integer"),
    wrong("epochs as a fraction", {"training.student.epochs": 1.5}, "1.5", "integer"),
    wrong("epochs as yes", {"training.student.epochs": True}, "True", "integer"),
    wrong("epochs left open", {"training.student.epochs": None}, "None", "integer"),
    wrong("epochs as a list", {"training.student.epochs": [1, 2]}, "[1, 2]", "integer"),
    wrong("epochs as a section", {"training.student.epochs": {"of": 1}}, "integer"),
    wrong("no epochs", {"training.student.epochs": 0}, "0", "greater than or equal to 1"),
    wrong("a seed as text", {"seed": "3"}, "'3'", "integer"),
    wrong("a negative seed", {"seed": -1}, "-1", "greater than or equal to 0"),
    wrong("a giant seed", {"seed": 2**63}, "less than or equal to"),
    wrong("a section as a number", {"teacher": 3}, "3", "must be a section"),
    wrong("a section as a list", {"data": [1]}, "must be a section"),
    wrong("a section as text", {"data": "digits"}, "'digits'", "must be a section"),
    wrong("a section left open", {"training": None}, "None", "must be a section"),
    wrong("a rate as text", {"training.student.learning_rate": "0.1"}, "'0.1'", "number"),
    wrong("a rate of 0", {"training.student.learning_rate": 0}, "greater than 0"),
    wrong("a rate of nan", {"training.student.learning_rate": float("nan")}, "nan", "finite"),
    wrong("an infinite rate", {"training.student.learning_rate": float("inf")}, "inf", "finite"),
    wrong("a batch of 1", {"training.student.batch_size": 1}, "greater than or equal to 2"),
    wrong("a giant batch", {"training.student.batch_size": 10**9}, "less than or equal to 65536"),
    wrong("a width of 0", {"student.width": 0}, "greater than or equal to 1"),
    wrong("a negative width", {"student.width": -4}, "-4"),
    wrong("images of 4 pixels", {"data.image_size": 4}, "greater than or equal to 8"),
    wrong("images of 5,000 pixels", {"data.image_size": 5000}, "less than or equal to 1024"),
    wrong("exits as a word", {"student.exits": "three"}, "'three'", "number of exits"),
    wrong("exits as yes", {"student.exits": True}, "number of exits"),
    wrong("exits as fractions", {"student.exits": [1.5]}, "number of exits"),
    wrong("a fraction of nan", {"data.calibration_fraction": float("nan")}, "finite"),
    wrong("all images for calibration", {"data.calibration_fraction": 1.0}, "0.5"),
    wrong("a flip as a word", {"data.augmentation.flip": "maybe"}, "'maybe'", "boolean"),
    wrong("a momentum of 1", {"training.student.momentum": 1}, "less than 1"),
    wrong("a negative weight decay", {"training.student.weight_decay": -1}, "-1"),
    wrong("clipping at 0", {"training.student.gradient_clipping": 0}, "greater than 0"),
    wrong("an unknown precision", {"training.student.precision": "float64"}, "float32", "float16"),
    wrong("a name with a slash", {"name": "a/b"}, "'a/b'", "letters"),
    wrong("an empty name", {"name": ""}, "at least 1 character"),
    wrong("a name that leads upwards", {"name": ".."}, "'..'", "letters"),
    wrong("a name of 200 letters", {"name": "n" * 200}, "at most 100"),
    *(wrong(f"class weights: {name}", {"training.student.class_weights": value}, *says)
      for name, value, *says in (
        ("a misspelled word", "blanced", "'blanced'", "none, balanced, or a mapping"),
        ("nothing", None, "none, balanced"), ("yes", True, "none, balanced"),
        ("a list", [1, 2], "[1, 2]", "none, balanced"), ("no class", {}, "none, balanced"),
        ("0", {"a": 1, "b": 0}, "'b'", "finite number above 0"),
        ("below 0", {"a": -1}, "'a'", "finite number above 0"),
        ("nan", {"a": float("nan")}, "'a'", "finite number above 0"),
        ("inf", {"a": float("inf")}, "'a'", "finite number above 0"),
        ("a giant number", {"a": 10**400}, "'a'", "finite number above 0"),
        ("a word", {"a": "2"}, "'a'", "finite number above 0"),
        ("true", {"a": True}, "'a'", "finite number above 0"),
      )),
    wrong("a root as a number", {"data.root": 3}, "string"),
]  # fmt: skip

CLASSES = [
    Case(f"class weights of {role} for {name}", LINE, (f"training.{role}.class_weights", *says),
         {"mine.yaml": written(recipe({f"training.{role}.class_weights": value}))})
    for role in ("teacher", "student")
    for name, value, *says in (
        ("other classes", {"cat": 1, "dog": 2}, "not a class: 'cat', 'dog'", "missing: '0', '1'"),
        ("some", dict.fromkeys("012345678", 1), "got:      missing: '9'\n"),
        ("more", dict.fromkeys("0123456789x", 1), "got:      not a class: 'x'\n"),
    )
]  # fmt: skip

KEYS = [
    wrong("an unknown section", {"optimizer": {"name": "adam"}}, "unknown key"),
    wrong("a section misspelled", {"studnet": {"depth": 8}}, "did you mean student?"),
    wrong("a section with a capital", {"Teacher": {"depth": 8}}, "did you mean teacher?"),
    wrong("a key misspelled", {"training.student.epoch": 3},
          "did you mean training.student.epochs?"),
    wrong("a key of elsewhere", {"epochs": 3}, "did you mean training.teacher.epochs?"),
    wrong(
        "airbench for 8 pixels",
        {"teacher.backbone": "airbench", "data.image_size": 8},
        "16 pixels or more",
    ),
    wrong("mixup", {"data.augmentation.mixup": 0.2}, "labels are mixed"),
    wrong("a key that is a number", {"7": 1}, "unknown key"),
    text("a key that is nothing", "~: 1\n" + GOOD, "~", "unknown key"),
    wrong("a section is missing", {"teacher": ...}, "is required"),
    wrong("a key is missing", {"teacher.depth": ...}, "is required"),
    wrong("no data set", {"data.dataset": ...}, "is required"),
    wrong("an unknown data set", {"data.dataset": "imagenet"}, "'imagenet'", "imagefolder"),
    wrong("a data set misspelled", {"data.dataset": "cifra10"}, "did you mean cifar10?"),
    wrong("an unknown method", {"distillation.method": "erd"}, "did you mean erde?"),
    wrong("an unknown backbone", {"teacher.backbone": "resnet50"}, "did you mean resnet?"),
    wrong("a hub's backbone", {"teacher.backbone": "hf-hub:timm/resnet50"}, "torchvision/resnet18"),
    wrong("a backbone of a package that is not installed",
          {"teacher.backbone": "keras/resnet50", "teacher.depth": ..., "teacher.width": ...},
          "No installed package adds backbones under the name 'keras'"),
    wrong("a path as a backbone", {"teacher.backbone": "timm/../resnet50"}, "torchvision/resnet18"),
    wrong("a library's backbone with a width",
          {"teacher.width": 6, "teacher.backbone": "torchvision/resnet18", "teacher.depth": ...},
          "does not have this key"),
]  # fmt: skip

COMBINATIONS = [
    wrong("a depth that there is not", {"student.depth": 9}, "6n + 2", "8 or 14"),
    wrong("vgg of depth 20", {"student.depth": 20, "student.backbone": "vgg"}, "8, 13 or 16"),
    wrong("dropout without wrn", {"student.dropout": 0.3}, "resnet does not have this key"),
    wrong("more exits than blocks", {"student.exits": 9}, "1 to 3"),
    wrong("no exit at all", {"student.exits": 0}, "1 to 3"),
    wrong("exits that fall", {"student.exits": [2, 1]}, "increasing block numbers"),
    wrong("an exit twice", {"student.exits": [1, 1]}, "increasing block numbers"),
    wrong("an exit before the first block", {"student.exits": [0]}, "from 1"),
    wrong("an exit behind the last block", {"student.exits": [3]}, "from 1 to 2"),
    wrong("weights for other exits", {"student.exit_weights": [1, 1]}, "must be 3 numbers"),
    wrong("weights of 0", {"student.exit_weights": [0, 0, 0]}, "not all 0"),
    wrong("a negative weight", {"student.exit_weights": [1, -1, 1]}, "-1"),
    wrong("exits without a pairing", {"distillation.pairing": None, "student.exits": [1]},
          "the teacher has 3 exits and the student 2"),
    wrong("a pairing of other length", {"distillation.pairing": [0, 1]}, "must be 3 numbers"),
    wrong("a pairing with no such exit", {"distillation.pairing": [0, 1, 5]}, "from 0 to 2"),
    wrong("logits of other views than the features",
          {"distillation.teacher_cache.views": 3, "student.backbone": "torchvision/resnet18",
           "student.depth": None, "student.width": None, "student.weights": "w.pth",
           "training.student.train": "heads", "training.student.views": 2},
          "must be null or 2"),
    wrong("heads only, but the only exit is kept",
          {"training.student.train": "heads", "student.backbone": "torchvision/resnet18",
           "student.depth": None, "student.width": None, "student.weights": "w.pth",
           "student.exits": 1, "student.last_layer": "kept",
           "distillation.method": "cross_entropy"},
          "nothing to train"),
    wrong("a negative pairing", {"distillation.pairing": [-1, 1, 2]}, "-1"),
    wrong("digits with a root", {"data.root": "images"}, "digits are built in"),
    wrong("a folder without a root", {"data.root": None, "data.dataset": "imagefolder"},
          "must be the folder of the images"),
    wrong("a download of digits", {"data.download": True}, "can be downloaded"),
    wrong("extra images of cifar10", {"data.extra": True, "data.dataset": "cifar10"}, "svhn"),
    wrong("cropped digits", {"data.resize": "crop"}, "crop applies only to imagefolder"),
    wrong("digits enlarged by another filter", {"data.interpolation": "bicubic"},
          "bicubic applies only to imagefolder"),
    wrong("a share without a crop", {"data.crop_share": 0.9}, "applies only to resize: crop"),
    wrong("a crop of almost nothing", {"data.crop_share": 0.09},
          "greater than or equal to 0.1"),
    wrong("mirrored digits", {"data.augmentation.flip": True}, "a mirrored digit is not a digit"),
    wrong("a crop as large as the image", {"data.augmentation.crop": 8}, "below image_size = 8"),
    wrong("a cutout larger than the image", {"data.augmentation.cutout": 9}, "image_size = 8"),
    wrong("a warm-up longer than all", {"training.student.warmup_epochs": 3}, "below epochs = 3"),
    wrong("a compiled SyncBatchNorm",
          {"training.student.sync_batch_norm": True, "training.student.compile": True},
          "cannot be combined with compile: true"),
    wrong("adamw without a rate",
          {"training.student.learning_rate": ..., "training.student.optimizer": "adamw"},
          "is required for adamw, such as 0.001"),
    wrong("adamw with momentum",
          {"training.student.momentum": 0.5, "training.student.optimizer": "adamw"},
          "0.5", "applies to the optimizer sgd; remove it"),
    wrong("an unknown optimizer", {"training.student.optimizer": "adam"}, "'adam'", "adamw"),
    *(wrong(f"{key} without weights", {f"training.student.{key}": value},
            "needs pretrained or weights in the section student")
      for key, value in (
        ("train", {"from": 1}), ("train", "heads"), ("heads_first", 1), ("stage_rates", [1, 1, 1]),
      )),
    *(wrong(f"{key}: {name}", {f"training.teacher.{key}": value, **FROM_WEIGHTS}, *says)
      for key, name, value, *says in (
        ("train", "a stage that is not there", {"from": 3}, "from 1 to 2"),
        ("train", "the first stage", {"from": 0}, "{from: STAGE} with a stage from 1"),
        ("train", "a stage as a fraction", {"from": 1.5}, "{from: STAGE} with a stage from 1"),
        ("train", "another word", "head", "'head'", "must be all, heads, or"),
        ("heads_first", "half an epoch", 0.5, "0.5", "integer"),
        ("heads_first", "all epochs", 4, "below epochs = 4"),
        ("stage_rates", "too few", [1, 0.1], "3 numbers, one per exit"),
        ("stage_rates", "0", [0, 0.1, 1], "greater than 0"),
      )),
    wrong("heads first, without new parts",
          {"training.teacher.heads_first": 1, **FROM_WEIGHTS, "teacher.exits": 1,
           "teacher.last_layer": "kept", "distillation.pairing": [0, 0, 0]},
          "more than one exit"),
    wrong("milestones of a cosine", {"training.student.milestones": [0.5]}, "only to the schedule"),
    wrong("milestones that fall",
          {"training.student.milestones": [0.7, 0.5], "training.student.schedule": "step"},
          "increasing shares"),
    wrong("a share of a squashed image", {"data.crop_share": 0.9}, "only to resize: crop"),
    wrong("a random crop of digits", {"data.augmentation.resized_crop": 0.3,
          "data.augmentation.crop": 0}, "only to imagefolder"),
    wrong("two kinds of crops", {"data.augmentation.crop": 1, "data.dataset": "imagefolder",
          "data.root": "images", "data.augmentation.resized_crop": 0.3}, "must be 0"),
    wrong("kept photos that nothing crops", {"data.photo_size": 64}, "only to augmentation"),
    wrong("a teacher's own image size", {"teacher.image_size": 8}, "data.image_size"),
    wrong("a student's image size above the teacher's", {"student.image_size": 16}, "at most"),
    wrong("a kept layer of nothing",
          {"student.last_layer": "kept", "student.backbone": "torchvision/resnet18",
           "student.depth": ..., "student.width": ...}, "only to pretrained or weights"),
    wrong("a kept layer of a resnet", {"student.last_layer": "kept"}, "does not have this key"),
    wrong("heads of random weights", {"training.student.train": "heads"}, "needs pretrained or"),
    wrong("rates of random weights", {"training.student.stage_rates": [1, 1, 1]}, "needs pre"),
    wrong("views of all", {"training.student.views": 2}, "applies to train: heads"),
    wrong("heads first and last", {"training.student.heads_first": 3}, "below epochs = 3"),
    wrong("a family without a budget", {"student.budget": None, "student.family": "resnet"},
          "is required with family"),
    wrong("a budget without a family", {"student.family": None, "student.budget": 0.1},
          "is required with budget"),
    wrong("a family of the teacher", {"teacher.family": "resnet", "teacher.budget": 0.1,
          "teacher.exits": 3}, "only to the student"),
    wrong("a budget of more than all", {"student.budget": 1.5, "student.family": "resnet"}, "1.5"),
    Case("a family within no budget", LINE,
         ("resnet 8, width 16, 8 px", "student.budget: 0.001", "give student.depth"),
         {"mine.yaml": written(recipe({"student.family": "resnet", "student.budget": 0.001,
                                       "student.width": ..., "student.depth": ...}))}),
    wrong("two targets", {"calibration": {"max_drop": 1, "max_macs": 0.5}}, "exactly one of"),
    wrong("no target", {"calibration": {}}, "exactly one of"),
    text("a risk without its target", written(recipe({"calibration.risk": "disagreement"})),
         "calibration", "risk", "apply only to max_risk"),
    wrong("a promise on tuned images",
          {"calibration": {"max_risk": 0.1, "tuned_on": "all"}}, "can guarantee nothing"),
    wrong("another metric", {"calibration.metric": "recall"}, "balanced_accuracy", "'recall'"),
    wrong("a metric of nothing", {"calibration": {"metric": "accuracy"}}, "exactly one of"),
    *(wrong(f"a metric of a {kind}", {"calibration": {kind: 0.1, "metric": "balanced_accuracy"}},
            f"{kind} does not support balanced_accuracy", "min_accuracy, max_macs")
      for kind in ("max_risk", "threshold")),
    wrong("a drop of nan", {"calibration.max_drop": float("nan")}, "finite"),
    wrong("a negative drop", {"calibration.max_drop": -1}, "greater than or equal to 0"),
    wrong("a budget of 0", {"calibration": {"max_macs": 0}}, "max_macs", "greater than 0"),
    wrong("a budget of 200 %", {"calibration": {"max_macs": 2}}, "less than or equal to 1"),
    wrong("a risk of 0", {"calibration": {"max_risk": 0}}, "max_risk", "greater than 0"),
    wrong("a negative threshold", {"calibration": {"threshold": -1}}, "at least 0"),
    wrong("an infinite threshold", {"calibration": {"threshold": float("inf")}}, '"always"'),
]  # fmt: skip


def pipe(here: Path) -> None:
    os.mkfifo(here / "mine.yaml")


def loop(here: Path) -> None:
    (here / "mine.yaml").symlink_to("mine.yaml")


def broken_link(here: Path) -> None:
    (here / "mine.yaml").symlink_to("gone.yaml")


def folder(here: Path) -> None:
    (here / "mine.yaml").mkdir()


PLACES = [
    Case("a file that is not there", "run nowhere.yaml", ("'nowhere.yaml'", "neither a file")),
    Case("a shipped name misspelled", "run digist", ("'digist'", "did you mean digits?")),
    Case("nothing", "run ''", ("''", "digits")),
    Case("a blank", "run ' '", ("' '",)),
    Case("an empty folder as a recipe", LINE, ("mine.yaml", "no training images"), prepare=folder),
    Case("a pipe as a recipe", LINE, ("mine.yaml", "neither"), prepare=pipe),
    Case("a device as a recipe", "run /dev/zero", ("/dev/zero", "neither")),
    Case("a link to nowhere", LINE, ("mine.yaml", "link"), prepare=broken_link),
    Case("a link to itself", LINE, ("mine.yaml", "link"), prepare=loop),
    Case("a name of 5,000 letters", f"run {'n' * 5000}", ("nnn...",)),
    Case("nobody's home", "run ~nobody-here/mine.yaml", ("~nobody-here/mine.yaml",)),
    Case("a line break in the name", "run 'mine\n.yaml'", (r"mine\n.yaml",)),
    Case("a recipe that cannot be opened", LINE, ("mine.yaml", "Permission denied"),
         {"mine.yaml": GOOD}, locked="mine.yaml"),
    Case("tune has no such recipe", "tune digist", ("did you mean digits?",)),
    Case("train-teacher has a wrong one", "train-teacher mine.yaml", ("seed",),
         {"mine.yaml": written(recipe({"seed": -1}))}),
    Case("distill has a wrong one", "distill mine.yaml", ("seed",),
         {"mine.yaml": written(recipe({"seed": -1}))}),
    Case("compare has a wrong one", "compare mine.yaml", ("seed",),
         {"mine.yaml": written(recipe({"seed": -1}))}),
    Case("show has no such recipe", "recipes show digist", ("did you mean digits?",)),
]  # fmt: skip

CASES = [*TEXTS, *TYPES, *CLASSES, *KEYS, *COMBINATIONS, *PLACES]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_bad_recipe_is_refused(case: Case, refused: Refused) -> None:
    refused(case)
