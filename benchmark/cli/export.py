"""`bench export`: one row a trial."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("export")(export)


def export(
    file: Annotated[Path, typer.Option("-o", "--output", help="File to write.")],
    format: Annotated[str, typer.Option(help="csv, jsonl or parquet.")],
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("bench-results"),
) -> None:
    """Write every trial in a results folder to a file, one row each."""
    from benchmark.report.export import export as write
    from benchmark.store import Store

    with Store.open(out, write=False) as store:
        models = {model.id: model.payload for model in store.models()}
        count = write(store.trials(), format, file, models)
    typer.echo(f"{count} trials in {file}", err=True)
