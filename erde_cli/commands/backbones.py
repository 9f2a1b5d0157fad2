"""`erde backbones`."""

from __future__ import annotations

from typing import Annotated

import typer

from erde_cli.commands.options import DeviceOption, JsonOption, QuietOption, ThreadsOption


def backbones(
    word: Annotated[
        str,
        typer.Argument(
            metavar="[WORD]",
            show_default=False,
            help="Part of a name, such as resnet; timm/ and a word lists networks of timm.",
        ),
    ] = "",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """List the networks of torchvision and timm that can be a backbone, with their cost.

    Parameters, multiply-adds of one image of 224 x 224 pixels, and the number of
    blocks, which is the largest number of exits. No weights are built or downloaded.

    Example: [bold]erde backbones mobilenet[/bold]
    """
    import gc

    gc.disable()  # imports leave nothing to collect; a tenth of the time
    from erde_cli.commands.views.tables import table
    from erde_cli.commands.views.terminal import show
    from erde_cli.core.figures import macs
    from erde_cli.core.models.library.listing import IMAGE_SIZE, list_backbones

    gc.enable()
    del quiet, device, threads  # unused; accepted so that scripts can pass them to every command
    listed = list_backbones(word)
    rows = table(
        f"Backbones, at {IMAGE_SIZE} x {IMAGE_SIZE} pixels", "backbone", "parameters", "MACs",
        "most exits",
    )  # fmt: skip
    for one in listed:
        cost = "-" if one.macs is None else macs(one.macs)
        rows.add_row(one.name, f"{one.parameters:,}", cost, str(one.exits))
    document = {"image_size": IMAGE_SIZE, "backbones": [one.to_json() for one in listed]}
    show(document, as_json, rows)
