"""Whatever a plugin does at import or in a hook becomes one line and a traceback."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass

from benchmark.errors import PluginChanged, UserError
from benchmark.loading.importing import hint_beside
from benchmark.loading.origin import Origin

_LONGEST = 300


@dataclass(frozen=True)
class Fault:
    """A plugin, or a part of it, that is left out, and why."""

    origin: Origin
    error: str
    """One line."""
    traceback: str


@contextmanager
def guarded(origin: Origin, faults: list[Fault]) -> Iterator[None]:
    """Run the plugin's code in the block; add a fault, and go on, whatever it raises.

    `SystemExit` is a fault too: a plugin that gives up must not end the harness. What the plugin
    prints goes to standard error, because standard output may be somebody's JSON. That its file is
    no longer the one that was planned with is no fault of the plugin's: it ends the run.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (KeyboardInterrupt, PluginChanged):
        raise
    except BaseException as error:
        text = "".join(traceback.format_exception(error))
        faults.append(Fault(origin, one_line(error, origin), text))


@contextmanager
def blamed(origin: Origin) -> Iterator[None]:
    """Run the plugin's code in the block; whatever it raises becomes a `UserError` that names it.

    For code without which the request cannot be carried out.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (KeyboardInterrupt, UserError):
        raise
    except BaseException as error:
        raise UserError(f"{in_words(origin)}: {one_line(error, origin)}") from error


def in_words(origin: Origin) -> str:
    """Name the plugin as whoever asked for it would."""
    return f"plugin file {origin.path}" if origin.kind == "file" else str(origin)


def one_line(error: BaseException, origin: Origin) -> str:
    """Describe a plugin's `error` in one line, with the number of its own line where it arose."""
    line = _line_in(error, origin.path)
    text = " ".join(_describe(error, origin.path).split())
    hint = hint_beside(error, origin.path) if origin.kind == "file" else ""
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 1] + "…"
    text += f" ({hint})" if hint else ""
    return f"line {line}: {text}" if line else text


def _describe(error: BaseException, path: str) -> str:
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r})"
    try:
        message = str(error)
        if isinstance(error, SyntaxError) and error.filename == path:
            message = error.msg  # the full text would repeat the file and the line
    except Exception:
        message = "(its message cannot be shown)"
    if isinstance(error, UserError):
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _line_in(error: BaseException, path: str) -> int:
    if not path:
        return 0
    if isinstance(error, SyntaxError) and error.filename == path:
        return error.lineno or 0
    frames = traceback.extract_tb(error.__traceback__)
    return next((f.lineno or 0 for f in reversed(frames) if f.filename == path), 0)
