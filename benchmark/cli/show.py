"""`bench show`: everything about one trial."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("show")(show)


def show(
    trial: Annotated[str, typer.Argument(help="Identity of a trial, or the start of one.")],
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("bench-results"),
    log: Annotated[
        bool, typer.Option("--log", help="Print the log alone, all that is kept of it.")
    ] = False,
) -> None:
    """Print the settings, numbers, costs and files of one trial, and the end of its log."""
    from benchmark.report.trial_view import log_lines, trial_view
    from benchmark.store import Store

    with Store.open(out, write=False) as store:
        found = store.find_trial(trial)
        if log:
            lines = log_lines(found)
        else:
            victim = store.model(found.victim)
            lines = list(trial_view(found, victim, store.artifacts))[1:]
    for line in lines:
        typer.echo(line)
