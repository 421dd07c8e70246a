"""The command line: one module a command. Heavy imports wait until a command needs them."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from benchmark.cli import (
    check,
    compare,
    doctor,
    export,
    leaderboard,
    merge,
    new,
    plugins,
    presets,
    repair,
    report,
    reproduce,
    run,
    show,
)


class _Commands(TyperGroup):
    """Ends a command as we promise, before typer does it in its own way."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("bench: interrupted", file=sys.stderr)
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # Whoever read our output (`| head`) has gone; that is no fault of the request. What is
            # still in the buffer must go somewhere when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None


app = typer.Typer(
    name="bench",
    cls=_Commands,
    help="Measure defenses against neural backdoors. Start with: bench run --defense mesa",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        from benchmark import __version__

        typer.echo(f"backdoor-bench {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


for module in (
    run,
    reproduce,
    leaderboard,
    compare,
    export,
    report,
    show,
    repair,
    merge,
    plugins,
    presets,
    check,
    new,
    doctor,
):
    module.register(app)


def main() -> None:
    """Run the command line; a wrong request prints one line and ends with status 2."""
    from benchmark.errors import UserError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A character that the terminal's encoding lacks is shown by its number.
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except UserError as error:
        _refuse(str(error))
    except OSError as error:
        # What the disk says about a path that was given: too long, a loop of links, no permission.
        where = f"{error.filename}: " if error.filename else ""
        _refuse(f"{where}{(error.strerror or str(error)).lower()}")


def _refuse(text: str) -> NoReturn:
    """Print one line and end with status 2."""
    from benchmark.report.escape import printable

    print(f"bench: {printable(' '.join(text.split()))}", file=sys.stderr)
    sys.exit(2)
