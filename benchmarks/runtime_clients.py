"""Run exported files in one runtime, without erde: `benchmarks.runtimes` starts it in a venv.

python runtime_clients.py RUNTIME FOLDER

FOLDER contains `pixels.npy`, uint8 [images, H, W, 3], and `forms.json`, a list of {name, files,
kind, portable, thresholds, temperatures}. Prints JSON: form → {labels, exits, share} or {error}.
A runtime is a function that loads a file; the result maps its input to its outputs by name.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

Array = Any
Network = Callable[[Array], dict[str, Array]]


def onnxruntime_network(path: Path) -> Network:
    """A file in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name, names = session.get_inputs()[0].name, [one.name for one in session.get_outputs()]
    return lambda value: dict(zip(names, session.run(None, {name: value}), strict=True))


def openvino_network(path: Path) -> Network:
    """A file in OpenVINO, on one thread."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    names = [output.get_any_name() for output in compiled.outputs]

    def run(value: Array) -> dict[str, Array]:
        found = compiled([value])
        return {name: np.array(found[at]) for at, name in enumerate(names)}

    return run


def litert_network(path: Path) -> Network:
    """A file in LiteRT, converted by onnx2tf; images, and most features, become channels last."""
    from ai_edge_litert.interpreter import Interpreter

    # onnx2tf compares itself on these, and downloads them if they are not there.
    samples = path.parent / "calibration_image_sample_data_20x128x128x3_float32.npy"
    np.save(samples, np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32))
    folder = path.parent / f"{path.stem}-litert"
    # Not with `-b 1`: after an Add (residual networks), the converter then loses the layout.
    _converted([sys.executable, "-m", "onnx2tf", "-i", path, "-o", folder, "-n"], path.parent)
    (file,) = folder.glob("*_float32.tflite")
    runner = Interpreter(str(file), num_threads=1).get_signature_runner()
    (name,) = runner.get_input_details()
    first = _channels_first(path)

    def run(value: Array) -> dict[str, Array]:
        found = runner(**{name: value.transpose(0, 2, 3, 1).astype(np.float32)})
        return {
            key: one.transpose(0, 3, 1, 2) if one.ndim == 4 and one.shape[1:] != first else one
            for key, one in found.items()
        }

    return run


def _channels_first(path: Path) -> tuple[int, ...] | None:
    """Shape of features that onnx2tf leaves channels first: [channels, height, width], or None.

    It does so after an Add, unless all three are equal: then it changes nothing.
    """
    import onnx

    for output in onnx.load(path).graph.output:
        shape = tuple(one.dim_value for one in output.type.tensor_type.shape.dim[1:])
        if output.name == "next_features" and len({*shape}) > 1:
            return shape
    return None


def ncnn_network(path: Path) -> Network:
    """A file in ncnn, converted by pnnx."""
    import ncnn

    shape = ",".join(map(str, _shape(path)))
    pnnx = _site("pnnx/pnnx")  # its Python package needs torch, the program does not
    _converted([pnnx, path, f"inputshape=[{shape}]", "fp16=0"], path.parent)
    net = ncnn.Net()
    net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_fp16_packed = False
    net.opt.use_bf16_storage = False
    net.opt.num_threads = 1
    stem = path.with_name(path.stem.replace("-", "_"))  # as pnnx writes it
    assert net.load_param(f"{stem}.ncnn.param") == 0
    assert net.load_model(f"{stem}.ncnn.bin") == 0
    names = ["logits", "next_features"][: len(net.output_names())]

    def run(value: Array) -> dict[str, Array]:
        extractor = net.create_extractor()
        planes = np.ascontiguousarray(value[0], np.float32)  # stays alive: Mat does not own it
        extractor.input("in0", ncnn.Mat(planes).clone())
        found = [np.array(extractor.extract(f"out{at}")[1]) for at in range(len(names))]
        return {name: one[None] for name, one in zip(names, found, strict=True)}

    return run


NETWORKS = {
    "onnxruntime": onnxruntime_network,
    "openvino": openvino_network,
    "litert": litert_network,
    "ncnn": ncnn_network,
}


def _shape(path: Path) -> list[int]:
    """Shape of an input, which `benchmarks.runtimes` writes next to a portable file."""
    shape: list[int] = json.loads(path.with_suffix(".json").read_text())
    return shape


def _site(folder: str) -> str:
    return str(Path(sysconfig.get_paths()["purelib"]) / folder)


def _converted(line: list[Any], folder: Path) -> None:
    """Run a converter in a folder; its last line is the error."""
    line = list(map(str, line))
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr or done.stdout).strip().splitlines()[-1][:200])


def entropy_of(logits: Array, temperature: float) -> Array:
    """Entropy of the softmax of logits [batch, classes] at a temperature, in nats [batch]."""
    scaled = logits.astype(np.float64) / temperature
    shifted = scaled - scaled.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -(np.exp(logs) * logs).sum(axis=1)


class Form:
    """One export: classify images one by one."""

    def __init__(self, form: dict[str, Any], load: Callable[[Path], Network]) -> None:
        self._form, paths = form, [Path(path) for path in form["files"]]
        self._networks = [load(path) for path in paths]

    def classify(self, image: Array) -> tuple[int, int]:
        """Label and exit of an image [1, H, W, 3]."""
        value = image
        if self._form["portable"]:
            value = (image.transpose(0, 3, 1, 2) / 255).astype(np.float32)
        if self._form["kind"] == "single":
            found = self._networks[0](value)
            return int(found["label"].reshape(-1)[0]), int(found["exit"].reshape(-1)[0])
        for index, network in enumerate(self._networks):
            found = network(value)
            label, score = self._answer(found, index)
            if index == len(self._networks) - 1 or score < self._form["thresholds"][index]:
                return label, index
            value = found["next_features"]
        raise AssertionError

    def _answer(self, found: dict[str, Array], index: int) -> tuple[int, float]:
        if "label" in found:
            return int(found["label"].reshape(-1)[0]), float(found["score"].reshape(-1)[0])
        logits = next(iter(found.values())) if len(found) == 1 else found["logits"]
        logits = logits.reshape(1, -1)
        return int(logits.argmax()), float(entropy_of(logits, self._form["temperatures"][index])[0])


def answers_of(form: dict[str, Any], load: Callable[[Path], Network], pixels: Array) -> Any:
    """Labels and exits of all images, and the time of an early exit as a share of the last's."""
    network = Form(form, load)
    network.classify(pixels[:1])
    labels, exits, seconds = [], [], []
    for at in range(len(pixels)):
        start = perf_counter()
        label, exit_ = network.classify(pixels[at : at + 1])
        seconds.append(perf_counter() - start)
        labels.append(label)
        exits.append(exit_)
    by_exit = [[s for s, e in zip(seconds, exits, strict=True) if e == x] for x in sorted({*exits})]
    share = median(by_exit[0]) / median(by_exit[-1]) if len(by_exit) > 1 else None
    return {"labels": labels, "exits": exits, "share": share}


def main() -> None:
    """Run all forms."""
    runtime, folder = sys.argv[1], Path(sys.argv[2])
    pixels, found = np.load(folder / "pixels.npy"), {}
    for form in json.loads((folder / "forms.json").read_text()):
        try:
            found[form["name"]] = answers_of(form, NETWORKS[runtime], pixels)
        except Exception as error:  # noqa: BLE001 (a runtime fails in its own ways)
            lines = f"{type(error).__name__}: {error}".strip().splitlines()
            found[form["name"]] = {"error": lines[0][:200]}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
