"""Steps of a job that need torch and may see everything: each in a copy of the nursery of its own.

So that the worker itself holds no torch, which takes half a gigabyte. What a step is asked and
what it answers are texts in unnamed memory, whose descriptors only worker and copy hold. A step is
a function from text to text; here it is named `module:function`, because it is imported there.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmark.errors import JobFault, UserError, end_in_words, unexpected
from benchmark.sandbox.keeper import Copy, forget_nursery, nursery
from benchmark.sandbox.memory import read_text, unnamed_memory, write_text

Step = Callable[[str], str]
_MESSAGES = 2
"""Descriptor to which a copy prints, as this process does."""


def carry_out_step(
    step: str, text: str, threads: int, home: Path, limit: float | None = None
) -> str:
    """Return the step's answer; in this process where there is no nursery (not Linux).

    `home` is an own folder for a nursery that has to be started. Raises what the step raises, a
    `UserError` or a `JobFault`; anything else, the end of the process too, is a `JobFault`, and so
    is a step that takes more than `limit` seconds.
    """
    if not sys.platform.startswith("linux"):
        return run_step(step, text)
    with unnamed_memory() as question, unnamed_memory() as answer:
        try:
            write_text(question, json.dumps(_surroundings() | {"text": text}))
            copy = nursery(threads, home).start(step, [question, answer, _MESSAGES])
        except (OSError, ValueError):  # it was killed, or cannot start
            forget_nursery()
            return run_step(step, text)
        return _answer(step, copy, answer, limit)


def run_step(step: str, text: str) -> str:
    """Carry out a step in this process; whatever it raises is a `UserError` or a `JobFault`."""
    try:
        return find_step(step)(text)
    except (UserError, JobFault):
        raise
    except (Exception, SystemExit) as error:
        raise JobFault(unexpected(error)) from error


def find_step(step: str) -> Step:
    """Import the step."""
    module, _, name = step.partition(":")
    found: Step = getattr(importlib.import_module(module), name)
    return found


def answer_step(step: str, question: int, answer: int) -> None:
    """Do what `carry_out_step` asked for; called in the copy. The descriptors are of memory."""
    asked = json.loads(read_text(question))
    os.environ.clear()
    os.environ.update(asked["environment"])
    with contextlib.suppress(OSError):
        os.chdir(asked["folder"])
    try:
        said = {"answer": run_step(step, asked["text"])}
    except UserError as error:
        said = {"refusal": str(error)}
    except JobFault as error:
        said = {"fault": str(error)}
    write_text(answer, json.dumps(said))


def _surroundings() -> dict[str, object]:
    """Return what a metric may go by, and the nursery lacks on purpose."""
    folder = "/"
    with contextlib.suppress(OSError):
        folder = str(Path.cwd())
    return {"environment": dict(os.environ), "folder": folder}


def _answer(step: str, copy: Copy, answer: int, limit: float | None) -> str:
    started = time.monotonic()
    try:
        status = copy.wait(limit)
    except BaseException:
        forget_nursery()  # its next word would be of this copy
        raise
    try:
        said = json.loads(read_text(answer))
    except ValueError:
        late = limit is not None and time.monotonic() - started >= limit
        how = copy.lost() or (f"still running after {limit:g} s" if late else "")
        how = how or end_in_words(status) or "the process ended without an answer"
        raise JobFault(
            f"the harness's own step {step.partition(':')[2]} failed: {how} "
            "(by a metric or a model, or for want of memory)"
        ) from None
    if "refusal" in said:
        raise UserError(said["refusal"])
    if "fault" in said:
        raise JobFault(said["fault"])
    return str(said["answer"])
