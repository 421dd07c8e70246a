"""Where jobs run: one small interface, one module a back-end."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

Perform = Callable[[str, str], str]
"""Takes a job as JSON and a progress file, returns a report as JSON."""


class WorkerLost(Exception):
    """The process or the machine that carried out a job died under it: nobody's fault."""


class Executor(Protocol):
    """Runs jobs in processes of their own."""

    @property
    def slots(self) -> int:
        """How many jobs run at once; may change while they run."""

    @property
    def base_alone(self) -> bool:
        """Whether a base model, which takes every core of a machine, would share it with others."""

    def submit(self, job: str, progress: str) -> Future[str]:
        """Start a job; the future gives its report, or raises `WorkerLost`."""

    def stop(self) -> None:
        """End everything that still runs, at once."""
