"""Signs of life of the jobs on a cluster.

Ray tells of nodes that are gone. Of one that stands still (a frozen machine, a cut network) it may
say nothing for good, so each job lets the driver hear of it while it is carried out.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

BEAT_S = 5.0
SILENT_S = 120.0
"""A job that was not heard of for so long is lost; many beats, since a busy node may be late."""
_LOOK_S = 5.0
_ANSWERS_S = 10.0


class Pulse:
    """Remembers when each job was last heard of; an actor on the driver's machine."""

    def __init__(self) -> None:
        self._heard: dict[str, float] = {}

    def beat(self, job: str) -> None:
        """Note that a job is being carried out."""
        self._heard[job] = time.monotonic()

    def ages(self) -> dict[str, float]:
        """Return the seconds since each job was last heard of."""
        now = time.monotonic()
        return {job: now - heard for job, heard in self._heard.items()}

    def forget(self, job: str) -> None:
        """Forget a job that has ended."""
        self._heard.pop(job, None)


@contextlib.contextmanager
def beating(pulse: Any, job: str) -> Iterator[None]:
    """Let the driver hear of `job` while the block runs; on a node."""
    ended = threading.Event()

    def beat() -> None:
        while True:
            with contextlib.suppress(Exception):  # the driver is gone; Ray ends this process
                pulse.beat.remote(job)
            if ended.wait(BEAT_S):
                return

    thread = threading.Thread(target=beat, name="beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class Watch:
    """Asks for the signs of life every few seconds; on the driver."""

    def __init__(self, ray: Any, look: Callable[[Mapping[str, float]], None]) -> None:
        """Start the actor; `look` is given the ages of all jobs that were heard of, in seconds."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._ray, self._look = ray, look
        self.pulse = ray.remote(num_cpus=0)(Pulse).options(scheduling_strategy=here).remote()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        self._thread.start()

    def forget(self, job: str) -> None:
        """Forget a job that has ended."""
        self.pulse.forget.remote(job)

    def stop(self) -> None:
        """Ask no more."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_S):
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._look(self._ray.get(self.pulse.ages.remote(), timeout=_ANSWERS_S))
