"""`bench run`: plan, run what is missing, print the leaderboard."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Device(StrEnum):
    """Where models are trained."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Rerun(StrEnum):
    """Which stored trials are run again."""

    never = "never"
    failed = "failed"
    always = "always"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def _finite(seconds: float) -> float:
    """Refuse what `min` lets through: `nan` is not below it, and `inf` is no limit."""
    if not math.isfinite(seconds):
        raise typer.BadParameter(f"{seconds} is no number of seconds.")
    return seconds


def run(
    defense: Annotated[
        list[str] | None,
        typer.Option("--defense", metavar="NAME", help="Defense to run; repeatable. Default: all."),
    ] = None,
    attack: Annotated[
        list[str] | None,
        typer.Option("--attack", metavar="NAME", help="Attack grid; repeatable."),
    ] = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="Data set.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with the data set's files.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Architecture.")] = None,
    preset: Annotated[str, typer.Option(metavar="NAME", help="See: bench presets.")] = "quick",
    seeds: Annotated[
        int, typer.Option(min=1, max=10_000, help="Independent victims of each attack.")
    ] = 1,
    clean_models: Annotated[
        bool,
        typer.Option("--clean-models", help="Also run the defenses on models never attacked."),
    ] = False,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="An option, such as mesa.epochs=20; repeatable."
        ),
    ] = None,
    plugin: Annotated[
        list[Path] | None, typer.Option("--plugin", metavar="FILE", help="A plugin in one file.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Jobs at once. Default: cores, or 1 on a GPU."),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.auto,
    timeout: Annotated[
        float,
        typer.Option(
            min=1,
            metavar="S",
            callback=_finite,
            help="Seconds that one attack or defense may take.",
        ),
    ] = 24 * 3600.0,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Results folder.")] = Path(
        "bench-results"
    ),
    rerun: Annotated[Rerun, typer.Option(help="Stored trials to run again.")] = Rerun.failed,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
) -> None:
    """Attack models, run defenses on them, score the repaired models, print the leaderboard."""
    from benchmark.config import Request
    from benchmark.session import Options, start
    from benchmark.settings import parse_sets

    request = Request(
        preset=preset,
        defenses=tuple(defense or ()),
        attacks=tuple(attack or ()),
        dataset=dataset,
        model=model,
        seeds=seeds,
        sets=parse_sets(sets or ()),
        data_dir=data_dir,
        clean_models=clean_models,
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
    status = start(request, options)
    if status:
        raise typer.Exit(status)
