"""`bench leaderboard`: the table from the store; no run, no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("leaderboard")(leaderboard)


def leaderboard(
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("bench-results"),
    format: Annotated[str, typer.Option(help="table, json, csv, markdown or latex.")] = "table",
    row: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Show this row only; give it again for more. A defense, a variant as `bench "
            "compare` takes it, or the start of its variant_id. Ranks stay those among all.",
        ),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Show the leaderboards of this data set only; give it again for more.",
        ),
    ] = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Show the leaderboards of this attack grid only; give it again for more.",
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            help="Show these columns only, in this order, called as in the head of the format: "
            "csv, markdown or latex.",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="trigger|target|seed",
            help="Take the leaderboard apart: the ASR after each defense for each trigger, target "
            "class or seed; all figures with json and csv.",
        ),
    ] = None,
) -> None:
    """Print how the defenses compare, from the results in a folder."""
    from benchmark.errors import unknown_name
    from benchmark.report.grouped import BY
    from benchmark.report.leaderboard import FORMATS, chosen_columns, print_leaderboard, render
    from benchmark.report.selecting import boards_of
    from benchmark.store import Store
    from benchmark.store.schema import no_results

    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    if by is not None and by not in BY:
        raise unknown_name("--by", by, BY)
    chosen = () if columns is None else chosen_columns(columns, format, by or "")
    with Store.open(out, write=False) as store:
        frame = store.trials_frame()
    if frame.empty:
        raise no_results(out)
    frame = boards_of(frame, dataset or (), attack or ())
    if format != "table":
        typer.echo(render(frame, format, row or (), by or "", chosen), nl=False)
        return
    from rich.console import Console

    print_leaderboard(Console(), frame, row or (), by or "")
