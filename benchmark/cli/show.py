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
) -> None:
    """Print the settings, numbers, costs, files and log of one trial."""
    from benchmark.report.trial_view import trial_view
    from benchmark.store import Store

    with Store.open(out, write=False) as store:
        found = store.find_trial(trial)
        victim = store.model(found.victim)
        lines = list(trial_view(found, victim, store.artifacts))
    typer.echo("\n".join(lines).lstrip("\n"))
