"""`bench trials`: which trials a results folder has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Names = list[str] | None


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("trials")(trials)


def _those(which: str) -> Any:
    """Return an option that chooses trials by a name."""
    return typer.Option(metavar="NAME", help=f"List those {which}; repeatable.")


def trials(
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("bench-results"),
    failed: Annotated[bool, typer.Option("--failed", help="List those alone that failed.")] = False,
    defense: Annotated[Names, _those("of this defense")] = None,
    dataset: Annotated[Names, _those("on this data set")] = None,
    model: Annotated[Names, _those("of this architecture")] = None,
    attack: Annotated[Names, _those("of this attack grid")] = None,
    trigger: Annotated[Names, _those("of this trigger")] = None,
) -> None:
    """List the trials in a results folder: what each found or why it failed, for `bench show`."""
    from benchmark.cli.listing import listing_console
    from benchmark.report.trial_list import chosen_trials, trial_lines
    from benchmark.store import Store
    from benchmark.store.schema import no_results

    with Store.open(out, write=False) as store:
        frame = store.trials_frame()
    if frame.empty:
        raise no_results(out)
    found = chosen_trials(
        frame,
        failed=failed,
        defense=defense or (),
        dataset=dataset or (),
        model=model or (),
        attack=attack or (),
        trigger=trigger or (),
    )
    if found.empty:
        typer.echo("none of these trials failed" if failed else "no such trial", err=True)
        return
    console = listing_console()
    for line in trial_lines(found, console):
        console.print(line, soft_wrap=True)
