"""The options of every command that runs trials, and what they come to."""

from __future__ import annotations

import math
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from benchmark.session import Options

DAY = 24 * 3600.0
YEAR = 365 * DAY
"""The most that a limit may be; a timer overflows after 292 years."""
RESULTS = Path("bench-results")


class DeviceName(StrEnum):
    """Where models are trained."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class ExecutorName(StrEnum):
    """What carries out the jobs."""

    local = "local"
    ray = "ray"


class Again(StrEnum):
    """Which stored trials are run again."""

    never = "never"
    failed = "failed"
    always = "always"


def finite(seconds: float) -> float:
    """Refuse what `min` lets through: `nan` is not below it, and `inf` is no limit.

    Nor is what no timer can count to, which would be noticed when the first job is done.
    """
    if not math.isfinite(seconds):
        raise typer.BadParameter(f"{seconds} is no number of seconds.")
    if seconds > YEAR:
        raise typer.BadParameter(f"{seconds:g} is more than a year, {YEAR:.0f} s.")
    return seconds


DataDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder or file with the data set.")
]
Seeds = Annotated[int, typer.Option(min=1, max=10_000, help="Independent victims of each attack.")]
FirstSeed = Annotated[
    int, typer.Option(min=0, max=1_000_000, metavar="N", help="The seeds are N, N+1, and so on.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="An option, such as mesa.epochs=20; repeatable."
    ),
]
PluginFiles = Annotated[
    list[Path] | None, typer.Option("--plugin", metavar="FILE", help="A plugin in one file.")
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, max=1024, help="Jobs at once. Default: one a core, or one a GPU."),
]


Executors = Annotated[
    ExecutorName, typer.Option(help="This machine's processes, or a Ray cluster.")
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="ADDR",
        help="The cluster to join, HOST:PORT or auto. Default: $RAY_ADDRESS, else this machine.",
    ),
]


def _part(gpus: float | None) -> float | None:
    if gpus is not None and not 0.01 <= gpus <= 1:
        raise typer.BadParameter(f"{gpus:g} is not in the range 0.01 to 1.")
    return gpus


GpusPerTrial = Annotated[
    float | None,
    typer.Option(
        metavar="X", callback=_part, help="Part of a GPU for each job, such as 0.5. Default: all."
    ),
]
Device = Annotated[DeviceName, typer.Option(help="Where to compute.")]
Retries = Annotated[
    int,
    typer.Option(
        min=0, max=100, help="How often a job whose worker or machine died is started again."
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        min=1, metavar="S", callback=finite, help="Seconds that one attack or defense may take."
    ),
]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Results folder.")]
Rerun = Annotated[Again, typer.Option(help="Stored trials to run again.")]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Say what would be done; only the data set is prepared."),
]


def typed_command(words: Sequence[str], context: typer.Context | None = None) -> str:
    """Return the command for the records, with the names alone of files that have a whole path.

    Results travel, and where a folder lies on somebody's disk is nobody's business. Before it stand
    the environment variables that spoke for options of `context`, as before it in a shell.
    """
    variables = _variables(context) if context else ()
    return " ".join([*variables, shlex.join(["bench", *map(_without_folders, words)])])


def _variables(context: typer.Context) -> Iterator[str]:
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if source is not None and source.name == "ENVIRONMENT":
            name = str(option.envvar)
            yield f"{name}={shlex.quote(_name_alone(os.environ[name]))}"


def _without_folders(word: str) -> str:
    head, equals, tail = word.rpartition("=")
    if not equals and word[:1] == "-" != word[1:2]:  # `-o/a/page.md`
        head, tail = word[:2], word[2:]
    return f"{head}{equals}{_name_alone(tail)}"


def _name_alone(text: str) -> str:
    path = Path(text)
    return path.name if path.is_absolute() or text.startswith("~") else text


def session_options(
    *,
    out: Path,
    plugin: list[Path] | None,
    executor: ExecutorName,
    ray_address: str | None,
    device: DeviceName,
    workers: int | None,
    gpus_per_trial: float | None,
    timeout: float,
    retries: int,
    rerun: Again,
    dry_run: bool,
    tensorboard: Path | None = None,
    context: typer.Context | None = None,
) -> Options:
    """Return how a run is carried out."""
    from benchmark.placing import Placing
    from benchmark.session import Options

    return Options(
        out=out,
        plugin_files=tuple(plugin or ()),
        placing=Placing(
            executor.value, ray_address, device.value, workers, gpus_per_trial=gpus_per_trial
        ),
        timeout_s=timeout,
        retries=retries,
        rerun=rerun.value,
        dry_run=dry_run,
        tensorboard=tensorboard,
        command=typed_command(sys.argv[1:], context),
    )
