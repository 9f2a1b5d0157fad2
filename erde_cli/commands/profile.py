"""`erde profile`."""

from __future__ import annotations

from erde_cli.commands.options import (
    BundleArgument,
    DeviceOption,
    JsonOption,
    QuietOption,
    ThreadsOption,
)


def profile(
    bundle: BundleArgument,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Show what every exit costs: parameters and multiply-adds (MACs), every head included.

    Example: [bold]erde profile runs/digits/student[/bold]
    """
    from erde_cli.commands.tables import profile_table
    from erde_cli.commands.terminal import show, working
    from erde_cli.core.workflows.profile import profile_bundle

    with working(quiet, device, threads) as options:
        found = profile_bundle(bundle, options)
    pieces = [profile_table(found.profile, found.expected_macs, found.exit_rates)]
    show(found.to_json(), as_json, *pieces)
