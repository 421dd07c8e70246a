"""`bench compare`: two defenses against each other, victim by victim."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FORMATS = ("text", "json")


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("compare")(compare)


def compare(
    a: Annotated[
        str,
        typer.Argument(
            help="A row of the leaderboard: mesa, mesa:epochs=5, or the start of its variant_id."
        ),
    ],
    b: Annotated[str, typer.Argument(help="The row that is subtracted from it.")],
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("bench-results"),
    format: Annotated[str, typer.Option(help="text or json.")] = "text",
) -> None:
    """Print the paired difference between two defenses, and whether it is more than chance."""
    import json

    from benchmark.errors import unknown_name

    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    from benchmark.report.compare import compare as compared
    from benchmark.store import Store
    from benchmark.store.schema import no_results

    with Store.open(out, write=False) as store:
        frame = store.trials_frame()
    if frame.empty:
        raise no_results(out)
    found = compared(frame, a, b)
    if format == "json":
        typer.echo(json.dumps([one.as_dict() for one in found], indent=2, allow_nan=False))
        return
    from rich.console import Console

    from benchmark.report.compare_table import comparison_view

    console = Console()
    for one in found:
        console.print(comparison_view(one, console))
        console.print()
