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
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write its files there instead: the backdoored model as --attack-file takes it, "
            "the triggers that were found, and repaired models if they were kept.",
        ),
    ] = None,
) -> None:
    """Print the settings, numbers, costs and files of one trial, and the end of its log."""
    from benchmark.errors import UserError
    from benchmark.report.trial_files import save_trial
    from benchmark.report.trial_view import log_lines, log_of, trial_view
    from benchmark.store import Store

    if log and save:
        raise UserError("--log and --save are two requests", "give one of them")
    with Store.open(out, write=False) as store:
        found = store.find_trial(trial)
        victim = store.model(found.victim)
        base = store.model(str(victim.payload.get("base", ""))) if victim else None
        if log:
            _, text = log_of(found, victim, base)
            lines = log_lines(text)
        elif save:
            lines = list(save_trial(found, victim, base, store.artifacts, save))
        else:
            lines = list(trial_view(found, victim, base, store.artifacts))[1:]
    for line in lines:
        typer.echo(line)
