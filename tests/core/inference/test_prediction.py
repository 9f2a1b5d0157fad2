"""Predictions from Python: the same answers as evaluation, for images in any form."""

import dataclasses
import math
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import erde_cli
from erde_cli.core.bundle.bundle import Bundle, load_bundle
from erde_cli.core.data.normalisation import Normalisation, Normaliser
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.data.sources import to_array
from erde_cli.core.device import make_context
from erde_cli.core.errors import BundleError, DataError, InputError
from erde_cli.core.images.pixels import DEFAULT_RULES
from erde_cli.core.inference.answers import ready, route_all
from erde_cli.core.inference.exit_rule import ExitRule
from erde_cli.core.inference.prediction import Predictor
from erde_cli.core.inference.routing import all_scores
from erde_cli.core.inference.rows import Prediction
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.models.profile import profile_model

from ...edited import update_json
from ...process_state import state_of_the_process

TEMPERATURES = [0.5, 2.0, 4.0]


def calibrated(run: Path, **changes: object) -> Bundle:
    """The run's student with other thresholds, or temperatures, written into it."""
    path = run / "student" / "thresholds.json"
    update_json(path, **changes)
    return load_bundle(run / "student")


@pytest.fixture
def bundle(run_copy: Path) -> Bundle:
    """A student whose images leave at every exit, with a different temperature at each."""
    bundle = calibrated(run_copy, temperatures=TEMPERATURES)
    context = make_context("cpu", "float32")
    images = torch.from_numpy(digits(bundle)[0])
    with torch.no_grad():
        logits = bundle.model(Normaliser(bundle.normalisation, 8, context)(images))
    scores = all_scores(logits, TEMPERATURES)
    # Half of the images leave at the first exit, and half of all are below the second threshold.
    middle = [float(scores[:, index].quantile(0.5)) for index in range(2)]
    return calibrated(run_copy, thresholds=middle)


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """An image of another size than the network's."""
    pixels = np.random.default_rng(0).integers(0, 256, (13, 19, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def three_images() -> np.ndarray:
    return np.stack([np.full((8, 8, 3), 20 * i, np.uint8) for i in range(3)])


def digits(bundle: Bundle) -> tuple[np.ndarray, np.ndarray]:
    """The test split: uint8 [n, 8, 8, 3], labels [n]."""
    store = open_dataset(bundle.recipe.data).load("test")
    return store.part(0, len(store)).numpy(), store.labels.numpy()


def test_they_are_what_evaluation_routes(bundle: Bundle) -> None:
    store = open_dataset(bundle.recipe.data).load("test")
    context = make_context("cpu", "float32", memory_format="channels_last")
    document = bundle.require_thresholds()
    routed = route_all(
        ready(bundle.model, context), store, bundle.normalisation, document.values, context,
        document.temperatures,
    )  # fmt: skip
    found = bundle.predict(store.part(0, len(store)))
    assert [one.exit for one in found] == routed.exits.tolist()
    assert [one.label for one in found] == routed.predictions.tolist()
    assert set(routed.exits.tolist()) == {0, 1, 2}
    assert [one.class_name for one in found] == [bundle.class_names[one.label] for one in found]


def test_confidence_entropy_and_macs_are_those_of_the_exit_taken(bundle: Bundle) -> None:
    images, _ = digits(bundle)
    context = make_context("cpu", "float32")
    normalised = Normaliser(bundle.normalisation, 8, context)(torch.from_numpy(images))
    with torch.no_grad():
        logits = bundle.model(normalised)
    costs = profile_model(bundle.model, 8).cumulative_macs
    for place, one in enumerate(bundle.predict(images)):
        scaled = logits[place, one.exit] / TEMPERATURES[one.exit]
        shares = scaled.softmax(dim=0)
        assert one.confidence == pytest.approx(float(shares[one.label]), abs=1e-5)
        assert one.confidence == pytest.approx(float(shares.max()), abs=1e-5)
        assert one.entropy == pytest.approx(float(-(shares * shares.log()).sum()), abs=1e-5)
        assert one.macs == costs[one.exit]


class _Fixed(torch.nn.Module):
    """Gives the same logits for every image."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.register_buffer("logits", torch.tensor(logits))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(images), -1)


def test_the_label_is_that_of_the_logits_also_where_a_temperature_makes_two_equal() -> None:
    low, high = np.nextafter(np.float32(3), np.float32(0)), np.float32(3)
    temperature = next(t for t in np.arange(1.1, 9, 0.1, np.float32) if low / t == high / t)
    network = EarlyExitNet([torch.nn.Identity()], [_Fixed([float(low), float(high)])], 2).eval()
    context = make_context("cpu", "float32")
    normalise = Normaliser(Normalisation((0, 0, 0), (1, 1, 1)), 8, context)
    predictor = Predictor(network, normalise, context, ("a", "b"), 8, DEFAULT_RULES, (1,))
    for count in (1, 3):
        images = torch.zeros(count, 8, 8, 3, dtype=torch.uint8)
        found = predictor.answer(images, ExitRule((), (float(temperature),)))
        assert found.labels.tolist() == [1] * count


def test_one_by_one_they_leave_at_the_same_exits(bundle: Bundle) -> None:
    images, _ = digits(bundle)
    together = bundle.predict(images)
    assert [one.exit for one in bundle.predict(images, batch=1)] == [one.exit for one in together]
    alone = [bundle.predict(image)[0] for image in images[:50]]
    assert [(one.exit, one.label) for one in alone] == [(o.exit, o.label) for o in together[:50]]


def test_every_form_of_an_image_gives_the_same(
    bundle: Bundle, photo: Image.Image, tmp_path: Path
) -> None:
    photo.save(tmp_path / "photo.png")
    array = np.asarray(photo)
    forms = [
        str(tmp_path / "photo.png"), tmp_path / "photo.png", photo, array,
        torch.from_numpy(array.copy()), np.ascontiguousarray(array[::-1])[::-1],
        to_array(photo, bundle.image_size),
    ]  # fmt: skip
    found = bundle.predict(forms)
    assert len(set(found)) == 1
    for form, expected in zip(forms, found, strict=True):
        [alone] = bundle.predict(form)  # of another batch: the last bits may differ
        assert (alone.label, alone.exit) == (expected.label, expected.exit)
        assert alone.entropy == pytest.approx(expected.entropy, rel=1e-5)
        assert alone.confidence == pytest.approx(expected.confidence, rel=1e-5)


def test_grey_is_the_same_as_a_grey_picture(bundle: Bundle, photo: Image.Image) -> None:
    grey = photo.convert("L")
    array = np.asarray(grey)
    forms = [grey, array, torch.from_numpy(array.copy()), np.stack([array] * 3, axis=-1)]
    assert len(set(bundle.predict(forms))) == 1


def test_a_picture_is_turned_as_the_camera_was_held(
    bundle: Bundle, photo: Image.Image, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "held.png", exif=exif)
    turned = photo.transpose(Image.Transpose.ROTATE_270)
    expected = bundle.predict([turned, turned])  # of two: the last bits depend on the batch
    with Image.open(tmp_path / "held.png") as opened:
        assert bundle.predict([tmp_path / "held.png", opened]) == expected
    assert expected != bundle.predict([photo, photo])


def test_images_are_taken_a_batch_at_a_time(bundle: Bundle) -> None:
    taken = []

    def images() -> Iterator[np.ndarray]:
        for image in three_images():
            taken.append(1)
            yield image
        yield np.zeros((8, 8, 2), np.uint8)

    with pytest.raises(DataError, match="number 3, from 0"):
        bundle.predict(images(), batch=2)
    assert len(taken) == 3
    assert bundle.predict([]) == []


@pytest.mark.parametrize(
    ("image", "got"),
    [
        (np.zeros((8, 8, 3)), "float64"),
        (np.zeros((3, 8, 8), np.uint8), "[3, 8, 8]"),
        (torch.zeros(3, 8, 8), "torch.float32"),
        (np.zeros((0, 8, 3), np.uint8), "[0, 8, 3]"),
        (np.zeros(8, np.uint8), "[8]"),
        (np.zeros((2, 2, 8, 8, 3), np.uint8), "[2, 8, 8, 3]"),
        (7, "int"),
        ([None], "NoneType"),
    ],
)
def test_what_is_no_image_is_refused(bundle: Bundle, image: object, got: str) -> None:
    with pytest.raises(DataError, match="not an image") as caught:
        bundle.predict(image)  # type: ignore[arg-type]
    assert got in caught.value.got
    assert "uint8" in caught.value.expected


def test_files_and_pictures_that_cannot_be_read_are_named(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no image")
    with pytest.raises(DataError, match="cannot be read"):
        bundle.predict(tmp_path / "notes.png")
    with pytest.raises(DataError, match="No such file"):
        bundle.predict([tmp_path / "none.png"])
    with pytest.raises(DataError, match="floating-point"):
        bundle.predict([three_images()[0], Image.new("F", (8, 8))])


def test_thresholds_can_be_given_for_one_call(bundle: Bundle, run_copy: Path) -> None:
    images, _ = digits(bundle)
    before = (run_copy / "student/thresholds.json").read_bytes()

    def exits(thresholds: object) -> list[int]:
        return [one.exit for one in bundle.predict(images, thresholds=thresholds)]  # type: ignore[arg-type]

    for always in ("always", math.inf, np.float32(99), ["always", 0], (99, "never")):
        assert set(exits(always)) == {0}
    for never in ("never", 0, [0, 0.0]):
        assert set(exits(never)) == {2}
    assert set(exits([0, math.inf])) == {1}
    assert exits(bundle.require_thresholds().values) == [one.exit for one in bundle.predict(images)]
    assert (run_copy / "student/thresholds.json").read_bytes() == before


@pytest.mark.parametrize("wrong", [-1, "often", [0.5], [0.5] * 3, math.nan, [], True])
def test_wrong_thresholds_are_refused(bundle: Bundle, wrong: object) -> None:
    with pytest.raises(InputError):
        bundle.predict(three_images(), thresholds=wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError):
        bundle.predict(three_images(), batch=0)


def test_an_uncalibrated_bundle_needs_thresholds(run_copy: Path) -> None:
    (run_copy / "student/thresholds.json").unlink()
    bundle = load_bundle(run_copy / "student")
    with pytest.raises(BundleError, match="has no thresholds") as caught:
        bundle.predict(three_images())
    assert "erde calibrate" in caught.value.hint
    assert {one.exit for one in bundle.predict(three_images(), thresholds="always")} == {0}


def test_the_precision_is_the_one_thresholds_were_chosen_in(run_copy: Path) -> None:
    bundle = calibrated(run_copy, precision="bfloat16")
    images, _ = digits(bundle)
    low = bundle.predict(images[:20], thresholds="always")
    full = calibrated(run_copy, precision="float32").predict(images[:20], thresholds="always")
    assert low != full
    assert [one.confidence for one in low] == pytest.approx([o.confidence for o in full], abs=0.05)


def test_threads_may_predict_at_once_and_the_network_is_made_ready_once(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, photo: Image.Image, tmp_path: Path
) -> None:
    images, _ = digits(bundle)
    photo.save(tmp_path / "photo.png")
    forms = [*images[:40], tmp_path / "photo.png", photo]
    expected = load_bundle(bundle.path).predict(forms)
    made = []

    def slowly(*arguments: object) -> EarlyExitNet:
        made.append(1)
        return ready(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("erde_cli.core.inference.prediction.ready", slowly)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: bundle.predict(forms), range(24)):
            assert found == expected
    assert len(made) == 1


def test_a_bundle_can_be_sent_to_another_process(bundle: Bundle) -> None:
    expected = bundle.predict(three_images())
    assert pickle.loads(pickle.dumps(bundle)).predict(three_images()) == expected  # noqa: S301


def test_a_prediction_is_a_plain_value(bundle: Bundle) -> None:
    one = erde_cli.load(bundle.path).predict(three_images()[0])[0]
    assert isinstance(one, erde_cli.Prediction)
    assert [type(value) for value in dataclasses.astuple(one)] == [int, str, float, float, int, int]
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.label = 1  # type: ignore[misc]
    assert one == Prediction(**dataclasses.asdict(one))


def test_loading_and_predicting_leave_the_process_as_it_was(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: pytest.fail("the allocator is set"))
    before = state_of_the_process()
    erde_cli.load(bundle.path).predict(three_images()[0])
    assert state_of_the_process() == before
