"""`bench run`: plan, run what is missing, print the leaderboard."""

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
    Sets,
    Timeout,
    Workers,
    session_options,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    context: typer.Context,
    defense: Annotated[
        list[str] | None,
        typer.Option("--defense", metavar="NAME", help="Defense to run; repeatable. Default: all."),
    ] = None,
    attack: Annotated[
        list[str] | None,
        typer.Option("--attack", metavar="NAME", help="Attack grid; repeatable."),
    ] = None,
    attack_file: Annotated[
        list[Path] | None,
        typer.Option(
            "--attack-file",
            metavar="FILE",
            help="A backdoored model of yours and its trigger, in a TOML file; repeatable.",
        ),
    ] = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="Data set.")] = None,
    data_dir: DataDir = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Architecture.")] = None,
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            envvar="BENCH_PRESET",
            help="See: bench presets; or a TOML file of yours that extends one.",
        ),
    ] = "quick",
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1, max=10_000, help="Independent victims of each attack. Default: the preset's, 1."
        ),
    ] = None,
    first_seed: FirstSeed = 0,
    clean_models: Annotated[
        bool,
        typer.Option("--clean-models", help="Also run the defenses on models never attacked."),
    ] = False,
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
    tensorboard: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write TensorBoard event files there."),
    ] = None,
) -> None:
    """Attack models, run defenses on them, score the repaired models, print the leaderboard."""
    from benchmark.config import Request
    from benchmark.session import start
    from benchmark.settings import parse_sets

    request = Request(
        preset=preset,
        defenses=tuple(defense or ()),
        attacks=tuple(attack or ()),
        attack_files=tuple(attack_file or ()),
        dataset=dataset,
        model=model,
        seeds=seeds,
        first_seed=first_seed,
        sets=parse_sets(sets or ()),
        data_dir=data_dir,
        clean_models=clean_models,
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
        tensorboard=tensorboard,
        context=context,
    )
    status = start(request, options)
    if status:
        raise typer.Exit(status)
