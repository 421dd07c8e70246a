"""`--verbose`, before or after the name of every command: errors come with their traceback."""

from __future__ import annotations

import copy
import sys
import traceback
from collections.abc import Sequence
from typing import Any

NAME = "--verbose"


class Verbosity:
    """Whether tracebacks were asked for; one for the process."""

    wanted = False

    @classmethod
    def ask(cls, given: bool) -> bool:
        """Take note of the option, wherever it stood."""
        cls.wanted = cls.wanted or given
        return given


def with_verbose(command: Any, options: Sequence[Any]) -> Any:
    """Return `command` with the option among `options`, those of the whole program, added once."""
    if not any(NAME in option.opts for option in command.params):
        option = copy.copy(next(option for option in options if NAME in option.opts))
        option.expose_value = False  # the callback takes it; no command is called with it
        command.params.append(option)
    return command


def show_traceback() -> None:
    """Print the traceback of the error that is being handled, if it was asked for."""
    if Verbosity.wanted:
        traceback.print_exc(file=sys.stderr)
