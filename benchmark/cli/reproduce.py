"""`bench reproduce`: a paper's experiments again, beside its published figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.run_options import (
    DAY,
    RESULTS,
    Again,
    DataDir,
    Device,
    DeviceName,
    DryRun,
    ExecutorName,
    Executors,
    FirstSeed,
    GpusPerTrial,
    Out,
    PluginFiles,
    RayAddress,
    Rerun,
    Retries,
    Seeds,
    Sets,
    Timeout,
    Workers,
    session_options,
    typed_command,
)


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
    page: Annotated[
        Path,
        typer.Option(
            "-o", metavar="FILE", help="The page; its numbers (CSV) and figures go beside it."
        ),
    ] = Path("reproduction.md"),
    run: Annotated[
        bool,
        typer.Option("--run/--no-run", help="Run what is missing, or write what is there alone."),
    ] = True,
    data_dir: DataDir = None,
    seeds: Seeds = 1,
    first_seed: FirstSeed = 0,
    sets: Sets = None,
    plugin: PluginFiles = None,
    executor: Executors = ExecutorName.local,
    ray_address: RayAddress = None,
    workers: Workers = None,
    gpus_per_trial: GpusPerTrial = None,
    device: Device = DeviceName.auto,
    timeout: Timeout = DAY,
    retries: Retries = 2,
    out: Out = RESULTS,
    rerun: Rerun = Again.failed,
    dry_run: DryRun = False,
) -> None:
    """Run what is missing of a paper's experiments and write its figures beside ours."""
    import sys

    from benchmark.reproduce import Wanted, start
    from benchmark.settings import parse_sets

    wanted = Wanted(
        study=study,
        grids=tuple(dict.fromkeys(grid or ())),
        preset=preset,
        ablations=ablations,
        seeds=seeds,
        first_seed=first_seed,
        sets=parse_sets(sets or ()),
        data_dir=data_dir,
        page=page,
        run=run,
        command=typed_command(sys.argv[1:]),
    )
    options = session_options(
        out=out,
        plugin=plugin,
        executor=executor,
        ray_address=ray_address,
        device=device,
        workers=workers,
        gpus_per_trial=gpus_per_trial,
        timeout=timeout,
        retries=retries,
        rerun=rerun,
        dry_run=dry_run,
    )
    status = start(wanted, options)
    if status:
        raise typer.Exit(status)
