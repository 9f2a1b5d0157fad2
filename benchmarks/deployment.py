"""Compare answers and speed of a bundle in ONNX Runtime and in eager PyTorch.

python -m benchmarks.deployment BUNDLE IMAGES [--images 1000] [--repeats 7] [--json]

IMAGES is a folder. First, torch, the exported stages and the exported file that stops early answer
the same images. The output is how many answers differ, and how many of these images have a score
within 1e-5 nats of a threshold. Then both runtimes are timed on normalised images on one thread, at
batch 1 (the file that stops early) and 64 (the stages). The baseline is the static network: the
last exit alone, without early heads and decisions. The output is the time at the bundle's
thresholds and of leaving at each exit over the baseline, next to the ratio of MACs; and the time at
the thresholds over the exit rates · times of the exits alone, which is what it would take if early
heads and decisions took no time.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.measure import arguments, print_results, ratios, show, spread
from erde_cli.core.bundle.bundle import Bundle, load_bundle
from erde_cli.core.calibration.rule import rule_of
from erde_cli.core.data.given_images import pixels_of
from erde_cli.core.export.check import near_threshold
from erde_cli.core.export.formats import FormatName
from erde_cli.core.export.onnx_runtime import open_exported
from erde_cli.core.export.runtimes import NAMES, Runtime
from erde_cli.core.images.named_paths import named_images
from erde_cli.core.inference.observations import exit_rates
from erde_cli.core.inference.prediction import Predicted
from erde_cli.core.inference.routing import all_scores, first_exit
from erde_cli.core.measurement.latency import by_round, leaving_at
from erde_cli.core.measurement.rounds import Workload, seconds_in_rounds
from erde_cli.core.models.profile import profile_model
from erde_cli.core.platform.allocator import keep_freed_memory
from erde_cli.core.runner.answers import ExportedAnswers
from erde_cli.core.workflows.export import ExportRequest, export_loaded
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.timed_models import TimedModel, open_timed

BATCHES = (1, 64)
RUNTIMES: tuple[Runtime, ...] = ("onnx", "torch")
FORMS: dict[FormatName, str] = {"onnx-staged": "stages", "onnx": "one file"}


class Bench(NamedTuple):
    """A calibrated bundle, and images for it, uint8 [images, height, width, 3]."""

    bundle: Bundle
    pixels: Tensor
    options: Options

    @property
    def thresholds(self) -> list[float]:
        """θ of the early exits in nats."""
        return self.bundle.require_thresholds().values


def images_in(folder: Path, count: int, size: int) -> Tensor:
    """The first images in a folder, at the network's size."""
    paths = [one.path for one in islice(named_images([str(folder)]), count) if not one.reason]
    if not paths:
        raise SystemExit(f"{folder} contains no image.")
    return torch.cat(list(pixels_of(paths, size, 256)))


def differences(bench: Bench, folder: Path) -> list[dict[str, Any]]:
    """Differences between torch and each form of export, on the same images."""
    expected, near = by_torch(bench), images_near(bench)
    rows = []
    for form, name in FORMS.items():
        export_loaded(bench.bundle, ExportRequest(form, folder / form), bench.options)
        answers = open_exported(folder / form, threads=1).answer(bench.pixels.numpy())
        rows.append({"form": name, "images": len(near), **compared(answers, expected, near)})
    return rows


def by_torch(bench: Bench) -> Predicted:
    """Answers of the bundle itself, under its thresholds."""
    bundle, pixels, options = bench
    rule = rule_of(bundle.require_thresholds(), None, bundle.model.exit_count)
    return bundle.predictor(options.inference_context("float32")).answer(pixels, rule)


def images_near(bench: Bench) -> NDArray[np.bool_]:
    """Whether a score of each image is within 1e-5 nats of its threshold, bool [images]."""
    bundle, pixels, options = bench
    predictor = bundle.predictor(options.inference_context("float32"))
    with torch.inference_mode():
        logits = predictor.network(predictor.normalise(pixels))
        scores = all_scores(logits, bundle.require_thresholds().temperatures, bundle.score)
    exits = first_exit(scores, bench.thresholds).numpy()
    return near_threshold(scores.double().numpy(), bench.thresholds, exits)


def compared(
    answers: ExportedAnswers, expected: Predicted, near: NDArray[np.bool_]
) -> dict[str, Any]:
    """Counts of images with another label, another exit, either, and either near a threshold."""
    labels = answers.labels != expected.labels.numpy()
    exits = answers.exits != expected.exits.numpy()
    confidences = answers.probabilities[np.arange(len(answers.labels)), answers.labels]
    same = ~(labels | exits)
    gaps = np.abs(confidences - expected.confidences.numpy())[same]
    return {
        "other_label": int(labels.sum()),
        "other_exit": int(exits.sum()),
        "different": int((~same).sum()),
        "different_near_threshold": int((~same & near).sum()),
        "near_threshold": int(near.sum()),
        "largest_difference_of_confidence": float(gaps.max(initial=0.0)),
    }


def milliseconds(
    bench: Bench, timed: dict[Runtime, TimedModel], batch: int, repeats: int
) -> dict[str, list[float]]:
    """Milliseconds per image in each round, of each runtime.

    "mix": at the thresholds. "leaving 0" …: all images leave at this exit; "full" is the last one.
    "alone 0" …: this exit alone; "static" is the last one.
    """
    workloads = {}
    for runtime, workload in timed.items():
        runs = workload.runs(batch)
        parts = torch.split(workload.images(bench.pixels), batch)
        few = parts[: max(1, len(parts) // 4)]  # an exit costs the same for every image
        workloads[f"{runtime} mix"] = Workload(runs.leaving(bench.thresholds), parts)
        for exit_ in range(runs.exit_count):
            leaving = runs.leaving(leaving_at(exit_, runs.exit_count))
            workloads[f"{runtime} leaving {exit_}"] = Workload(leaving, few)
            workloads[f"{runtime} alone {exit_}"] = Workload(runs.alone(exit_), few)
    seconds = seconds_in_rounds(list(workloads.values()), repeats, nullcontext)
    images = {name: sum(map(len, one.parts)) for name, one in workloads.items()}
    return {
        name: (by_round(calls) * 1000 * calls.shape[1] / images[name]).tolist()
        for name, calls in zip(workloads, seconds, strict=True)
    }


def rows_of(bench: Bench, times: dict[str, list[float]], batch: int) -> list[dict[str, Any]]:
    """Shares of the time and MACs of the static and of the full network, one row per runtime."""
    profile = profile_model(bench.bundle.model, bench.bundle.image_size)
    macs, exits = profile.cumulative_macs, range(len(profile.exits))
    rates = exit_rates(by_torch(bench).exits.numpy(), len(exits))
    rows = []
    for runtime in RUNTIMES:
        mix = times[f"{runtime} mix"]
        leaving = [times[f"{runtime} leaving {exit_}"] for exit_ in exits]
        alone = [times[f"{runtime} alone {exit_}"] for exit_ in exits]
        ideal = np.dot(rates, alone).tolist()  # in each round
        rows.append(
            {
                "runtime": runtime,
                "batch": batch,
                "exit_rates": list(rates),
                "mix_ms": spread(mix),
                "full_ms": spread(leaving[-1]),
                "static_ms": spread(alone[-1]),
                "share": ratios(mix, leaving[-1]),
                "share_of_static": ratios(mix, alone[-1]),
                "exits_over_static": [ratios(one, alone[-1]) for one in leaving],
                "over_exits_alone": ratios(mix, ideal),
                "share_by_macs": float(np.dot(rates, macs)) / macs[-1],
                "static_share_by_macs": float(np.dot(rates, macs)) / profile.static_macs,
                "over_torch": ratios(mix, times["torch mix"]),
            }
        )
    return rows


def measured(bench: Bench, repeats: int) -> list[dict[str, Any]]:
    """Both runtimes at both batch sizes, in interleaved rounds."""
    bundle, _, options = bench
    opened = partial(open_timed, bundle=bundle, options=options)
    with opened("onnx") as onnx, opened("torch") as eager:
        timed: dict[Runtime, TimedModel] = {"onnx": onnx, "torch": eager}
        return [
            row
            for batch in BATCHES
            for row in rows_of(bench, milliseconds(bench, timed, batch, repeats), batch)
        ]


def main() -> None:
    """Compare the answers, then measure."""
    given = arguments(
        __doc__ or "",
        ["bundle", "folder"],
        images={"type": int, "default": 1000, "help": "images taken (default: %(default)s)"},
    )
    keep_freed_memory()
    bundle = load_bundle(given.bundle)
    pixels = images_in(given.folder, given.images, bundle.image_size)
    bench = Bench(bundle, pixels, Options("cpu", given.threads or 1))
    with TemporaryDirectory() as folder:
        answers = differences(bench, Path(folder))
    times = measured(bench, given.repeats)
    document = {"answers": answers, "times": times, "onnxruntime": version("onnxruntime")}
    if given.json:
        print_results("", [], [], True, document)
        return
    for row in answers:
        print(
            f"{row['form']}, {row['images']:,} images: {row['other_exit']} leave at another exit, "
            f"{row['other_label']} have another label than with torch; "
            f"{row['different_near_threshold']} of the {row['different']} that differ are within "
            f"1e-5 nats of a threshold ({row['near_threshold']} of all); confidences differ by up "
            f"to {row['largest_difference_of_confidence']:.1e}"
        )
    columns = ["runtime", "batch", "at the thresholds, ms", "static network, ms", "share of time",
               "share of MACs", "leaving at each exit / static", "thresholds / exits alone",
               "time over torch's"]  # fmt: skip
    rows = [
        [NAMES[row["runtime"]], str(row["batch"]), show(row["mix_ms"], 4),
         show(row["static_ms"], 4), show(row["share_of_static"], 3),
         f"{row['static_share_by_macs']:.3f}",
         ", ".join(f"{one['median']:.3f}" for one in row["exits_over_static"]),
         show(row["over_exits_alone"], 3), show(row["over_torch"], 3)]
        for row in times
    ]  # fmt: skip
    title = f"Milliseconds per image, ONNX Runtime {document['onnxruntime']}"
    print_results(title, columns, rows, False, {})


if __name__ == "__main__":
    main()
