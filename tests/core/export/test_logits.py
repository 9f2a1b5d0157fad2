"""Static networks and portable stages: logits, metadata, and what erde refuses to run."""

import math
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from erde_cli.core.arrays import Float32Array
from erde_cli.core.errors import BundleError, ErdeError
from erde_cli.core.export import onnx_logits
from erde_cli.core.export.check import verify, verify_static
from erde_cli.core.export.network import ExportNetwork, export_network
from erde_cli.core.export.onnx_graph import number_of, operators
from erde_cli.core.export.onnx_logits import open_logits, require_portable, write_static
from erde_cli.core.export.onnx_runtime import open_exported
from erde_cli.core.export.onnx_single import write_onnx_file
from erde_cli.core.export.onnx_staged import write_stages
from erde_cli.core.export.operators import NETWORK, NOT_PORTABLE, PORTABLE, PREPROCESSING
from erde_cli.core.export.record import ExportRecord, read_manifest
from erde_cli.core.export.torch_export import TorchExported, write_torch_export
from erde_cli.core.inference.answers import Answers
from erde_cli.core.inference.routing import all_scores
from erde_cli.core.models.architecture import Architecture

from .test_export import PIXELS, record_of, trained_like

MODEL = trained_like(Architecture("resnet", 8, 4, (1, 2), "gap", classes=5, image_size=16))
WARM = [0.7, 1.5, 2.0]
RAW = record_of([0.5, 0.5], preprocessing=False)


def expected() -> Answers:
    """Answers of every exit in torch."""
    with torch.inference_mode():
        logits = MODEL(torch.from_numpy(RAW.inputs(PIXELS)))
    said = logits.argmax(dim=-1).numpy()
    scores = all_scores(logits, WARM).double().numpy()
    return Answers(said == said[:, -1:], scores, said, logits.numpy())


def prepared(**changed: object) -> ExportNetwork:
    return export_network(MODEL, record_of([0.5, 0.5], WARM, **changed))


def logits_of(answers: Answers, exit_: int) -> Float32Array:
    assert answers.logits is not None
    return answers.logits[:, exit_]


def session_of(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(("exit_", "portable"), [(0, True), (1, False)])
def test_a_static_network_gives_the_logits_of_its_exit(
    tmp_path: Path, exit_: int, portable: bool
) -> None:
    exported = prepared(static_exit=exit_, portable=portable)
    write_onnx_file(exported, tmp_path / "exit.onnx")
    answers = expected()
    session = session_of(tmp_path / "exit.onnx")
    inputs = PIXELS
    if portable:  # as the page says: planes of values from 0 to 1
        inputs = (PIXELS.transpose(0, 3, 1, 2) / 255).astype(np.float32)
    for count in (1, 7):
        (logits,) = session.run(None, {"image": inputs[:count]})
        assert logits == pytest.approx(logits_of(answers, exit_)[:count], abs=1e-4)
    kinds = list(operators(onnx.load(tmp_path / "exit.onnx").graph))
    assert set(kinds) <= (PORTABLE if portable else NETWORK | PREPROCESSING)
    assert kinds.count("Gemm") == 1  # no other head
    opened = open_logits(tmp_path / "exit.onnx", 1)
    assert opened.record == exported.record
    (check,) = verify_static(opened, PIXELS, answers, 2, WARM)
    assert check.thresholds == ((math.inf, math.inf), (0, math.inf))[exit_]
    assert check.exits[exit_] == len(PIXELS)
    wrong = Answers(
        answers.correct, answers.scores, answers.predictions, np.roll(answers.logits, 1, 1)
    )  # type: ignore[arg-type]
    with pytest.raises(ErdeError, match="other logits"):
        verify_static(opened, PIXELS, wrong, 2, WARM)


def test_a_program_of_torch_can_end_at_an_exit(tmp_path: Path) -> None:
    write_torch_export(prepared(static_exit=1), tmp_path / "exit.pt2")
    opened = TorchExported(tmp_path / "exit.pt2")
    verify_static(opened, PIXELS, expected(), 2, WARM)
    assert opened.logits(PIXELS).shape == (7, 5)
    assert opened.answer(PIXELS).exits.tolist() == [1] * 7


def test_portable_stages_return_logits_and_nothing_that_converters_refuse(tmp_path: Path) -> None:
    write_stages(prepared(portable=True), tmp_path)
    answers = expected()
    theta = [float(np.median(column)) + 1e-4 for column in answers.scores.T[:-1]]
    opened = open_logits(tmp_path, 1)
    assert opened.record.portable
    changed = opened.record.calibration.model_copy(update={"thresholds": theta})
    opened.record = opened.record.model_copy(update={"calibration": changed})
    checks = verify(opened, PIXELS, answers, theta, WARM)
    assert [sum(check.exits) for check in checks] == [7] * 4
    for index in range(3):
        model = onnx.load(tmp_path / f"stage{index}.onnx")
        assert set(operators(model.graph)) <= PORTABLE
        names = ["logits", "next_features"][: 1 if index == 2 else 2]
        assert [one.name for one in model.graph.output] == names
    takes = session_of(tmp_path / "stage0.onnx").get_inputs()[0]
    assert (takes.type, takes.shape[1:]) == ("tensor(float)", [3, 16, 16])
    with pytest.raises(BundleError, match="portable stages for other runtimes"):
        open_exported(tmp_path)


def test_a_portable_graph_with_another_operator_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not PORTABLE & NOT_PORTABLE
    node = onnx.helper.make_node("Gather", ["a", "b"], ["c"])
    graph = onnx.helper.make_graph([node], "x", [], [])
    with pytest.raises(ErdeError, match=r"refuse: Gather\."):
        require_portable(graph, record_of([0.5], portable=True))
    require_portable(graph, record_of([0.5]))
    monkeypatch.setattr(onnx_logits, "NOT_PORTABLE", frozenset({"Conv"}))
    with pytest.raises(ErdeError, match="no portable form"):
        write_static(prepared(static_exit=0, portable=True), Path("x.onnx"), 0)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single file, a static network, and stages."""
    folder = tmp_path_factory.mktemp("files")
    write_onnx_file(prepared(), folder / "one.onnx")
    write_onnx_file(prepared(static_exit=0), folder / "exit.onnx")
    (folder / "stages").mkdir()
    write_stages(prepared(), folder / "stages")
    return folder


def test_every_file_says_what_it_is(files: Path) -> None:
    one = onnx.load(files / "one.onnx")
    whole = {entry.key: entry.value for entry in one.metadata_props}
    for index in range(3):
        stage = onnx.load(files / f"stages/stage{index}.onnx")
        held = {entry.key: entry.value for entry in stage.metadata_props}
        assert held.pop("erde.stage") == str(index)
        assert held == whole
        assert ExportRecord.from_metadata(held) == read_manifest(files / "stages").network
    static = onnx.load(files / "exit.onnx")
    held = {entry.key: entry.value for entry in static.metadata_props}
    assert (held["erde.static_exit"], whole["erde.static_exit"]) == ("0", "null")
    for model in (one, stage, static):
        assert model.producer_name == "erde"
        assert re.fullmatch(r"\d+\.\d+\.\d+.*", model.producer_version)
        assert model.model_version == number_of(model.producer_version) > 0
        assert "5 classes" in model.doc_string
        assert "3 exits" in model.graph.doc_string


def test_versions_become_integers_that_grow() -> None:
    versions = ("0.1.0", "0.1.12", "1.2.3", "2.0", "10.0.1.dev3")
    assert [number_of(one) for one in versions] == [1000, 1012, 1002003, 2000000, 10000001]


def test_files_that_cannot_classify_are_refused_by_what_they_are(
    files: Path, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="is one stage") as caught:
        open_exported(files / "stages/stage1.onnx")
    assert (caught.value.got, str(files / "stages") in str(caught.value.hint)) == ("stage 2", True)
    with pytest.raises(BundleError, match="is a static network for other runtimes"):
        open_exported(files / "exit.onnx")
    model = onnx.load(files / "one.onnx")
    kept = [value for value in model.graph.input if value.name != "thresholds"]
    del model.graph.input[:]
    model.graph.input.extend(kept)  # what onnxsim and onnxslim do
    onnx.save(model, tmp_path / "folded.onnx")
    with pytest.raises(BundleError, match="no input `thresholds` any more") as caught:
        open_exported(tmp_path / "folded.onnx")
    assert "as erde exported it" in str(caught.value.hint)


def test_an_exit_that_the_network_does_not_have_is_no_record() -> None:
    with pytest.raises(ValueError, match="static_exit: less than 3"):
        record_of([0.5, 0.5], static_exit=3)
