"""`bench new`: start a plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("new")(new)


def new(
    kind: Annotated[
        str,
        typer.Argument(metavar="KIND", help="defense, attack, metric, dataset or model."),
    ],
    name: Annotated[str, typer.Argument(help="Its name, as in bench run --defense NAME.")],
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Where to; default: a new folder bench-NAME."),
    ] = None,
    file: Annotated[
        bool, typer.Option("--file", help="Write one file NAME.py instead of a package.")
    ] = False,
) -> None:
    """Start a plugin that works at once: a package with tests, or a single file."""
    from benchmark.kit.new import new_file, new_package

    if file:
        path, command = new_file(kind, name, folder)
        first, run, rest = command.partition("bench run ")
        steps = [f"bench check {path}", f"{first}{run}--plugin {path} {rest}"]
    else:
        path, command = new_package(kind, name, folder)
        place = path if path.is_absolute() else f"./{path}"
        steps = [f"pip install -e {place}", f"bench check {name}", command]
    typer.echo(f"wrote {path}; next:")
    for step in steps:
        typer.echo(f"  {step}")
