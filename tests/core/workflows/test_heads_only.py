"""`train: heads`: features computed once, heads trained on them, everything else untouched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from erde_cli.core import provenance
from erde_cli.core.bundle.bundle import load_bundle
from erde_cli.core.data import batches as batches_module
from erde_cli.core.data.batches import evaluation_batches
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.errors import InputError
from erde_cli.core.events import EpochEvent, Observer
from erde_cli.core.inference.answers import ready
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.platform.torchvision_import import torchvision_models
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.recipe.schema import Recipe
from erde_cli.core.storage import cache as cache_module
from erde_cli.core.workflows import step_times
from erde_cli.core.workflows.images import load_for_training
from erde_cli.core.workflows.kept import Networks
from erde_cli.core.workflows.kept_features import kept_features
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.plan import plan_run
from erde_cli.core.workflows.prepared import Prepared, prepare
from erde_cli.core.workflows.train import distill, train_teacher
from tests.core.conftest import MakeFolder
from tests.core.workflows.noise import CLASSES, IMAGES, SIDE, write_recipe

LAST = "heads.2.1"  # the last linear layer
MakeRecipe = Callable[..., Recipe]


class Seen(Observer):
    """Keeps messages and the progress that was shown."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.progressed: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warning(self, message: str) -> None:
        self.warnings.append(message)

    def progress(self, title: str, done: int, total: int) -> None:
        if done == total:
            self.progressed.append(title)

    @property
    def computed(self) -> list[str]:
        return [title for title in self.progressed if "view" in title]


class Stops(Seen):
    """Interrupts after the first epoch, or in the first progress of features."""

    def __init__(self, *, in_features: bool) -> None:
        super().__init__()
        self._in_features = in_features

    def epoch(self, event: EpochEvent) -> None:
        raise KeyboardInterrupt

    def progress(self, title: str, done: int, total: int) -> None:
        if self._in_features and title.startswith("Features, view"):
            raise KeyboardInterrupt


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("ERDE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def make_recipe(make_images: MakeFolder, tmp_path: Path, cache: Path) -> MakeRecipe:
    """The recipe of `noise.py`, with keys set."""
    counts = dict.fromkeys(CLASSES, IMAGES)
    root = make_images({"train": counts, "test": counts}, size=(SIDE, SIDE))
    path = write_recipe(tmp_path, root)
    return lambda *sets: load_recipe(str(path), list(sets))


def trained(recipe: Recipe, run: Path, observer: Observer, resume: bool | None = None) -> bytes:
    options = Options("cpu", 1, observer, resume=resume)
    return (train_teacher(recipe, run, options).bundle.path / "model.safetensors").read_bytes()


def prepared(recipe: Recipe) -> Prepared:
    options = Options("cpu", 1)
    dataset = open_dataset(recipe.data)
    context = options.training_context(recipe.training.teacher)
    return prepare(recipe, "teacher", dataset, dataset.load("train"), context)


def changed(model: EarlyExitNet, recipe: Recipe) -> set[str]:
    """Names of the tensors that differ from the first weights."""
    first = prepared(recipe).network.state_dict()
    state = model.state_dict()
    assert list(state) == list(first)
    return {name for name in state if not torch.equal(state[name], first[name])}


def views(cache: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in cache.glob("features/*/view-*.npy")}


def test_heads_are_trained_and_no_bit_of_the_backbone_changes(
    make_recipe: MakeRecipe, tmp_path: Path, cache: Path
) -> None:
    recipe, seen = make_recipe(), Seen()
    trained(recipe, tmp_path / "run", seen)
    model = load_bundle(tmp_path / "run/teacher").model
    layers = ("heads.0.2", "heads.1.2", LAST)  # in the state of the network
    assert {name.rpartition(".")[0] for name in changed(model, recipe)} == set(layers)
    assert seen.computed == ["Features, view 1"]
    [note] = [note for note in seen.notes if note.startswith("Features")]
    assert "kB for 1 view, 0 of 1 views there, in " in note
    assert str(cache / "features") in note


def test_the_head_of_the_paper_trains_its_norm(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe("teacher.head=erde")
    trained(recipe, tmp_path / "run", Seen())
    names = changed(load_bundle(tmp_path / "run/teacher").model, recipe)
    assert {name.partition(".")[0] for name in names} == {"heads"}
    assert "heads.0.0.running_mean" in names
    assert not {name for name in names if name.startswith("heads.2") and LAST not in name}


def test_a_last_layer_that_is_kept_answers_as_before_to_the_bit(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe("teacher.last_layer=kept")
    trained(recipe, tmp_path / "run", Seen())
    model = load_bundle(tmp_path / "run/teacher").model
    assert {name[:7] for name in changed(model, recipe)} == {"heads.0", "heads.1"}
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    context = Options("cpu", 1).inference_context("float32")
    with torch.no_grad():
        before = ready(prepared(recipe).network, context)(images)
        after = ready(model, context)(images)
    assert torch.equal(after[:, -1], before[:, -1])
    assert not torch.equal(after[:, 0], before[:, 0])


def test_accuracy_of_features_is_that_of_the_whole_network(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    options = Options("cpu", 1)
    made = train_teacher(make_recipe(), tmp_path / "run", options)
    rows = (tmp_path / "run/logs/teacher/metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["accuracy_calibration"] == made.accuracy_calibration


@pytest.mark.parametrize(("sets", "count"), [((), 1), (("training.teacher.views=2",), 2)])
def test_batches_of_features_are_those_of_the_images(
    make_recipe: MakeRecipe, sets: tuple[str, ...], count: int
) -> None:
    recipe = make_recipe(*sets)
    made = prepared(recipe)
    assert made.split is not None
    dataset = open_dataset(recipe.data)
    calibration = dataset.load("calibration")
    batches, _ = kept_features(
        made, recipe, "teacher", dataset.fingerprint, calibration, Options("cpu", 1)
    )
    for epoch in range(3):
        for image, row in zip(made.batches.epoch(epoch), batches.epoch(epoch), strict=True):
            assert row.view == image.view == epoch % count
            np.testing.assert_array_equal(row.rows, image.rows)
            assert torch.equal(row.labels, image.labels)
            with torch.no_grad():
                expected = made.split.frozen(image.images)
            torch.testing.assert_close(row.images, expected, rtol=2**-9, atol=1e-4)


def test_one_view_is_the_image_as_evaluation_reads_it_and_more_are_augmented(
    make_recipe: MakeRecipe,
) -> None:
    recipe = make_recipe("data.augmentation.crop=2")
    made = prepared(recipe)
    train = open_dataset(recipe.data).load("train")
    plain = evaluation_batches(train, made.normalisation, made.context)
    images = torch.cat([batch.images for batch in plain])
    [batch] = made.batches.in_order(0, len(train))
    assert torch.equal(batch.images, images)
    augmented = prepared(make_recipe("data.augmentation.crop=2", "training.teacher.views=2"))
    one, other = (next(augmented.batches.in_order(view, len(train))).images for view in (0, 1))
    assert not torch.equal(one, images)
    assert not torch.equal(one, other)


def test_features_that_are_kept_are_not_computed_again(
    make_recipe: MakeRecipe, tmp_path: Path, cache: Path
) -> None:
    first = trained(make_recipe(), tmp_path / "a", Seen())
    files = views(cache)
    assert len(files) == 1
    again, seen = Seen(), Seen()
    assert trained(make_recipe(), tmp_path / "b", again) == first
    # Neither the seed nor what is trained on the features decides them.
    sets = ("seed=4", "training.teacher.learning_rate=0.01", "data.augmentation.crop=2")
    assert trained(make_recipe(*sets), tmp_path / "c", seen) != first
    assert again.computed == seen.computed == []
    assert views(cache) == files


@pytest.mark.parametrize("change", ["teacher.exits=[4, 11]", "data.split_seed=9"])
def test_what_features_depend_on_has_a_cache_of_its_own(
    make_recipe: MakeRecipe, tmp_path: Path, cache: Path, change: str
) -> None:
    epochs = "training.teacher.epochs=1"
    trained(make_recipe(epochs), tmp_path / "a", Seen())
    trained(make_recipe(epochs, change), tmp_path / "b", Seen())
    assert len(list((cache / "features").iterdir())) == 2


def test_another_torchvision_computes_features_and_logits_of_its_networks_again(
    make_recipe: MakeRecipe, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe("training.teacher.epochs=1", "training.student.epochs=1")
    teacher = train_teacher(recipe, tmp_path / "run", Options("cpu", 1)).bundle
    computed = []
    for version in ("1", "1", "2"):
        monkeypatch.setattr(provenance, "version", lambda name, given=version: given)
        shutil.rmtree(tmp_path / "other", ignore_errors=True)
        seen = Seen()
        distill(recipe, tmp_path / "other", teacher, Options("cpu", 1, seen))
        computed.append(seen.computed)
    both = ["Teacher's logits, view 1", "Features, view 1"]
    assert computed == [both, [], both]


def test_random_views_depend_on_the_seed_and_only_those_that_epochs_show_are_computed(
    make_recipe: MakeRecipe, tmp_path: Path, cache: Path
) -> None:
    sets = ("training.teacher.views=8", "training.teacher.epochs=2")
    seen = Seen()
    trained(make_recipe(*sets), tmp_path / "a", seen)
    assert seen.computed == ["Features, view 1", "Features, view 2"]
    trained(make_recipe(*sets, "seed=4"), tmp_path / "b", Seen())
    assert len(views(cache)) == 4


def test_a_damaged_view_is_computed_again(
    make_recipe: MakeRecipe, tmp_path: Path, cache: Path
) -> None:
    first = trained(make_recipe(), tmp_path / "a", Seen())
    [path] = views(cache)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    seen = Seen()
    assert trained(make_recipe(), tmp_path / "b", seen) == first
    assert seen.warnings == [f"{path} is damaged. It is computed again."]
    assert list(views(cache)) == [path]


def test_a_stopped_training_continues_to_the_same_bytes(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe("teacher.head=erde")
    whole = trained(recipe, tmp_path / "a", Seen())
    monkeypatch.setenv("ERDE_CHECKPOINT_SECONDS", "0")
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, tmp_path / "b", Stops(in_features=False))
    states = list((tmp_path / "b/checkpoints/teacher").glob("step-*.pt"))
    assert states
    weights = load_bundle(tmp_path / "a/teacher").path / "model.safetensors"
    assert max(path.stat().st_size for path in states) < weights.stat().st_size / 4  # heads alone
    seen = Seen()
    assert trained(recipe, tmp_path / "b", seen, resume=True) == whole
    assert any(note.startswith("continuing in epoch 1") for note in seen.notes)
    assert seen.computed == []


def test_an_interrupted_computation_leaves_no_part_of_a_view(
    make_recipe: MakeRecipe, tmp_path: Path, cache: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(make_recipe(), tmp_path / "run", Stops(in_features=True))
    [folder] = (cache / "features").iterdir()
    assert [path.name for path in folder.iterdir()] == ["key.json"]
    assert not (tmp_path / "run").exists()
    trained(make_recipe(), tmp_path / "run", Seen())
    assert len(views(cache)) == 1


def test_features_of_calibration_images_are_written_batch_by_batch_to_a_file_without_a_name(
    make_recipe: MakeRecipe, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe()
    made, dataset = prepared(recipe), open_dataset(recipe.data)
    assert made.split is not None
    images, row = dataset.load("calibration"), made.split.row
    written: list[int] = []

    class Watching(Observer):
        def progress(self, title: str, done: int, total: int) -> None:
            if title == "Features, calibration":
                [growing] = cache.glob("features/*/.erde-new-answers*")
                assert growing.stat().st_size == 2 * row * done
                written.append(done)
                assert total == len(images)

    monkeypatch.setattr(batches_module, "images_at_once", lambda side, device: 2)
    observer = Watching()
    kept_features(made, recipe, "teacher", "x", images, Options("cpu", 1, observer))
    assert len(written) > 1
    assert written[-1] == len(images)
    assert not list(cache.glob("features/*/.erde-new-*"))


def test_a_full_disk_is_one_sentence_before_anything_is_computed(
    make_recipe: MakeRecipe, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = cache_module.shutil._ntuple_diskusage(10**9, 10**9, 1000)
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: usage)
    seen = Seen()
    with pytest.raises(InputError, match="no space for a cache of") as caught:
        trained(make_recipe(), tmp_path / "run", seen)
    assert "ERDE_CACHE" in caught.value.hint
    assert seen.computed == []
    assert views(cache) == {}
    assert not (tmp_path / "run").exists()


def test_a_student_is_distilled_on_features_and_the_teacher_sees_the_same_images(
    make_recipe: MakeRecipe, tmp_path: Path, cache: Path
) -> None:
    recipe = make_recipe("student.head=erde")
    options = Options("cpu", 1)
    teacher = train_teacher(recipe, tmp_path / "run", options).bundle
    seen = Seen()
    student = distill(recipe, tmp_path / "run", None, Options("cpu", 1, seen)).bundle
    assert seen.computed == ["Teacher's logits, view 1", "Features, view 1"]  # before any epoch
    row = json.loads((tmp_path / "run/logs/student/metrics.jsonl").read_text().splitlines()[0])
    assert {"cross_entropy", "distillation", "entropy", "teacher_wrong"} <= set(row)
    first = teacher.model.stages.state_dict()
    same: dict[str, Tensor] = student.model.stages.state_dict()
    assert all(torch.equal(same[name], first[name]) for name in first)
    train, _ = load_for_training(open_dataset(recipe.data), recipe, options)
    context = options.inference_context("float32")
    plain = evaluation_batches(train, teacher.normalisation, context, len(train))
    with torch.no_grad():
        expected = teacher.model.eval()(next(plain).images)
    [path] = cache.glob("teacher/*/view-*.npy")
    torch.testing.assert_close(
        torch.from_numpy(np.load(path)).float(), expected, rtol=2**-9, atol=1e-3
    )


@pytest.mark.parametrize("limit", [1, 0])  # of the disk in MB; 0: photos are never kept
@pytest.mark.parametrize(
    ("sets", "made"),
    [((), False), (("training.teacher.views=2",), True), (("training.student.train=all",), True)],
)
def test_photos_for_random_crops_are_made_only_where_a_network_sees_them(
    make_recipe: MakeRecipe, cache: Path, sets: tuple[str, ...], made: bool, limit: int
) -> None:
    crop = "data.augmentation={crop: 0, resized_crop: 0.5}"
    recipe = make_recipe(crop, f"data.disk_limit={limit}", *sets)
    seen = Seen()
    dataset = open_dataset(recipe.data)
    folders = len(list(cache.glob("images/*")))
    load_for_training(dataset, recipe, Options("cpu", 1, seen))
    assert any(note.startswith("Train photos") for note in seen.notes) == made
    kept = made and limit > 0
    assert len(list(cache.glob("images/*"))) - folders == kept + (limit == 0)  # calibration


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_an_interpolation_that_the_weights_do_not_expect_is_one_note(
    make_recipe: MakeRecipe, tmp_path: Path, interpolation: str
) -> None:
    mobilenet = torchvision_models().mobilenet_v3_small(num_classes=3)
    weights = tmp_path / "mobilenet.pth"
    torch.save(mobilenet.state_dict(), weights)
    section = f"{{backbone: torchvision/mobilenet_v3_small, weights: {weights}, exits: 2}}"
    data = ("data.resize=crop", f"data.interpolation={interpolation}")
    seen = Seen()
    recipe = make_recipe(f"teacher={section}", "distillation.pairing=[0, 1, 1]", *data)
    trained(recipe, tmp_path / "run", seen)
    expected = (
        "The weights expect resize: crop, crop_share: 0.875, interpolation: bilinear; the recipe "
        "has resize: crop, crop_share: 0.875, interpolation: bicubic."
    )
    notes = [note for note in seen.notes if "weights expect" in note]
    assert notes == ([] if interpolation == "bilinear" else [expected])


def test_logits_are_kept_for_the_views_of_the_features(make_recipe: MakeRecipe) -> None:
    same = ("training.student.views=3", "distillation.teacher_cache.views=3")
    assert make_recipe(*same).kept_views("student") == 3
    assert make_recipe("training.student.views=3").kept_views("student") == 3


def test_a_plan_contains_the_features_and_computes_none(
    make_recipe: MakeRecipe, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_times, "_SECONDS", 1e-9)

    def planned(*sets: str) -> Any:
        recipe = make_recipe(*sets)
        networks = Networks(recipe, tmp_path / "run", open_dataset(recipe.data))
        return plan_run(networks, Options("cpu", 1))

    plan = planned()
    assert {role: one.seconds_of_features > 0 for role, one in plan.roles.items()} == {
        "teacher": True, "student": True,
    }  # fmt: skip
    teacher = plan.roles["teacher"]
    assert teacher.seconds > teacher.seconds_of_features + 2 * teacher.seconds_per_epoch
    assert "teacher features in " in plan.in_short()
    assert plan.to_json()["teacher"]["seconds_of_features"] == teacher.seconds_of_features
    assert views(cache) == {}
    whole = planned("training.teacher.train=all")
    assert "seconds_of_features" not in whole.to_json()["teacher"]
