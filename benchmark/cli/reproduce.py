"""`bench reproduce`: a paper's experiments again, beside its published figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.run import Device, Rerun


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("reproduce")(reproduce)


def reproduce(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A study, such as mesa-2019.")],
    grid: Annotated[
        list[str] | None,
        typer.Option("--grid", metavar="NAME", help="A grid of the study; repeatable."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="A smaller preset for the paper's own.")
    ] = None,
    ablations: Annotated[
        bool, typer.Option("--ablations", help="Run the study's ablations as well.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Independent victims of each attack.")] = 1,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option, in every row; repeatable."),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with the data set's files.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Jobs at once. Default: cores, or 1 on a GPU.")
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.auto,
    timeout: Annotated[
        float, typer.Option(min=1, metavar="S", help="Seconds that one attack or defense may take.")
    ] = 24 * 3600.0,
    plugin: Annotated[
        list[Path] | None, typer.Option("--plugin", metavar="FILE", help="A plugin in one file.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Results folder.")] = Path(
        "bench-results"
    ),
    page: Annotated[
        Path, typer.Option("-o", metavar="FILE", help="The page; its figures go beside it as CSV.")
    ] = Path("reproduction.md"),
    rerun: Annotated[Rerun, typer.Option(help="Stored trials to run again.")] = Rerun.failed,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
) -> None:
    """Run what is missing of a paper's experiments and write its figures beside ours."""
    import shlex
    import sys

    from benchmark.reproduce import Wanted, start
    from benchmark.session import Options
    from benchmark.settings import parse_sets

    wanted = Wanted(
        study=study,
        grids=tuple(dict.fromkeys(grid or ())),
        preset=preset,
        ablations=ablations,
        seeds=seeds,
        sets=parse_sets(sets or ()),
        data_dir=data_dir,
        page=page,
        command=shlex.join(["bench", *sys.argv[1:]]),
    )
    options = Options(
        out=out,
        plugin_files=tuple(plugin or ()),
        device=device.value,
        workers=workers,
        timeout_s=timeout,
        rerun=rerun.value,
        dry_run=dry_run,
    )
    status = start(wanted, options)
    if status:
        raise typer.Exit(status)
