"""`bench merge`: results folders of several machines become one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from benchmark.store.merge import Conflict, Merged

_MOST_LINES = 20


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("merge")(merge)


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders of results.")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the merged results; new, or added to.")
    ],
    prefer: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder to believe where two contradict each other."),
    ] = None,
) -> None:
    """Put the results of several folders into one; the folders stay as they are."""
    from benchmark.report.escape import printable
    from benchmark.store.merge import merge as put_together

    done = put_together(folders, out, prefer)
    for line in _conflicts(done.conflicts) if done.conflicts else _said(out, done):
        typer.echo(printable(line), err=bool(done.conflicts))
    if done.conflicts:
        raise typer.Exit(1)


def _said(out: Path, done: Merged) -> Iterator[str]:
    known = f"; {_count(done.known, 'trial')} there already" if done.known else ""
    yield f"{out}: {_count(done.trials, 'trial')} and {_count(done.models, 'model')} added{known}"
    if done.mended:
        yield f"{_count(done.mended, 'trial')} failed in one folder and done in another: taken"
    for least, changed in sorted(done.min_asr.items()):
        trials = _count(changed, "trial")
        yield f"run.min_asr = {least:g} now holds for {trials} that had another"
    if done.left_out:
        yield (
            f"{_count(done.left_out, 'trial')} left out, on models that contradict the preferred "
            "ones; bench run computes them again"
        )
    for name in sorted(done.missing):
        yield f"artifact {name} is in none of the folders; the numbers that it led to stay valid"


def _conflicts(conflicts: list[Conflict]) -> Iterator[str]:
    yield f"nothing was merged: {_count(len(conflicts), 'conflict')}, same identity, other numbers"
    yield from map(_conflict, conflicts[:_MOST_LINES])
    if len(conflicts) > _MOST_LINES:
        yield f"and {len(conflicts) - _MOST_LINES} more"
    yield "look at them with bench show; --prefer DIR believes one of the folders"


def _conflict(one: Conflict) -> str:
    found = one.difference
    return (
        f"{_name(one)}: {found.field} is {_short(found.one)} in {one.folder} "
        f"and {_short(found.other)} in {one.other}"
    )


def _name(conflict: Conflict) -> str:
    record = vars(conflict.record)
    what = record.get("defense") or record.get("kind")
    on = f" on {record['attack']} {record['trigger']}" if record.get("trigger") else ""
    if what == "victim":
        on = on.replace(" on", " of", 1)
    noun = "trial" if "trial" in record else "model"
    return f"{noun} {record.get('trial') or record.get('id')} ({what}{on}, seed {record['seed']})"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:20]}…"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
