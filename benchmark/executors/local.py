"""A pool of processes on this machine."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker

import psutil

from benchmark.devices import gpu_of
from benchmark.executors import WorkerLost


class LocalExecutor:
    """One single-process pool a slot, so that a worker that dies takes no other job with it."""

    def __init__(self, slots: int, gpus: tuple[str, ...] = ()) -> None:
        """`gpus` are those that the slots share, as `CUDA_VISIBLE_DEVICES` names them."""
        self.slots, self.base_alone = slots, not gpus  # a job on a GPU needs few cores
        self._gpus = gpus
        self._idle: list[ProcessPoolExecutor] = []
        self._all: dict[int, ProcessPoolExecutor] = {}
        """Slot → its pool."""
        self._dead: list[ProcessPoolExecutor] = []
        self._lock = threading.Lock()

    def submit(self, job: str, progress: str) -> Future[str]:
        """Start a job in an idle worker, or in a new one."""
        with ctrl_c_kept_from_children():
            pool, inner = self._start(job, progress)
        outer: Future[str] = Future()
        outer.set_running_or_notify_cancel()
        inner.add_done_callback(lambda done: self._hand_over(pool, done, outer))
        return outer

    def _start(self, job: str, progress: str) -> tuple[ProcessPoolExecutor, Future[str]]:
        if not self._all:
            self._start_all(job, progress)
        while True:
            with self._lock:
                pool = self._idle.pop() if self._idle else self._new_pool()
            try:
                return pool, pool.submit(_perform, job, progress)
            except BrokenProcessPool:  # its process was killed while it was idle
                self._forget(pool)

    def _start_all(self, job: str, progress: str) -> None:
        """Start every worker: while one is at a base model, which is alone, others warm up."""
        with self._lock:
            pools = [self._new_pool() for _ in range(self.slots)]
            self._idle += reversed(pools)  # the first is the next one to be taken
        for pool in pools:
            pool.submit(_warm_up, job, progress)

    def stop(self) -> None:
        """Kill the workers; each takes its sandbox with it."""
        for pool in self._all.values():
            for pid in list(getattr(pool, "_processes", None) or {}):
                _kill_tree(pid)
        for pool in self._all.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def _new_pool(self) -> ProcessPoolExecutor:
        slot = next(number for number in itertools.count() if number not in self._all)
        gpu = gpu_of(slot, self._gpus) if self._gpus else None
        pool = ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(os.getpid(), gpu),
        )
        self._all[slot] = pool
        return pool

    def _hand_over(self, pool: ProcessPoolExecutor, done: Future[str], outer: Future[str]) -> None:
        error = done.exception()
        if isinstance(error, BrokenProcessPool):
            self._forget(pool)
            outer.set_exception(WorkerLost("the worker process died (killed, or out of memory)"))
            return
        with self._lock:
            self._idle.append(pool)
        if error is not None:
            outer.set_exception(error)
        else:
            outer.set_result(done.result())

    def _forget(self, pool: ProcessPoolExecutor) -> None:
        """Free the slot of a pool whose process has died; the pool ends by itself.

        This runs in the pool's own thread, which since Python 3.12 holds a lock that `shutdown`
        takes, and so does the pool's end as an object: either would wait for ever here.
        """
        with self._lock:
            self._dead.append(pool)
            self._all = {slot: other for slot, other in self._all.items() if other is not pool}


@contextlib.contextmanager
def ctrl_c_kept_from_children() -> Iterator[None]:
    """Let processes that are started in the block never see SIGINT, not even while they start.

    A terminal sends Ctrl-C to all of them, but it is the driver that ends them. They inherit the
    blocked signal; one that meets the driver in the block is delivered after it.
    """
    # The first process started would start it, and that lets the signal through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(driver: int, gpu: str | None) -> None:
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # before torch looks at it
    from benchmark.worker import start_worker

    start_worker(driver)


def _warm_up(job: str, progress: str) -> None:
    from benchmark.worker import warm_up

    warm_up(job, progress)


def _perform(job: str, progress: str) -> str:
    from benchmark.worker import perform

    return perform(job, progress)


def _kill_tree(pid: int) -> None:
    with contextlib.suppress(psutil.Error):
        worker = psutil.Process(pid)
        for process in [*worker.children(recursive=True), worker]:
            with contextlib.suppress(psutil.Error):
                process.kill()
