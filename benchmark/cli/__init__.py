"""The command line: one module a command. Heavy imports wait until a command needs them."""

from __future__ import annotations

import io
import os
import signal
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
    trials,
)
from benchmark.cli.verbose import NAME as VERBOSE
from benchmark.cli.verbose import Verbosity, show_traceback, with_verbose


class _Commands(TyperGroup):
    """Ends a command as we promise, before typer does it in its own way."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = super().get_command(ctx, cmd_name)
        return command and with_verbose(command, self.params)

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
    verbose: Annotated[
        bool,
        typer.Option(VERBOSE, callback=Verbosity.ask, help="Show the traceback of an error."),
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
    trials,
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
    """Run the command line; a wrong request prints one line and ends with status 2.

    So does a fault of the harness, with status 1. `--verbose` puts the traceback before the line.
    """
    from benchmark.errors import UserError

    Verbosity.wanted = False

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
    except Exception as error:
        hint = "" if Verbosity.wanted else "; --verbose shows where"
        _refuse(f"unexpected error: {type(error).__name__}: {error}{hint}", status=1)


def program() -> None:
    """Be the process `bench`: what `main` has said and kept, no later Ctrl-C changes.

    While Python ends, one would print a traceback or, after that, replace the exit status.
    """
    try:
        main()
    except KeyboardInterrupt:  # between what a command did and its exit status
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _refuse(text: str, status: int = 2) -> NoReturn:
    """Print one line about the error that is being handled, and end with `status`."""
    from benchmark.report.escape import printable

    show_traceback()
    print(f"bench: {printable(' '.join(text.split()))}", file=sys.stderr)
    sys.exit(status)
