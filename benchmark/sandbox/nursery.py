"""A process that holds torch and nothing of any job; for each job it starts copies of itself.

Importing torch takes more than a second and half a gigabyte, a copy some hundredths and what it
changes. The process never runs a plugin's code and is never told what a job is about. A copy runs
one plugin and is told a folder, or carries out one step of the harness and is told a descriptor
(`benchmark.sandbox.trusted`); then it ends.

usage: python -m benchmark.sandbox.nursery SOCKET
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from benchmark.sandbox.child import carry_out, die_with, end_family, end_with
from benchmark.sandbox.keeper import ENDED, STARTED
from benchmark.sandbox.seal import be_as_any_process, keep_from_siblings
from benchmark.sandbox.trusted import answer_step, find_step
from benchmark.sandbox.watch import adopt_orphans

_POLL_S = 0.02
_IDLE_POLL_S = 0.1


def main() -> None:
    """Make copies as the socket asks, one after another, until its other end is closed."""
    # A plugin that runs beside must not look into a copy that holds what is scored, nor into this.
    keep_from_siblings()
    control = socket.socket(fileno=int(sys.argv[1]))
    _import_what_copies_need()
    adopt_orphans()
    while True:
        while not select.select([control], [], [], _IDLE_POLL_S)[0]:
            _reap()
        what, descriptors = "", list[int]()
        with contextlib.suppress(ConnectionError):
            message, descriptors, _, _ = socket.recv_fds(control, 65536, 3)
            what = message.decode()
        match descriptors:
            case [_]:
                _serve(control, descriptors, partial(_run_plugin, Path(what)))
            case [_, _, _]:
                with contextlib.suppress(Exception):  # the copy meets it again, and tells
                    find_step(what)
                _serve(control, descriptors, partial(_take_step, what, os.getpid()))
            case _:
                end_family()


def _import_what_copies_need() -> None:
    """Import once what every copy needs, and most of them load; keep no place of this process."""
    environment = dict(os.environ)
    import torch

    import benchmark.builtin.models
    import benchmark.builtin.plugin
    import benchmark.sandbox.tasks  # noqa: F401

    # An optimiser's first step imports torch's compiler and nearly a thousand modules with it, used
    # or not: more than a second, in every copy. Without a gradient it starts no thread.
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0).zero_grad()
    # The compiler settles where its files lie: in a copy that is another place.
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    tempfile.tempdir = None


def _serve(control: socket.socket, descriptors: list[int], become: Callable[..., int]) -> None:
    """Start a copy that does `become` with the descriptors; tell its number, in the end its status.

    The status is what `become` returns, unless the copy ends before. Each is told under its name:
    whoever takes one for the other would watch, and kill, a process that is none of his.
    """
    pid = os.fork()
    if pid == 0:
        control.close()
        _be(partial(become, *descriptors))
    for descriptor in descriptors:
        os.close(descriptor)
    control.send(b"%s %d" % (STARTED, pid))
    with _end_of(pid) as end:
        watched: list[Any] = [control, *end]
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                _reap()
                control.send(b"%s %d" % (ENDED, os.waitstatus_to_exitcode(status)))
                return
            if control in select.select(watched, [], [], _POLL_S)[0]:
                end_family()  # nothing is sent while a copy runs: the worker is gone


@contextlib.contextmanager
def _end_of(pid: int) -> Iterator[list[int]]:
    """Yield what becomes readable when the process ends; nothing where the system has none."""
    try:
        end = os.pidfd_open(pid)
    except (OSError, AttributeError):  # before Linux 5.3, or a Python that was built there
        yield []
        return
    try:
        yield [end]
    finally:
        os.close(end)


def _reap() -> None:
    """Forget the ended orphans that were handed to this process."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _be(become: Callable[[], int]) -> NoReturn:
    status = 1
    try:
        os.setsid()
        status = become()
    except BaseException:
        traceback.print_exc()
    finally:
        end_with(status)


def _run_plugin(folder: Path, output: int) -> int:
    """Take on what a process started for the folder would have, and do the job."""
    be_as_any_process()
    _print_to(output)
    scratch = str(folder / "scratch")
    os.environ |= {"HOME": scratch, "TMPDIR": scratch}
    tempfile.tempdir = None
    os.chdir(scratch)
    return carry_out(folder)


def _take_step(step: str, nursery: int, question: int, answer: int, messages: int) -> int:
    """Carry out a step of the harness; it is not for plugins to see."""
    die_with(nursery)
    _print_to(messages)
    answer_step(step, question, answer)
    return 0


def _print_to(descriptor: int) -> None:
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)


if __name__ == "__main__":
    main()
