"""The command line: one module a command. Heavy imports wait until a command needs them."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from benchmark.cli import compare, export, leaderboard, plugins, presets, repair, reproduce, run, show


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


for module in (run, reproduce, leaderboard, compare, export, show, repair, plugins, presets):
    module.register(app)


def main() -> None:
    """Run the command line; a wrong request prints one line and ends with status 2."""
    from benchmark.errors import UserError

    try:
        app()
    except UserError as error:
        text = " ".join(str(error).split())
        print(f"bench: {text}", file=sys.stderr)
        sys.exit(2)
