"""`erde run FOLDER`: from images to a result without a recipe."""

from pathlib import Path

import pytest

from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.workflows.run_folders import images_folder, run_of_folder

from ..conftest import Cli, JsonOf
from .test_init import write_images

pytestmark = pytest.mark.usefixtures("short_timings")
SHORT = [
    part
    for role in ("teacher", "student")
    for key in ("epochs=1", "batch_size=8")
    for part in ("--set", f"training.{role}.{key}")
] + ["--set", "teacher.width=2", "--set", "student.width=2"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_becomes_a_recipe_and_a_result_that_is_kept(
    here: Path, cli: Cli, json_of: JsonOf
) -> None:
    write_images(here / "photos", {"cat": 20, "dog": 20}, side=16)
    code, out, err = cli("run", "photos/", *SHORT)
    assert code == 0, err
    assert "Recipe: runs/photos/recipe.yaml, chosen for 30 minutes" in err
    assert "Plan: about" in err
    assert "Teacher and student on the test split" in out
    recipe = here / "runs/photos/recipe.yaml"
    written = recipe.read_bytes()
    assert load_recipe(str(recipe)).data.root == str(here / "photos")
    code, _, err = cli("run", "photos", *SHORT)
    assert code == 0, err
    assert "from an earlier run" in err
    assert err.count("nothing has changed, kept") == 4
    assert recipe.read_bytes() == written
    found = json_of("plan", "photos", *SHORT)
    assert (found["run"], found["seconds"]) == ("runs/photos", 0)


def test_planning_a_folder_writes_nothing(here: Path, json_of: JsonOf) -> None:
    write_images(here / "photos", {"cat": 20, "dog": 20}, side=16)
    found = json_of("plan", "photos")
    assert found["run"] == "runs/photos"
    assert found["teacher"]["epochs"] > 1
    assert {path.name for path in here.iterdir()} == {"photos"}


def test_folders_of_the_same_name_have_runs_of_their_own(here: Path) -> None:
    first, second = here / "a/photos", here / "b/photos"
    for folder in (first, second):
        folder.mkdir(parents=True)
    assert run_of_folder(first) == run_of_folder(second) == Path("runs/photos")
    (here / "runs/photos").mkdir(parents=True)
    (here / "runs/photos/.lock").touch()  # another erde is about to choose its recipe
    assert run_of_folder(first) == Path("runs/photos")
    text = (
        "data: {{dataset: imagefolder, root: {root}, image_size: 16}}\n"
        "teacher: {{depth: 8, exits: 2}}\nstudent: {{depth: 8, exits: 2}}\n"
        "training: {{teacher: {{epochs: 1}}, student: {{epochs: 1}}}}\n"
    )
    (here / "runs/photos/recipe.yaml").write_text(text.format(root="../../a/photos"))
    assert run_of_folder(first) == Path("runs/photos")
    assert run_of_folder(second) == Path("runs/photos-2")
    (here / "link").symlink_to(first)
    assert run_of_folder(here / "link") == Path("runs/photos")
    (here / "runs/photos-2").mkdir()
    (here / "runs/photos-2/report.json").write_text("{}")  # of a recipe of that name
    assert run_of_folder(second) == Path("runs/photos-3")


def test_a_shipped_recipe_comes_before_a_folder_of_its_name(here: Path) -> None:
    (here / "digits").mkdir()
    assert images_folder("digits") is None
    assert images_folder("./digits") == Path("digits")
    assert run_of_folder(Path("digits")) == Path("runs/digits-2")
    (here / "mine.yaml").write_text("x")
    assert images_folder("mine.yaml") is None
    assert images_folder("x" * 5000) is None


def test_a_recipe_that_was_changed_is_used_as_it_is(here: Path, cli: Cli) -> None:
    write_images(here / "photos", {"cat": 20, "dog": 20}, side=16)
    assert cli("run", "photos", *SHORT, "--quiet")[0] == 0
    recipe = here / "runs/photos/recipe.yaml"
    recipe.write_text(recipe.read_text().replace("max_drop: 1 ", "max_drop: 2 "))
    code, _, err = cli("run", "photos", *SHORT)
    assert code == 2
    assert "calibration.max_drop: 1.0 there, 2.0 here" in err
    more = ("--set", "student.width=3", "--force")
    code, _, err = cli("run", "photos", *SHORT, *more)
    assert code == 0, err
    assert "Plan: about" in err
    assert "teacher: nothing has changed, kept" in err
    assert cli("init", "photos")[0] == 0  # its plan is of runs/photos, which another recipe made
