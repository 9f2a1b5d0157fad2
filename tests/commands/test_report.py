"""`erde report`: what it shows, what it leaves out, and where it stops."""

import io
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file

from erde_cli.app import main
from erde_cli.core.bundle.bundle import load_bundle
from erde_cli.core.calibration.halves import halves
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.splits import Split
from erde_cli.core.inference.answers_file import write_arrays
from erde_cli.core.report.card import markdown
from erde_cli.core.report.collect import network as network_module
from erde_cli.core.report.collect.images import _encoded
from erde_cli.core.report.collect.typed import Typed
from erde_cli.core.report.document import Explorer, ReportDocument
from erde_cli.core.report.page.page import html
from erde_cli.core.workflows import report_networks
from erde_cli.core.workflows.images import dataset_of
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.report_sources import of_bundle, of_run

from ..conftest import Cli, JsonOf
from ..edited import update_json

OPTIONS = Options("cpu", 1)
TELLING = "folder-of-somebody"


@pytest.fixture(autouse=True)
def _test_is_not_read(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No report reads the pixels of a test image."""
    if "run_again" in request.fixturenames:
        return
    load = Dataset.load

    def guarded(self: Dataset, split: Split, *rest: Any) -> Any:
        assert split != "test"
        return load(self, split, *rest)

    monkeypatch.setattr(Dataset, "load", guarded)


@pytest.fixture(scope="module")
def shown(finished_run: Path) -> ReportDocument:
    return of_run(finished_run, OPTIONS, images=True)


def explorer_of(document: ReportDocument) -> Explorer:
    assert document.explorer is not None
    return document.explorer


def under(explorer: Explorer, thresholds: tuple[float, ...]) -> tuple[float, float, list[float]]:
    """Accuracy, expected MACs and exit rates, computed as a page does, image by image."""
    left = []
    for scores in explorer.scores.tolist():
        early = [place for place, one in enumerate(thresholds) if scores[place] < one]
        left.append(early[0] if early else len(thresholds))
    right = [row[place] for row, place in zip(explorer.correct.tolist(), left, strict=True)]
    rates = [left.count(place) / len(left) for place in range(len(thresholds) + 1)]
    return sum(right) / len(left), float(np.dot(rates, explorer.costs)), rates


def test_test_figures_are_those_of_the_evaluation(
    shown: ReportDocument, report: dict[str, Any]
) -> None:
    student, teacher = report["student"], report["teacher"]
    assert shown.trade_off is not None
    points = {one.name: one for one in shown.trade_off.points}
    chosen = points["calibrated thresholds, on test images"]
    assert (chosen.accuracy, chosen.macs) == (student["accuracy"], student["expected_macs"])
    for exit_ in range(3):
        alone = points[f"student, exit {exit_ + 1} of 3 alone"]
        assert alone.accuracy == student["exits"][exit_]["accuracy"]
    last = points["teacher, exit 3 of 3 alone"]
    assert (last.accuracy, last.macs) == (teacher["accuracy"], teacher["static_macs"])
    assert shown.classes is not None
    assert shown.classes.adaptive is not None
    assert shown.classes.left is not None
    images = shown.classes.adaptive.sum(axis=1)
    assert images.tolist() == [one["images"] for one in student["classes"]]
    recall = shown.classes.adaptive.diagonal() / images
    assert recall.tolist() == pytest.approx([one["recall"] for one in student["classes"]])
    for row, one in zip(shown.classes.left, student["classes"], strict=True):
        assert row.tolist() == pytest.approx(one["exit_rates"])
    correct = shown.classes.confusion.diagonal(axis1=1, axis2=2).sum(axis=1)
    assert (correct / images.sum()).tolist() == pytest.approx(
        [one["accuracy"] for one in student["exits"]]
    )
    facts = {one.name: one.value for one in shown.headline}
    assert facts["accuracy"].startswith(f"{100 * student['accuracy']:.2f} %")
    assert facts["against the teacher"].startswith(f"{-report['accuracy_drop']:+.2f} points")


def test_sliders_at_the_calibrated_thresholds_give_the_figures_of_the_calibration(
    shown: ReportDocument, finished_run: Path
) -> None:
    document = json.loads((finished_run / "student/thresholds.json").read_text())
    explorer = explorer_of(shown)
    assert explorer.scores.dtype == np.float32
    assert explorer.all_images == len(explorer.scores) == document["images"]
    assert explorer.thresholds is not None
    accuracy, macs, rates = under(explorer, explorer.thresholds)
    assert (accuracy, rates) == (document["accuracy"], document["exit_rates"])
    assert macs == document["expected_macs"]
    assert not any("differ" in one for one in shown.missing)
    assert explorer.limit == pytest.approx(math.log(10))


def test_curves_are_those_of_the_logs(shown: ReportDocument, finished_run: Path) -> None:
    assert [one.role for one in shown.training] == ["teacher", "student"]
    rows = [
        json.loads(line)
        for line in (finished_run / "logs/student/metrics.jsonl").read_text().splitlines()
    ]
    curves = {one.name: one for one in shown.training[1].curves}
    assert curves["loss"].values.tolist() == [row["loss"] for row in rows]
    for name, value in rows[0].items():
        if name in ("epoch", "collapsed"):
            continue
        names = [name] if not isinstance(value, list) else [
            f"{name}, exit {place + 1}" for place in range(len(value))
        ]  # fmt: skip
        assert {*names} <= {*curves}, name
    second = [row["accuracy_calibration"][1] for row in rows]
    assert curves["accuracy_calibration, exit 2"].values.tolist() == second
    groups = {one.group for one in curves.values()}
    assert groups == {"loss", "accuracy", "teacher", "rate", "steps", "speed", "entropy"}


def test_images_are_small_few_and_of_their_exit(shown: ReportDocument, finished_run: Path) -> None:
    bundle = load_bundle(finished_run / "student")
    every = [
        (exit_, kind, one)
        for exit_ in shown.images
        for kind in ("surest_right", "surest_wrong", "passed_on")
        for one in getattr(exit_, kind)
    ]
    assert 0 < len(every) <= 96
    for _, kind, one in every:
        with Image.open(io.BytesIO(one.image)) as image:
            assert max(image.size) <= 64
            assert f"image/{(image.format or '').lower()}" == one.media_type
        if kind != "passed_on":
            assert (one.label == one.predicted) == (kind == "surest_right")
    assert not shown.images[-1].passed_on
    assert any(one.passed_on for one in shown.images)
    thresholds = bundle.require_thresholds().values
    pixels = [Image.open(io.BytesIO(one.image)) for _, _, one in every]
    for (exit_, kind, one), found in zip(every, bundle.predict(pixels), strict=True):
        left = found.exit
        assert left > exit_.exit if kind == "passed_on" else left == exit_.exit
        if kind != "passed_on":
            assert one.predicted == found.class_name
            assert one.probability == pytest.approx(found.confidence, abs=1e-4)
    assert len(thresholds) == 2


def test_large_images_are_shrunk_to_jpeg_or_png() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (227, 227, 3), dtype=np.uint8)
    content, kind = _encoded(Image.fromarray(noise))
    assert kind == "image/jpeg"
    assert Image.open(io.BytesIO(content)).size == (64, 64)
    assert _encoded(Image.new("RGB", (8, 8)))[1] == "image/png"


def test_a_certificate_shows_the_tuning_half_alone(student: Path, cli: Cli) -> None:
    assert cli("calibrate", student, "--max-risk", "0.5", "--quiet")[0] == 0
    shown = of_bundle(student, OPTIONS, images=True)
    explorer = explorer_of(shown)
    bundle = load_bundle(student)
    document = bundle.require_thresholds()
    half_a, _ = halves(document.images, bundle.document.split_fingerprint)
    assert explorer.images_of == "the tuning half"
    assert len(explorer.scores) == len(half_a) == explorer.all_images
    everyone = of_run(student.parent, OPTIONS, images=False)
    assert explorer_of(everyone).scores.tolist() == explorer.scores.tolist()
    dataset = dataset_of(bundle, OPTIONS)
    pixels = dataset.load("calibration").take(half_a).numpy()
    tuning = {_encoded(Image.fromarray(one)) for one in pixels}
    for one in shown.images:
        for kind in (one.surest_right, one.surest_wrong, one.passed_on):
            assert {(each.image, each.media_type) for each in kind} <= tuning
    assert shown.guarantee == (document.certificate and document.certificate.statement,)
    assert bool(explorer.certified) == document.certified
    said = (
        "thresholds.json has the figures of the test half; the sliders show those of the tuning "
        "half."
    )
    assert explorer.thresholds is not None
    assert under(explorer, explorer.thresholds)[2] != document.exit_rates  # so it must be said
    page = html(shown, images=False)
    assert re.search(rf'id="state"[^>]*>Calibrated thresholds\. [^<]* {said}</p>', page)
    assert shown.trade_off is not None
    assert shown.trade_off.note == said
    assert page.count(said) == 3  # by the chart, by the sliders, and for the script
    assert chosen_for(shown) == "disagreement of at most 0.5, confidence 0.9"


def test_a_guarantee_that_only_the_recipe_asks_for_hides_the_test_half_and_says_so(
    run_copy: Path, shown: ReportDocument
) -> None:
    stored = json.loads((run_copy / "run.json").read_text())
    recipe = {**stored["recipe"], "calibration": {"max_risk": 0.2}}
    update_json(run_copy / "run.json", recipe=recipe)
    found = explorer_of(of_run(run_copy, OPTIONS, images=False))
    assert len(found.scores) < len(explorer_of(shown).scores)
    assert found.note.startswith("thresholds.json has the figures of all calibration images; the")
    assert explorer_of(shown).note == ""


def chosen_for(shown: ReportDocument) -> str:
    facts = {one.name: one.value for one in shown.headline}
    return facts["chosen for"]


def test_what_the_thresholds_were_chosen_for_is_said(
    student: Path, shown: ReportDocument, json_of: JsonOf
) -> None:
    assert chosen_for(shown) == "at most 2.0 points below the last exit"
    assert "chosen for: at most 2.0 points" in markdown(shown)
    by = ("--metric", "balanced_accuracy", "--quiet")
    json_of("calibrate", student, "--max-drop", 1, *by)
    balanced = of_bundle(student, OPTIONS, images=False)
    assert chosen_for(balanced) == "at most 1.0 points below the last exit, by balanced accuracy"
    assert balanced.classes is not None
    assert balanced.classes.adaptive is not None
    recalls = [
        float((one.diagonal() / one.sum(axis=1)).mean())
        for one in (balanced.classes.adaptive, balanced.classes.confusion[-1])
    ]
    lines = [f"balanced accuracy: {100 * recalls[0]:.2f} %",
             f"balanced accuracy of the last exit: {100 * recalls[1]:.2f} %"]  # fmt: skip
    assert all(f"- {line}\n" in markdown(balanced) for line in lines)
    assert "balanced accuracy of the last exit" in html(balanced, images=False)
    (student / "evaluation/test/answers.safetensors").unlink()
    held_out = json.loads((student / "thresholds.json").read_text())["held_out"]
    facts = {one.name: one.value for one in of_bundle(student, OPTIONS, images=False).headline}
    assert facts["balanced accuracy"] == f"{100 * held_out['balanced_accuracy']:.2f} %"
    json_of("calibrate", student, "--min-accuracy", 0.5, *by)
    found = of_bundle(student, OPTIONS, images=False)
    assert chosen_for(found) == "balanced accuracy of 0.5 or more"
    json_of("calibrate", student, "--threshold", "0.3,0.2", "--quiet")
    assert chosen_for(of_bundle(student, OPTIONS, images=False)) == "no target: they were given"


def test_sliders_show_milliseconds_where_the_exits_were_timed(run_copy: Path, cli: Cli) -> None:
    assert cli("calibrate", run_copy / "student", "--max-latency", 1000)[0] == 0
    timed = json.loads((run_copy / "student/thresholds.json").read_text())["latency"]["ms"]
    shown = of_run(run_copy, OPTIONS, images=False)
    assert explorer_of(shown).milliseconds == tuple(timed)
    assert not any("Milliseconds" in one for one in shown.missing)


def test_beyond_the_limit_a_fixed_part_is_shown(
    finished_run: Path, shown: ReportDocument, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_module, "MOST_IMAGES", 50)
    few = explorer_of(of_run(finished_run, OPTIONS, images=False))
    again = explorer_of(of_run(finished_run, OPTIONS, images=False))
    whole = explorer_of(shown)
    assert (len(few.scores), few.all_images) == (50, len(whole.scores))
    assert few.scores.tolist() == again.scores.tolist()
    rows = whole.scores.tolist()
    assert all(row in rows for row in few.scores.tolist())


def test_answers_that_are_damaged_or_of_other_temperatures_are_named_not_used(
    run_copy: Path, shown: ReportDocument, cli: Cli
) -> None:
    path = run_copy / "student/evaluation/test/answers.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    damaged = of_run(run_copy, OPTIONS, images=False)
    assert any(
        "test images: the file is damaged (to make them: erde evaluate" in one
        for one in damaged.missing
    )
    assert damaged.classes is None
    assert damaged.trade_off is not None
    assert damaged.trade_off.split == "calibration"
    student = run_copy / "student"
    target = ("--max-drop", "2", "--temperature", "--quiet")
    assert cli("calibrate", student, *target)[0] == 0
    other = of_run(run_copy, OPTIONS, images=False)
    none = "none are kept for these weights, temperatures, score and precision"
    assert any(none in one for one in other.missing)
    explorer = explorer_of(other)  # answered again: the calibration images are here
    assert explorer.scores.tolist() != explorer_of(shown).scores.tolist()
    assert explorer.thresholds is not None
    document = json.loads((student / "thresholds.json").read_text())
    assert under(explorer, explorer.thresholds)[0] == document["accuracy"]


def test_answers_that_give_other_figures_than_the_calibration_are_named(run_copy: Path) -> None:
    """As those of another device or another version of a library do."""
    path = run_copy / "student/evaluation/calibration/answers.safetensors"
    with safe_open(path, "np") as file:
        inputs = file.metadata()["digest"].partition(" ")[0]
    arrays = load_file(path)
    arrays["calibration.scores"] = arrays["calibration.scores"][::-1].copy()
    write_arrays(path, arrays, inputs)
    said = (
        "Sliders: their figures differ from thresholds.json, because the answers come from another "
        "device or another version of a library."
    )
    assert said in of_run(run_copy, OPTIONS, images=False).missing


def test_hints_name_the_bundle(run_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("test", "calibration"):
        path = run_copy / f"student/evaluation/{split}/answers.safetensors"
        path.write_bytes(path.read_bytes()[:-1])
    monkeypatch.setattr(report_networks, "_calibration_images", lambda *_: (None, []))
    monkeypatch.chdir(run_copy.parent)
    student = f"{run_copy.name}/student"
    shown = of_run(Path(run_copy.name), OPTIONS, images=False).missing
    assert any(f"damaged (to make them: erde evaluate {student})." in one for one in shown)
    calibration = f"(to make them: erde evaluate {student} --split calibration)."
    assert any(one.endswith(calibration) for one in shown)
    (run_copy / "student/thresholds.json").unlink()
    shown = of_run(run_copy, OPTIONS, images=False).missing
    place = f"{student}, in the folder that contains {run_copy.name}"
    assert any(f"not calibrated (erde calibrate {place})" in one for one in shown)


def test_evaluate_keeps_the_answers_anew(run_copy: Path, cli: Cli, run_again: None) -> None:
    path = run_copy / "student/evaluation/test/answers.safetensors"
    before = path.read_bytes()
    path.unlink()
    assert cli("evaluate", run_copy / "student", "--quiet")[0] == 0
    assert path.read_bytes() == before
    assert of_run(run_copy, OPTIONS, images=False).classes is not None


@pytest.fixture
def run_again() -> None:
    """This test evaluates, so it reads test images."""


def test_a_run_whose_answers_are_damaged_is_evaluated_again(
    run_copy: Path, tiny_recipe: Path, cli: Cli, run_again: None
) -> None:
    path = run_copy / "teacher/evaluation/test/answers.safetensors"
    before = path.read_bytes()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    code, _, err = cli("run", tiny_recipe, "--out", run_copy)
    assert code == 0, err
    assert "student: nothing has changed" in err
    assert "evaluation: nothing has changed" not in err
    assert path.read_bytes() == before


def test_a_run_without_calibration_says_so(run_copy: Path) -> None:
    (run_copy / "student/thresholds.json").unlink()
    shown = of_run(run_copy, OPTIONS, images=True)
    assert any(one.startswith("Thresholds: the bundle is not calibrated") for one in shown.missing)
    assert explorer_of(shown).thresholds is None
    assert shown.classes is not None
    assert shown.classes.left is None
    assert shown.images
    assert not any(one.passed_on for one in shown.images)
    assert "No guarantee covers" in markdown(shown)


def test_a_teacher_alone_and_a_run_that_has_only_begun_show_what_there_is(run_copy: Path) -> None:
    shutil.rmtree(run_copy / "student")
    (run_copy / "report.json").unlink()
    shown = of_run(run_copy, OPTIONS, images=False)
    assert "The student: it is not trained yet." in shown.missing
    assert {one.name: one.value for one in shown.about}["role"] == "teacher"
    shutil.rmtree(run_copy / "teacher")
    (run_copy / "logs/student/metrics.jsonl").write_text("no JSON\n")
    begun = of_run(run_copy, OPTIONS, images=False)
    assert any("metrics.jsonl cannot be read" in one for one in begun.missing)
    assert [one.role for one in begun.training] == ["teacher", "student"]
    assert any(one.startswith("Networks:") for one in begun.missing)


@pytest.fixture(scope="module")
def folder_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on images in a folder with a telling name, of a class with a telling one too."""
    here = tmp_path_factory.mktemp("of") / TELLING
    for label, name in enumerate(("a|b <img src=x>", "`light`")):
        for number in range(30):
            path = here / "pictures" / name / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            grey = 130 * label + 3 * number
            Image.new("RGB", (9, 8), (grey, grey, 255 - grey)).save(path)
    recipe = {
        "name": "folder", "license": 'mine: "quoted"',
        "data": {"dataset": "imagefolder", "root": str(here / "pictures"), "image_size": 8,
                 "augmentation": {"crop": 1}},
        "teacher": {"depth": 8, "width": 2, "exits": 2},
        "student": {"depth": 8, "width": 1, "exits": 2},
        "training": {one: {"epochs": 1, "batch_size": 16} for one in ("teacher", "student")},
    }  # fmt: skip
    (here / "folder.yaml").write_text(yaml.safe_dump(recipe))
    run = here / "run"
    assert main(["run", str(here / "folder.yaml"), "--out", str(run), "--quiet"]) == 0
    return run


def test_no_path_of_this_machine_is_in_a_report(folder_run: Path, cli: Cli) -> None:
    pages = [folder_run / "report.html", folder_run / "student/card.md"]
    assert cli("report", folder_run, "--quiet")[0] == 0
    assert cli("report", folder_run / "student", "--out", pages[1], "--quiet")[0] == 0
    for page in pages:
        text = page.read_text()
        assert TELLING not in text
        assert str(Path.home()) not in text
        assert "pictures" in text  # the last part of data.root


def test_a_command_says_where_it_works_if_the_path_was_absolute(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = "in the folder that contains tiny"
    shown = of_run(finished_run, OPTIONS, images=False)
    timed = f"(erde calibrate tiny/student --max-latency MS, {where})."
    assert any(one.startswith("Milliseconds:") and one.endswith(timed) for one in shown.missing)
    page = html(shown, images=False)
    assert f"The command that uses these thresholds, {where}:" in page
    assert f"Type them {where}." in page
    assert f"Type this {where}:\n\n```sh\nerde predict tiny/student" in markdown(shown)
    monkeypatch.chdir(finished_run.parent)
    beside = of_run(Path("tiny"), OPTIONS, images=False)
    assert beside.usage == shown.usage
    assert "in the folder that contains" not in html(beside, images=False) + markdown(beside)
    monkeypatch.chdir(finished_run / "logs")
    assert of_run(Path("../../tiny"), OPTIONS, images=False).where == where


@pytest.mark.parametrize("typed", [Path("-d1"), Path("/abs/-d1")])
def test_a_folder_whose_name_begins_with_a_hyphen_is_no_option(typed: Path) -> None:
    assert Typed.of(typed, "student").word == "./-d1/student"


def test_the_card_opens_with_a_header_and_escapes_what_strangers_wrote(
    folder_run: Path, cli: Cli
) -> None:
    path = folder_run / "card.md"
    assert cli("report", folder_run, "--out", path, "--quiet")[0] == 0
    _, header, body = path.read_text().split("---\n", 2)
    document = yaml.safe_load(header)
    assert document["license"] == 'mine: "quoted"'
    assert document["library_name"] == "erde"
    assert document["metrics"] == ["accuracy"]
    assert r"| a\|b \<img src=x\> |" in body
    assert r"| \`light\` |" in body
    assert "<img" not in body.replace(r"\<img", "")
    recipe = re.search(r"```yaml\n(.*?)```", body, re.DOTALL)
    assert recipe is not None
    assert yaml.safe_load(recipe[1])["data"]["root"] == "pictures"
    for word in ("Guarantee", "Preprocessing", "erde predict run/student"):
        assert word in body


def test_where_images_are_gone_the_rest_is_shown(folder_run: Path, tmp_path: Path) -> None:
    pictures, elsewhere = folder_run.parent / "pictures", tmp_path / "pictures"
    shutil.move(pictures, elsewhere)
    try:
        shown = of_run(folder_run, OPTIONS, images=True)
    finally:
        shutil.move(elsewhere, pictures)
    assert "Images: they are not where the recipe says, or cannot be read." in shown.missing
    assert not shown.images
    assert explorer_of(shown).thresholds is not None
    assert shown.classes is not None


def test_the_licence_changes_no_network(folder_run: Path, cli: Cli, run_again: None) -> None:
    recipe = folder_run.parent / "folder.yaml"
    code, _, err = cli("run", recipe, "--out", folder_run, "--set", "license=cc0-1.0")
    assert code == 0, err
    assert err.count("nothing has changed, kept") == 4
    assert of_run(folder_run, OPTIONS, images=False).license == "cc0-1.0"


def test_a_run_whose_report_fails_succeeds_with_a_warning(
    run_copy: Path, tiny_recipe: Path, cli: Cli
) -> None:
    (run_copy / "report.html").unlink()
    (run_copy / "report.html").mkdir()
    code, out, err = cli("run", tiny_recipe, "--out", run_copy, "--json")
    assert code == 0
    assert "Warning:" in err
    assert "could not be written; the results are complete" in err
    assert json.loads(out)["student"]


def test_a_run_writes_its_report_and_json_names_it(run_copy: Path, json_of: JsonOf) -> None:
    page = run_copy / "report.html"
    assert page.stat().st_size < 700_000
    written = json_of("report", run_copy, "--quiet")
    assert written["report"] == str(page)
    assert (written["kind"], written["bytes"]) == ("run", page.stat().st_size)
    assert written["missing"] == [*of_run(run_copy, OPTIONS, images=True).missing]


def test_a_page_without_images_stays_so_at_the_end_of_the_next_run(
    run_copy: Path, tiny_recipe: Path, cli: Cli, run_again: None
) -> None:
    page, drawn = run_copy / "report.html", "data:image/"
    for options, images in ((("--no-images",), False), ((), True)):
        assert cli("report", run_copy, *options)[0] == 0
        assert (drawn in page.read_text()) is images
        (run_copy / "report.json").unlink()  # it is evaluated again, and the page written
        before = page.stat().st_mtime_ns
        code, _, err = cli("run", tiny_recipe, "--out", run_copy)
        assert page.stat().st_mtime_ns > before
        assert code == 0, err
        assert (drawn in page.read_text()) is images


def test_open_starts_the_browser_with_the_file(
    run_copy: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = tmp_path / "started.txt"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {started}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    monkeypatch.setattr("webbrowser._tryorder", None)  # it is read once in a process
    code, _, err = cli("report", run_copy, "--open", "--no-images", "--quiet")
    assert code == 0, err
    assert started.read_text().strip() == (run_copy / "report.html").as_uri()


def test_an_answer_file_of_a_later_evaluation_is_named(run_copy: Path) -> None:
    name = "student/evaluation/test/answers.safetensors"
    stored = json.loads((run_copy / "run.json").read_text())
    update_json(run_copy / "run.json", answers={**stored["answers"], name: "0" * 64})
    shown = of_run(run_copy, OPTIONS, images=False)
    assert f"{name}: it was written after the run's own evaluation." in shown.missing
