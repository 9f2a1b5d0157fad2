"""Documents that look like real ones, from a seed: no training is needed to draw them."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from erde_cli.core.arrays import BoolArray, Float32Array, FloatArray
from erde_cli.core.report.document import (
    ClassesSection,
    ExitImages,
    Explorer,
    Fact,
    ReportDocument,
    Table,
    Thumbnail,
    TradeCurve,
    TradeOffSection,
    TradePoint,
    TrainingCurve,
    TrainingSection,
)
from erde_cli.core.report.page.explorer_figures import figures_under

EVIL = "</script><img onerror=alert(1) src=x>"
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def scores_and_answers(
    images: int, exits: int, limit: float, seed: int = 0
) -> tuple[Float32Array, BoolArray]:
    """Scores [images, exits] and whether each exit is right: later exits are surer and better."""
    draws = np.random.default_rng(seed)
    hardness = draws.beta(1.2, 2.4, (images, 1)) + draws.normal(0, 0.07, (images, exits))
    level = np.clip(hardness * np.linspace(1.5, 0.7, exits), 0.0, 0.999)
    scores = (limit * level**2).astype(np.float32)
    return scores, draws.random((images, exits)) > 0.8 * level**1.6


def explorer(images: int = 360, exits: int = 3, classes: int = 10) -> Explorer:
    """Sliders with thresholds that have as many digits as those of a real calibration."""
    limit = math.log(classes)
    scores, correct = scores_and_answers(images, exits, limit)
    thresholds = tuple(float(np.quantile(scores[:, i], 0.4 + 0.2 * i)) for i in range(exits - 1))
    return Explorer(
        scores=scores,
        correct=correct,
        costs=tuple(float(212_480 * (i + 1) ** 2 + 1_337) for i in range(exits)),
        milliseconds=tuple(0.213 * (i + 1) ** 1.5 for i in range(exits)),
        thresholds=thresholds,
        certified="",
        images_of="all calibration images",
        all_images=images,
        score="entropy",
        unit="nats",
        limit=limit,
        command="erde calibrate 'runs/my digits/student' --threshold {thresholds}",
    )


def trade_off(found: Explorer) -> TradeOffSection:
    """The student's curve and exits, a teacher, the calibrated point and one held out."""
    early, exits = len(found.costs) - 1, len(found.costs)
    sweep = [*np.linspace(0, found.limit, 101).tolist(), math.inf]
    same = [figures_under(found, (one,) * early) for one in sweep]
    curves = (
        _curve("student, one θ for all exits", same, sweep),
        _curve("student, a θ for each exit, chosen on calibration images", same[::7], sweep[::7]),
    )
    alone = found.correct.mean(axis=0).tolist()
    points = [
        TradePoint(
            f"teacher, exit {i + 1} of {exits} alone", 14e6 * (i + 1) ** 1.4, 0.962 + 0.01 * i
        )
        for i in range(exits)
    ]
    points += [
        TradePoint(f"student, exit {i + 1} of {exits} alone", 0.96 * found.costs[i], alone[i])
        for i in range(exits)
    ]
    if found.thresholds is not None:
        chosen = figures_under(found, found.thresholds)
        text = " ".join(f"{one:.4f}" for one in found.thresholds)
        on = "calibrated thresholds, on the images that chose them"
        beside = (chosen.accuracy - 0.012, chosen.macs * 1.05)
        points.append(TradePoint(on, chosen.macs, chosen.accuracy, text, beside))
        points.append(
            TradePoint(
                "calibrated thresholds, on test images",
                chosen.macs * 0.94,
                chosen.accuracy - 0.021,
                text,
            )
        )
    return TradeOffSection("test", 359, curves, tuple(points))


def _curve(name: str, figures: Sequence[object], sweep: Sequence[float]) -> TradeCurve:
    macs, accuracy = (
        np.array([getattr(one, key) for one in figures]) for key in ("macs", "accuracy")
    )
    return TradeCurve(name, macs, accuracy, tuple(f"{one:.4f}" for one in sweep))


def png(seed: int, side: int = 8) -> bytes:
    """A grey image of noise around a blob."""
    draws = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:side, 0:side] / side - 0.5
    blob = 255 * np.exp(-8 * ((rows - 0.1) ** 2 + columns**2)) + draws.normal(0, 20, (side, side))
    content = io.BytesIO()
    Image.fromarray(np.clip(blob, 0, 255).astype(np.uint8)).save(content, "PNG")
    return content.getvalue()


def thumbnails(
    names: Sequence[str], exits: int = 3, side: int = 8, each: int = 10
) -> tuple[ExitImages, ...]:
    """`each` images of every kind for each exit; none is passed on by the last."""

    def some(seed: int, wrong: bool) -> tuple[Thumbnail, ...]:
        return tuple(
            Thumbnail(
                png(seed + i, side), "image/png", names[i % len(names)],
                names[(i + wrong) % len(names)], 0.999 - 0.01 * i,
            )
            for i in range(each)
        )  # fmt: skip

    return tuple(
        ExitImages(
            exit=i,
            surest_right=some(100 * i, wrong=False),
            surest_wrong=some(100 * i + 30, wrong=True)[: max(1, each - 4 * i)],
            passed_on=some(100 * i + 60, wrong=False) if i < exits - 1 else (),
        )
        for i in range(exits)
    )


def classes(names: Sequence[str], exits: int = 3, images: int = 36) -> ClassesSection:
    """Confusion of every exit: later exits are better; every other class leaves early."""
    draws, count = np.random.default_rng(5), len(names)

    def confusion(accuracy: float) -> FloatArray:
        spread = np.full((count, count), (1 - accuracy) / (count - 1))
        np.fill_diagonal(spread, accuracy)
        return np.stack([draws.multinomial(images, row) for row in spread]).astype(np.float64)

    every = np.stack([confusion(0.86 + 0.1 * i / exits) for i in range(exits)])
    left = draws.dirichlet(np.linspace(6, 1, exits), count)
    return ClassesSection(tuple(names), every, confusion(0.93), left)


def training(role: str, epochs: int = 60, exits: int = 3) -> TrainingSection:
    """Falling losses, rising accuracies, and a column that stays 0."""
    draws, at = np.random.default_rng(len(role)), np.arange(1, epochs + 1, dtype=np.float64)

    def falling(start: float, end: float) -> FloatArray:
        noise = 1 + draws.normal(0, 0.03, epochs)
        return np.asarray(noise * (end + (start - end) * np.exp(-at / (0.2 * epochs))))

    def each(name: str, group: str, start: float, end: float) -> list[TrainingCurve]:
        return [
            TrainingCurve(f"{name}, exit {i + 1}", group, at, falling(start, end / (i + 1)))
            for i in range(exits)
        ]

    gaps = falling(0.1, 0.8)
    gaps[::5] = math.nan
    return TrainingSection(
        role,
        (
            TrainingCurve("learning_rate", "rate", at, 0.05 * (1 + np.cos(np.pi * at / epochs))),
            TrainingCurve("loss", "loss", at, falling(42, 3.5)),
            *each("cross_entropy", "loss", 2.2, 0.4),
            *each("distillation", "loss", 43, 9),
            TrainingCurve("skipped_steps", "steps", at, np.zeros(epochs)),
            *[
                TrainingCurve(
                    f"accuracy_calibration, exit {i + 1}", "accuracy", at,
                    np.minimum(1 - falling(0.9, 0.12 / (i + 1)), 1),
                )
                for i in range(exits)
            ],
            *each("teacher_wrong", "teacher", 0.2, 0.01),
            TrainingCurve("entropy_teacher_wrong, exit 1", "entropy", at, gaps),
            TrainingCurve("images_per_second", "speed", at, 8_000 + draws.normal(0, 300, epochs)),
        ),
    )  # fmt: skip


RECIPE = """\
seed: 3
data:
  dataset: digits
  image_size: 8
teacher: {depth: 14, width: 6, exits: [2, 4]}
student: {depth: 8, width: 4, exits: 3, head: gap}
"""


def run_document(
    names: Sequence[str] = DIGITS, title: str = "digits: student by erde"
) -> ReportDocument:
    """A run with every section."""
    found = explorer(classes=len(names))
    exits = Table(
        "Exits, on 359 test images",
        ("exit", "accuracy %", "images that leave %", "MACs", "MACs alone", "parameters"),
        (
            ("exit 1 of 3", "85.24", "46.2", "213,817", "205,264", "1,210"),
            ("exit 2 of 3", "94.15", "36.0", "851,257", "817,206", "9,874"),
            ("exit 3 of 3", "97.21", "17.8", "1,913,657", "1,837,110", "42,730"),
        ),
        "MACs: every head on the way included. Alone: as a network without earlier heads.",
    )
    return ReportDocument(
        kind="run",
        title=title,
        headline=(
            Fact("test accuracy under the thresholds", "96.66 %"),
            Fact("expected MACs per image", "622.41 k (67.5 % fewer)"),
            Fact("last exit alone, accuracy", "97.21 %"),
            Fact("teacher, accuracy", "98.05 % at 65.19 M"),
            Fact("target", "at most 1 point below the last exit: met"),
        ),
        guarantee=(
            "No guarantee: the thresholds were chosen and tested on the same images.",
            "erde calibrate --risk 0.02 chooses them with one.",
        ),
        trade_off=trade_off(found),
        explorer=found,
        images=thumbnails(names),
        classes=classes(names),
        training=(training("teacher", 18), training("student")),
        tables=(exits,),
        reproduce=(
            Fact("erde", "0.1.0, commit 4f04874"),
            Fact("seed", "3"),
            Fact("torch", "2.13.0"),
            Fact("weights", f"sha256 {64 * 'b'}"),
        ),
        recipe=RECIPE,
        about=(Fact("backbone", "resnet, depth 8, width 4"), Fact("parameters", "42,730")),
        preprocessing=(Fact("size", "8 × 8 pixels, RGB"), Fact("mean", "0.305 0.305 0.305")),
        usage=("erde predict runs/digits/student IMAGES", "erde evaluate runs/digits/student"),
        license="mit",
    )  # fmt: skip


def evil_document() -> ReportDocument:
    """A run whose names, title and recipe try to become markup."""
    names = (EVIL, '" onmouseover="alert(2)', "\ud800\x00‮ right", *DIGITS[3:])
    document = run_document(names, f"{EVIL} & <b>title</b>")
    assert document.explorer is not None
    return replace(
        document,
        recipe=f"# {EVIL}\n",
        missing=(f"Images of {EVIL} are gone.",),
        explorer=replace(
            document.explorer, command=f"erde calibrate '{EVIL}' --threshold {{thresholds}}"
        ),
        tables=(Table(EVIL, (EVIL, "a"), ((EVIL, "<i>"),), EVIL),),
    )


def comparison_document() -> ReportDocument:
    """Four methods with bands over seeds, their exits, and a table of paired differences."""
    methods = ("erde", "kd", "ce only", "erde without E, with a rather long name")
    curves, points = [], []
    for place, name in enumerate(methods):
        macs = np.geomspace(3e6, 4e7, 200)
        lower = 0.012 * place
        mean = 0.93 - lower - 0.33 * np.exp(-macs / 7e6)
        wide = 0.012 + 0.004 * np.sin(np.arange(200) / 30)
        curves.append(TradeCurve(name, macs, mean, (), mean - wide, mean + wide))
        points += [
            TradePoint(f"{name}, exit {i + 1} of 4 alone", 3e6 * 2.1**i, 0.66 + 0.08 * i - lower)
            for i in range(4)
        ]  # fmt: skip
    points += [
        TradePoint(f"teacher, exit {i + 1} of 4 alone", 9e7 * 1.8**i, 0.9 + 0.015 * i)
        for i in range(4)
    ]
    differences = Table(
        "Paired differences, points of accuracy",
        ("pair", "at 5 M MACs", "95 % interval", "at 20 M MACs", "95 % interval", "verdict"),
        (
            (
                "erde - kd",
                "+1.32",
                "+0.85 to +1.79",
                "+0.41",
                "-0.10 to +0.92",
                "better at 5 M MACs",
            ),
            (
                "erde - ce only",
                "+2.54",
                "+1.98 to +3.10",
                "+1.87",
                "+1.21 to +2.53",
                "better at both",
            ),
        ),
        "Mean over 5 seeds; intervals count both the seeds and the images.",
    )
    return ReportDocument(
        kind="comparison",
        title="Paintings: erde, kd and ce only, 5 seeds",
        headline=(
            Fact("erde - kd, at 5 M MACs", "+1.32 points (+0.85 to +1.79)"),
            Fact("students", "4 methods × 5 seeds"),
        ),
        trade_off=TradeOffSection("test", 1_024, tuple(curves), tuple(points)),
        training=(training("student, erde, seed 1", 90, 4),),
        tables=(differences,),
        missing=("The images of this comparison are not in the folder any more.",),
        recipe=RECIPE,
    )  # fmt: skip


def large_document(count: int = 100) -> ReportDocument:
    """20,000 images, 4 exits, many classes and 96 thumbnails of 64 pixels."""
    names = tuple(f"class number {i}" for i in range(count))
    found = replace(explorer(20_000, 4, count), all_images=50_000, milliseconds=None)
    return replace(
        run_document(),
        title="A large run",
        explorer=found,
        trade_off=trade_off(found),
        images=thumbnails(names, 4, 64, 8),
        classes=classes(names, 4, 100),
        training=(training("student", 300, 4),),
    )


def bare_document() -> ReportDocument:
    """A bundle with one exit and nothing but figures."""
    return ReportDocument(
        kind="bundle",
        title="static network",
        headline=(Fact("test accuracy", "97.21 %"),),
        trade_off=TradeOffSection(
            "test", 359, (), (TradePoint("student, exit 1 of 1 alone", 2e6, 0.9721),)
        ),
        missing=("The training logs are not part of a bundle.",),
    )
