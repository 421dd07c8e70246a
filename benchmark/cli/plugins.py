"""`bench plugins`: what can be used, what could be installed, what is broken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from benchmark.overview import Row
    from benchmark.plugins import Plugins

_WIDTH_OF_SEVEN_COLUMNS = 140
_SEVEN = ("kind", "name", "version", "installed", "is told", "from", "summary")
_THREE = ("kind", "name", "about")


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command("plugins")
    def plugins(
        file: Annotated[
            list[Path] | None,
            typer.Option("--plugin", metavar="FILE", help="Also load this plugin file."),
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
        everything: Annotated[
            bool, typer.Option("--all", help="Also show papers, options and tracebacks.")
        ] = False,
    ) -> None:
        """List every known plugin, installed or not, and what could not be loaded."""
        import json

        from benchmark.catalogue import read_catalogue
        from benchmark.overview import as_json as plain
        from benchmark.overview import overview
        from benchmark.plugins import load_plugins

        loaded = load_plugins(file or [])
        rows = overview(loaded, read_catalogue())
        if as_json:
            typer.echo(json.dumps(plain(rows, loaded), indent=2))
        else:
            _show(rows, loaded, everything)


def _show(rows: list[Row], plugins: Plugins, everything: bool) -> None:
    from benchmark.cli.listing import listing_console
    from benchmark.report.escape import printable, printable_lines

    console = listing_console()
    console.print(_table(rows, console.width))
    if everything:
        _show_details(console, rows)
    for collision in plugins.collisions:
        text = printable(f"collision: {collision}")
        console.print(text, style="red", markup=False, soft_wrap=True)
    for fault in plugins.faults:
        text = printable(f"broken: {fault.origin}: {fault.error}")
        console.print(text, style="red", markup=False, soft_wrap=True)
        if everything:
            console.print(printable_lines(fault.traceback), markup=False, soft_wrap=True)


def _table(rows: list[Row], width: int) -> Table:
    """Return seven columns where they fit, and three with the rest below the summary elsewhere."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from benchmark.report.escape import printable_lines

    wide = width >= _WIDTH_OF_SEVEN_COLUMNS
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in _SEVEN if wide else _THREE:
        table.add_column(heading, overflow="fold", no_wrap=heading in ("kind", "name"))
    for row in rows:
        cells = _seven(row) if wide else _three(row)
        shown = (escape(printable_lines(cell)) for cell in cells)
        table.add_row(*shown, style="" if row.status == "installed" else "dim")
    return table


def _seven(row: Row) -> tuple[str, ...]:
    told = ", ".join(row.knowledge)
    return (row.kind, row.name, row.version, _installed(row), told, row.origin, row.summary)


def _three(row: Row) -> tuple[str, ...]:
    lines = [row.summary]
    if row.knowledge:
        lines.append(f"is told {', '.join(row.knowledge)}")
    if row.status != "installed":
        lines.append(_installed(row))
    lines.append(f"version {row.version}, {row.origin}" if row.version else row.origin)
    return (row.kind, row.name, "\n".join(lines))


def _installed(row: Row) -> str:
    return "yes" if row.status == "installed" else row.install or row.status


def _show_details(console: Console, rows: list[Row]) -> None:
    from benchmark.report.escape import printable

    for row in rows:
        options = list(_options(row))
        if not (row.paper or options):
            continue
        console.print(f"{row.kind} {row.name}", style="bold", markup=False)
        if row.paper:
            console.print(printable(f"  paper: {row.paper}"), markup=False)
        for line in options:
            console.print(printable(f"  {line}"), markup=False)


def _options(row: Row) -> Iterator[str]:
    """Yield a line for each option that `--set` takes, with its key; a metric has no such ones."""
    from benchmark.overview import opened
    from benchmark.settings import as_text

    if row.kind == "metric":
        return
    head = row.name if row.kind == "defense" else row.kind
    for key, schema in opened(row.options):
        default = f" = {as_text(schema['default'])}" if "default" in schema else ""
        about = schema.get("description", "")
        yield f"{head}.{key}{default}  {about}".rstrip()
