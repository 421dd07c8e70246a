"""`bench repair`: check a results folder, and rebuild it from what is whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from benchmark.store.repair import LostArtifact, Repaired


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("repair")(repair)


def repair(
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("bench-results"),
) -> None:
    """Check every result and artifact in a folder; rebuild it from what is whole."""
    from benchmark.store.repair import repair as mend

    typer.echo("\n".join(_said(out, mend(out))))


def _said(out: Path, done: Repaired) -> Iterator[str]:
    trials, models = done.found["trial"], done.found["model"]
    kept = f"{len(trials.kept)} trials and {len(models.kept)} models"
    if done.what:
        yield f"{done.what}; the damaged file is kept as {done.kept_as}"
        lost = f"{trials.lost} trials and {models.lost} models"
        yield f"it is rebuilt with {kept}, each as it was; lost: {lost}"
    for one in done.artifacts:
        what = "was damaged and is removed" if one.damaged else "is missing"
        yield f"{one.path} {what}{_of(one)}"
    if done.what or done.artifacts:
        yield "what is missing is computed again by the bench run commands that made it"
    else:
        yield f"{out} is whole: {kept}"


def _of(lost: LostArtifact) -> str:
    if lost.holder == "model":
        return f": the weights of model {lost.identity}; trials already scored on it stay valid"
    if lost.holder == "trial":
        return (
            f": the triggers that trial {lost.identity} recovered; its numbers stay valid, "
            "and only --rerun always makes the file again"
        )
    return ": no record refers to it"
