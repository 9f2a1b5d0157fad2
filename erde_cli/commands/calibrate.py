"""`erde calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from erde_cli.commands.options import (
    THRESHOLDS,
    BundleArgument,
    DeviceOption,
    JsonOption,
    PrecisionOption,
    QuietOption,
    ThreadsOption,
    path_of,
)
from erde_cli.core.thresholds.target import Metric, Risk


def _target(metavar: str, text: str) -> Any:
    return typer.Option(
        metavar=metavar, show_default=False, help=text, rich_help_panel="Targets: exactly one"
    )


def _folder(text: str) -> Any:
    return typer.Option(metavar="FOLDER", show_default=False, parser=path_of, help=text)


def calibrate(
    bundle: BundleArgument,
    threshold: Annotated[str | None, _target("NATS[,NATS...]", f"{THRESHOLDS}.")] = None,
    max_drop: Annotated[
        float | None,
        _target(
            "POINTS", "Cheapest thresholds with at most this drop of accuracy below the last exit."
        ),
    ] = None,
    min_accuracy: Annotated[
        float | None,
        _target("SHARE", "Cheapest thresholds with at least this accuracy; 0.85 is 85 %."),
    ] = None,
    max_macs: Annotated[
        float | None,
        _target("RATIO", "Most accurate thresholds with at most this share of the full MACs."),
    ] = None,
    max_latency: Annotated[
        float | None,
        _target(
            "MS", "Most accurate thresholds with at most this latency at batch 1, measured here."
        ),
    ] = None,
    max_risk: Annotated[
        float | None,
        _target(
            "EPS",
            "Cheapest thresholds with a guaranteed risk of at most EPS; see --risk, --confidence.",
        ),
    ] = None,
    pick: Annotated[
        str | None,
        _target(
            "NAME=VALUE",
            "Use stored thresholds instead, such as max-macs=0.4 or max-drop=2; needs no images.",
        ),
    ] = None,
    risk: Annotated[
        Risk | None,
        typer.Option(
            show_default=False,
            help="With --max-risk: the risk to bound. disagreement (default): share of labels that "
            "differ from the last exit's; accuracy-gap: accuracy lost.",
        ),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            show_default=False,
            help="With --max-risk: confidence of the guarantee; default: 0.9.",
        ),
    ] = None,
    metric: Annotated[
        Metric | None,
        typer.Option(
            show_default=False,
            help="Kind of accuracy that the targets refer to; balanced_accuracy gives every class "
            "the same weight. Default: accuracy.",
        ),
    ] = None,
    temperature: Annotated[
        bool,
        typer.Option("--temperature", help="Apply temperature scaling to every exit first."),
    ] = False,
    data: Annotated[Path | None, _folder("Your own labelled images (<class>/*).")] = None,
    images: Annotated[Path | None, _folder("Your own images without labels.")] = None,
    precision: PrecisionOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Choose the thresholds at which images leave early, and store them in the bundle.

    The images are the calibration split or your own. Figures on these images are
    optimistic. The "held out" figures are not: they come from five-fold
    cross-fitting. Both are estimates. Only --max-risk gives a guarantee, at the
    given --confidence.

    Example: [bold]erde calibrate runs/digits/student --max-drop 1[/bold]
    """  # fmt: skip
    from erde_cli.commands.views.terminal import show, working
    from erde_cli.core.thresholds.named_target import one_target, parse_pick, refuse_with_pick

    targets = {
        "threshold": threshold, "max_drop": max_drop, "min_accuracy": min_accuracy,
        "max_macs": max_macs, "max_latency": max_latency, "max_risk": max_risk,
    }  # fmt: skip
    if pick is not None:
        refuse_with_pick({
            **targets, "risk": risk, "confidence": confidence, "metric": metric, "data": data,
            "images": images, "precision": precision, "temperature": temperature or None,
        })  # fmt: skip
        target = parse_pick(pick)
    else:
        target = one_target(targets, risk=risk, confidence=confidence, metric=metric)
    # Only after the checks of the options, because these import torch.
    from erde_cli.commands.views.calibrate import calibration_pieces
    from erde_cli.core.workflows.calibrate import calibrate_bundle, pick_thresholds
    from erde_cli.core.workflows.calibration_images import Source

    with working(quiet, device, threads) as options:
        if pick is not None:
            thresholds = pick_thresholds(bundle, target, options)
        else:
            thresholds = calibrate_bundle(
                bundle, target, options, precision or "float32",
                source=Source(data, images), temperature=temperature,
            )  # fmt: skip
    show(thresholds.to_json(), as_json, *calibration_pieces(thresholds))
