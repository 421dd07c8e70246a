"""What a person sees of a run: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmark.estimate import Clock, in_words, kind_of
from benchmark.jobs import BaseJob, Report, TrialJob
from benchmark.plan import Planned
from benchmark.report.escape import printable
from benchmark.sandbox.files import read_back

_MOST_STEPS = 10**9
"""A bar's share of more digits than a float has cannot be computed."""


class _Lasting(io.TextIOBase):
    """A stream that shows nothing more once it has failed."""

    def __init__(self, stream: IO[str], failure: type[OSError]) -> None:
        self._stream, self._failure = stream, failure

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, text: str) -> int:
        with self._survived():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._survived():
            self._stream.flush()

    @contextmanager
    def _survived(self) -> Iterator[None]:
        try:
            yield
        except self._failure:
            # What the stream still holds, and all to come, goes nowhere: else Python would try
            # again when it ends, and end with a status of its own.
            with suppress(OSError), Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())


def outlast_readers(console: Console, failure: type[OSError] = OSError) -> None:
    """Let a console go on, and show nothing, once its stream has failed in this way.

    The reader of a pipe (`| head`) may go, the disk of a log may be full: the results of hours, and
    the exit status that tells of them, shall not hang on that.
    """
    console.file = cast("IO[str]", _Lasting(console.file, failure))


@dataclass(frozen=True)
class Step:
    """How far a running job says that it is."""

    step: int = 0
    total: int = 1
    text: str = "starting"


def read_step(progress: Path) -> Step:
    """Return a job's latest step; it is written by plugin code, so nothing of it is trusted."""
    try:
        data = json.loads(read_back(Path(progress.read_text("utf-8")), 10_000))
        step, total = int(data["step"]), int(data["total"])
        return Step(_within(0, step), _within(1, total), str(data["text"])[:40])
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError):
        return Step()


def _within(least: int, value: int) -> int:
    return min(max(least, value), _MOST_STEPS)


def summary(planned: Planned, report: Report) -> str:
    """Return one line on a finished job."""
    if report.status == "failed":
        return f"{planned.label}: failed: {report.error}"
    before = report.before
    seconds = in_words(report.cost.seconds)
    match planned.job:
        case BaseJob():
            found = f"clean accuracy {before['clean_accuracy']:.1%}"
        case TrialJob():
            asr, accuracy = report.metrics.get("asr"), report.metrics.get("clean_accuracy")
            found = f"ASR {_percent(before.get('asr'))} → {_percent(asr)}"
            found += f", clean accuracy {_percent(accuracy)}"
        case _:
            found = f"ASR {before['asr']:.1%}, clean accuracy {before['clean_accuracy']:.1%}"
    return f"{planned.label}: {found} ({seconds})"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


@dataclass
class _Remaining:
    """Knows which jobs are left and how long they will take."""

    clock: Clock
    workers: int
    left: dict[str, Planned]
    started: dict[str, float] = field(default_factory=dict)
    """Identity of a running job → when it was started."""
    waiting: dict[str, tuple[Planned, int]] = field(default_factory=dict)
    """Kind → one of the jobs not started and their number: ten thousand are not counted at each
    tick."""

    def __post_init__(self) -> None:
        for planned in self.left.values():
            self._wait(planned, 1)

    def _wait(self, planned: Planned, more: int) -> None:
        _, count = self.waiting.get(kind_of(planned), (planned, 0))
        self.waiting[kind_of(planned)] = planned, count + more

    def start(self, planned: Planned) -> None:
        self._wait(planned, -1)
        self.started[planned.job.id] = time.monotonic()

    def lose(self, planned: Planned) -> None:
        del self.started[planned.job.id]
        self._wait(planned, 1)

    def finish(self, planned: Planned, report: Report | None) -> None:
        del self.left[planned.job.id]
        begun = self.started.pop(planned.job.id, None)
        if begun is None:
            self._wait(planned, -1)
        elif report is not None and report.status == "done":
            self.clock.note(planned, time.monotonic() - begun)

    def seconds(self) -> float:
        """Return the expected rest, with what running jobs have behind them taken off."""
        now = time.monotonic()
        jobs = [(one, count, 0.0) for one, count in self.waiting.values() if count]
        jobs += [(self.left[key], 1, now - begun) for key, begun in self.started.items()]
        return self.clock.total_of(jobs, self.workers)


class PlainDisplay:
    """One line for every finished job: for logs, pipes and dumb terminals."""

    def __init__(
        self, console: Console, jobs: Iterable[Planned], clock: Clock, workers: int
    ) -> None:
        self._console = console
        self._remaining = _Remaining(clock, workers, {job.job.id: job for job in jobs})
        self._total = len(self._remaining.left)

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def started(self, planned: Planned, progress: Path) -> None:
        """Note the time; nothing is printed."""
        self._remaining.start(planned)

    def finished(self, planned: Planned, report: Report) -> None:
        """Print the job's line, with how many are done and how long the rest will take."""
        self._remaining.finish(planned, report)
        self._line(summary(planned, report))

    def skipped(self, planned: Planned, reason: str, _report: Report | None) -> None:
        """Print why a job does not run."""
        self._remaining.finish(planned, None)
        self._line(f"{planned.label}: not run: {reason}")

    def lost(self, planned: Planned, reason: str, times: int) -> None:
        """Print that a job is started again."""
        self._remaining.lose(planned)
        self._line(f"{planned.label}: {reason}; it is started again ({times})")

    def tick(self) -> None:
        """Do nothing: lines come when there is something to say."""

    def _line(self, text: str) -> None:
        left = len(self._remaining.left)
        rest = f", {in_words(self._remaining.seconds())} left" if left else ""
        head = f"[{self._total - left}/{self._total}{rest}]"
        line = printable(f"{head} {text}")
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class BarDisplay(PlainDisplay):
    """A bar for the run and one for every running job, under the lines of finished ones."""

    def __init__(
        self, console: Console, jobs: Iterable[Planned], clock: Clock, workers: int
    ) -> None:
        super().__init__(console, jobs, clock, workers)
        columns = (
            TextColumn("{task.description}", markup=True),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[note]}", markup=False, justify="right"),
            TimeElapsedColumn(),
        )
        self._bars = Progress(*columns, console=console, transient=True, refresh_per_second=4)
        self._run = self._bars.add_task("[bold]run[/]", total=self._total, note="")
        self._jobs: dict[str, tuple[TaskID, Path]] = {}

    def __enter__(self) -> BarDisplay:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def started(self, planned: Planned, progress: Path) -> None:
        """Add a bar."""
        super().started(planned, progress)
        bar = self._bars.add_task(escape(printable(planned.label)), total=1, note="starting")
        self._jobs[planned.job.id] = bar, progress

    def finished(self, planned: Planned, report: Report) -> None:
        """Replace the job's bar by its line."""
        self._remove_bar(planned)
        super().finished(planned, report)

    def lost(self, planned: Planned, reason: str, times: int) -> None:
        """Replace the job's bar by a line."""
        self._remove_bar(planned)
        super().lost(planned, reason, times)

    def _remove_bar(self, planned: Planned) -> None:
        bar, _ = self._jobs.pop(planned.job.id)
        self._bars.remove_task(bar)

    def tick(self) -> None:
        """Read how far the running jobs are."""
        for bar, progress in self._jobs.values():
            step = read_step(progress)
            note = f"{printable(step.text)} {step.step}/{step.total}"
            self._bars.update(bar, completed=step.step, total=step.total, note=note)
        done = self._total - len(self._remaining.left)
        note = f"{done}/{self._total} jobs, {in_words(self._remaining.seconds())} left"
        self._bars.update(self._run, completed=done, note=note)
