"""`bench report`: the results as one HTML page, or as figures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.run_options import typed_command


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("report")(report)


def report(
    file: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="HTML file to write.")
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for every figure as SVG, PDF, PNG and CSV."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the results.")] = Path(
        "bench-results"
    ),
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "Backdoor defenses",
    most: Annotated[
        int,
        typer.Option(
            "--most",
            min=0,
            metavar="N",
            help="Trials that get what takes seconds a trial: figures of their own; on the page a "
            "t-SNE, fewer of them where a trial kept more than 250 triggers.",
        ),
    ] = 40,
) -> None:
    """Write the results as a page that opens offline, or their figures into a folder."""
    from benchmark.data_cache import cache_dir
    from benchmark.errors import UserError
    from benchmark.report.html.write import write_figures, write_page
    from benchmark.store import Store

    if file is None and figures is None:
        raise UserError("nothing to write", "say -o FILE.html, --figures DIR, or both")
    with Store.open(out, write=False) as store:
        if file is not None:
            write_page(store, file, title, typed_command(sys.argv[1:]), cache_dir(), most)
            typer.echo(f"the report is in {file}", err=True)
        if figures is not None:
            count = write_figures(store, figures, most)
            typer.echo(f"{count} figures in {figures}", err=True)
