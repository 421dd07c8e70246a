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
    ray_address: Annotated[
        str | None,
        typer.Option(metavar="ADDR", help="Compare the nodes of this Ray cluster instead."),
    ] = None,
) -> None:
    """Say what this machine can do, and estimate how long each preset takes on it."""
    if ray_address is not None:
        _compare_nodes(ray_address, as_json)
        return

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


def _compare_nodes(address: str, is_json: bool) -> None:
    import json

    from benchmark.doctor.nodes import as_json, check_nodes, node_lines

    nodes = check_nodes(address)
    typer.echo(json.dumps(as_json(nodes), indent=2) if is_json else "\n".join(node_lines(nodes)))
    if any(node.problems for node in nodes):
        raise typer.Exit(1)
