"""`bench check`: does a plugin keep the rules?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.run_options import finite

_HOUR = 3600.0
"""Of a run that takes seconds. The limit of the whole check, a multiple, must suit the system."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("check")(check)


def check(
    targets: Annotated[
        list[str],
        typer.Argument(metavar="NAME|FILE...", help="A component's name, or a plugin file."),
    ],
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option, as for bench run; repeatable."),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with a data set's files.")
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            min=1,
            max=_HOUR,
            metavar="S",
            callback=finite,
            help="Seconds for one run on the tiny case.",
        ),
    ] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check a plugin against every rule on a tiny case; says what is wrong and how to mend it."""
    import json
    from dataclasses import asdict

    from benchmark.kit import check as check_all
    from benchmark.settings import parse_sets

    found = check_all(*targets, sets=parse_sets(sets or ()), data_dir=data_dir, timeout_s=timeout)
    if as_json:
        plain = [{**asdict(report), "passed": report.passed} for report in found.reports]
        typer.echo(json.dumps(plain, indent=2))
    else:
        typer.echo(str(found))
    if not found.passed:
        raise typer.Exit(1)
