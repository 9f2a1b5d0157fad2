"""`erde recipes`."""

from __future__ import annotations

from typing import Annotated

import typer

from erde_cli.commands.completion import recipe_names
from erde_cli.commands.options import DeviceOption, JsonOption, QuietOption, ThreadsOption

recipes = typer.Typer(invoke_without_command=True)


@recipes.callback()
def list_recipes(
    context: typer.Context,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """List the shipped recipes, show one, or print the JSON Schema of recipes.

    Example: [bold]erde recipes[/bold]
    """
    if context.invoked_subcommand is not None:
        return
    from rich.table import Table

    from erde_cli.commands.views.terminal import show
    from erde_cli.core.recipe.shipped import shipped_recipes

    del quiet, device, threads  # unused; accepted so that scripts can pass them to every command
    shipped = shipped_recipes()
    table = Table("recipe", "purpose", header_style="bold")
    for recipe in shipped:
        table.add_row(recipe.name, recipe.purpose)
    document = {"recipes": [{"name": recipe.name, "purpose": recipe.purpose} for recipe in shipped]}
    show(document, as_json, table)


@recipes.command("show")
def show_recipe(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", autocompletion=recipe_names, help="Name of a shipped recipe."
        ),
    ],
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Print a shipped recipe, to save and edit.

    Example: [bold]erde recipes show image-folder > mine.yaml[/bold]
    """
    from erde_cli.commands.views.terminal import show
    from erde_cli.core.recipe.shipped import shipped_recipe

    del quiet, device, threads
    recipe = shipped_recipe(name)
    if as_json:
        show({"name": recipe.name, "text": recipe.text}, as_json)
        return
    typer.echo(recipe.text, nl=False)


@recipes.command("schema")
def print_schema(
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Print the JSON Schema of recipes, with which editors check and complete them.

    Save it next to your recipes, whose first comment names it:
    [bold]erde recipes schema > recipe.schema.json[/bold]
    """
    import json

    from erde_cli.core.recipe.reference import json_schema

    del as_json, quiet, device, threads  # the output is JSON in any case
    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
