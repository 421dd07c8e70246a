"""`bench-mesa`: studies of the algorithm that need no backdoored model."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from benchmark.api import UserError

app = typer.Typer(
    name="bench-mesa",
    help="Studies of MESA's algorithm.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _main() -> None:
    """Keep `theory` a command of its own, though it is the only one."""


@app.command()
def theory(
    out: Annotated[Path, typer.Option("-o", "--output", help="Folder to write to.")],
    format: Annotated[str, typer.Option(help="svg, png or pdf.")] = "svg",
) -> None:
    """Hold the paper's theorems against known densities: three CSV files and a figure."""
    if format not in ("svg", "png", "pdf"):
        raise UserError(f"--format {format!r} is none of svg, png and pdf")
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError(
            "the figure needs matplotlib, which is not installed",
            "pip install 'backdoor-bench-mesa[theory]'",
        )
    _make(out)
    import torch

    torch.set_num_threads(1)  # small tensors: more threads would be slower, and round otherwise
    from bench_mesa.theory.figure import draw
    from bench_mesa.theory.tables import study

    started = time.monotonic()
    found = study(say=lambda text: typer.echo(text, err=True))
    for path in [*found.write(out), draw(found, out / f"theory.{format}")]:
        typer.echo(path)
    typer.echo(f"{time.monotonic() - started:.0f} s", err=True)


def _make(folder: Path) -> None:
    """Create the folder, before minutes are spent on what could not be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"-o {folder} cannot be created: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"-o {folder} cannot be written to")


def main() -> None:
    """Run the command line; a wrong request prints one line and ends with status 2."""
    try:
        app()
    except UserError as error:
        print(f"bench-mesa: {error}", file=sys.stderr)
        sys.exit(2)
