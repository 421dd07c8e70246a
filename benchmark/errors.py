"""The two ways in which things go wrong: the request was wrong, or one job failed."""

from __future__ import annotations

import contextlib
import difflib
import signal
from collections.abc import Iterable


class UserError(Exception):
    """The request cannot be carried out; the command line prints one line, exits 2."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message if not hint else f"{message} ({hint})")


class PluginChanged(UserError):
    """A plugin file is no longer what the run was planned with: its numbers would be another's."""


class JobFault(Exception):
    """One job failed for a reason that a person understands; the run goes on without it."""


def unexpected(error: BaseException) -> str:
    """Say in one line that a job failed by what is neither a `UserError` nor a `JobFault`."""
    text = f"the harness could not carry it out: {type(error).__name__}: {error}"
    return " ".join(text.split())


def end_in_words(status: int) -> str:
    """Say how a process ended that was not to end so; empty for status 0."""
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"the process was ended by {signal.Signals(-status).name}"
        return f"the process was ended by signal {-status}"
    return f"the process ended with status {status}" if status else ""


class UndeclaredKnowledge(AttributeError):
    """A defense read a field of its view that it had not declared in `needs`."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for a name that nobody registered, with the nearest known names."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names) or 'none'}"
    return UserError(f"unknown {kind} {name!r}", hint)
