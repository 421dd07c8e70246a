"""The command line: one module a command. Heavy imports wait until a command needs them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from benchmark.cli import export, leaderboard, plugins, presets, run, show

app = typer.Typer(
    name="bench",
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


for module in (run, leaderboard, export, show, plugins, presets):
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
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output (`| head`) has gone; that is no fault of the request.
        sys.stderr.close()
        sys.exit(0)
