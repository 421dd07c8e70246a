"""The driver's data set, decoded in a process that ends: the driver never holds torch for it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NoReturn, cast

from benchmark.config import Chosen
from benchmark.data import PreparedDataset, prepare
from benchmark.errors import UserError, end_in_words
from benchmark.executors.local import ctrl_c_kept_from_children
from benchmark.jobs import Component
from benchmark.loading.faults import blamed
from benchmark.loading.origin import Origin
from benchmark.plugins import load_spec
from benchmark.sandbox.child import die_with, end_family, end_with
from benchmark.specs import DatasetSpec

_CLEANING_S = 5.0


def prepare_apart(
    chosen: Chosen, data_dir: Path | None, cache_dir: Path, before_decoding: Callable[[], None]
) -> PreparedDataset:
    """Return the prepared data set; if the cache has no sound copy, another process decodes it.

    `before_decoding` is called first in that case. Raises `UserError`, naming the plugin if it is
    the plugin's fault.
    """

    def decode(_: Callable[[], None]) -> None:
        before_decoding()
        _in_child(chosen.component(), data_dir, cache_dir)

    origin = chosen.found.origin
    with blamed(origin):
        given = (chosen.spec, chosen.options, data_dir, cache_dir)
        return prepare(*given, decode, code=origin.digest)


def _in_child(dataset: Component, data_dir: Path | None, cache_dir: Path) -> None:
    context = multiprocessing.get_context("spawn")
    there, here = context.Pipe(duplex=False)
    child = context.Process(
        target=_be_child, args=(os.getpid(), here, dataset, data_dir, cache_dir)
    )
    with there:
        with here, ctrl_c_kept_from_children():
            child.start()
        try:
            child.join()
        except BaseException:  # Ctrl-C
            _end(child)
            raise
        if child.exitcode:
            raise UserError(_reason(dataset, child.exitcode, there))


def _reason(dataset: Component, status: int, said: Connection) -> str:
    with contextlib.suppress(EOFError, OSError):
        if said.poll():
            return said.recv_bytes().decode()
    return (
        f"the data set {dataset.name!r} could not be prepared: {end_in_words(status)}; "
        "there may be too little memory"
    )


def _be_child(
    driver: int, say: Connection, dataset: Component, data_dir: Path | None, cache_dir: Path
) -> NoReturn:
    """Prepare the data set; Ctrl-C is for the driver, with which this process ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    die_with(driver, _stop_and_end)
    status, origin = 1, Origin.from_json(dataset.origin)
    try:
        with blamed(origin):  # here, where an error still knows its line
            spec = cast("DatasetSpec", load_spec(origin, "dataset", dataset.name))
            options = spec.options.model_validate(dataset.options)
            seen = spec.under(options, data_dir)
            prepare(seen, options, data_dir, cache_dir, code=origin.digest)
        status = 0
    except UserError as error:
        say.send_bytes(str(error).encode(errors="backslashreplace"))
    except KeyboardInterrupt:
        pass
    end_with(status)


def _stop(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: cleaning up is not disturbed
    raise KeyboardInterrupt


def _stop_and_end() -> NoReturn:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_CLEANING_S)
    end_family()


def _end(child: BaseProcess) -> None:
    """Let the child clean up, and see it ended."""
    child.terminate()
    child.join(_CLEANING_S)
    child.kill()
    child.join()
