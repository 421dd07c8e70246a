"""`bench doctor`: what this machine can do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("doctor")(doctor)


def doctor(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Results folder.")] = Path(
        "bench-results"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Say what this machine can do, and estimate how long each preset takes on it."""
    import json

    from benchmark.data_cache import cache_dir
    from benchmark.doctor.diagnosis import diagnose
    from benchmark.doctor.words import lines

    found = diagnose(out, cache_dir())
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        typer.echo("\n".join(lines(found)))
    if found.problems:
        raise typer.Exit(1)
