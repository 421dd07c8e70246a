"""Jobs on the nodes of a Ray cluster. The driver's side; nodes run `benchmark.executors.node`.

Ray chooses the node and says when one is gone. It repeats nothing by itself: what was lost, and how
often it may be, is the scheduler's to know.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import UserError
from benchmark.executors import WorkerLost
from benchmark.executors.cluster import Cluster, Share
from benchmark.executors.parcel import (
    ARTIFACT,
    DATA,
    FILE,
    Answer,
    Parcel,
    Proof,
    digest,
    named_files,
)
from benchmark.executors.pulse import SILENT_S, Watch, beating
from benchmark.executors.survey import installed
from benchmark.jobs import Job, parse_job, refuse_changed_files
from benchmark.store import ArtifactStore

_LOOK_AGAIN_S = 1.0
_KEPT = 32
"""Weights and files that stay in the object store for the next node that asks for them."""
_MOST_WANTS = 3
"""A node that still lacks something after it was given so often has lost it on the way."""


@dataclass(frozen=True, eq=False)
class _Sent:
    """A job that is with Ray: waiting for room, or on a node."""

    name: str
    parcel: Parcel
    job: Job
    outer: Future[str]
    asked: int
    """How often a node has asked for what it lacks."""
    answer: Any
    since: float


class RayExecutor:
    """Hands jobs to a cluster and stores the artifacts that come back."""

    base_alone = False
    """Ray gives a base model a node's cores; other nodes go on."""

    def __init__(
        self, cluster: Cluster, artifacts: ArtifactStore, share: Share, most: int | None
    ) -> None:
        """Store what comes back in `artifacts`; `share` is what a job takes of a node.

        `most` bounds the jobs at once; None: as many as fit.
        """
        self._cluster, self._artifacts, self._share, self._most = cluster, artifacts, share, most
        text = secrets.token_hex(16)
        self._proof = Proof(str(artifacts.mark(text)), text)
        self._task = cluster.ray.remote(_carry_out)
        self._running: dict[str, _Sent] = {}
        self._wary = False
        """A node stands still: Ray, which does not know, might give it everything."""
        self._offered: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()
        self._cpus, self._room, self._looked = 1.0, 1, -_LOOK_AGAIN_S
        self._watch = Watch(cluster.ray, self._look)

    @property
    def slots(self) -> int:
        """How many jobs fit into the cluster as it is now; at least 1, which waits for a node."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_AGAIN_S:
            rooms = self._cluster.rooms()
            self._room = sum(room.jobs(self._share) for room in rooms)
            self._cpus = max((room.cpus for room in rooms), default=self._cpus)
            self._looked = now
        return max(1, min(self._most or self._room, self._room))

    def submit(self, job: str, progress: str) -> Future[str]:
        """Send a job; what its node lacks is sent when it asks for it."""
        parsed = parse_job(job)
        files = {path: _digest(path) for path in named_files(parsed)}
        parcel = Parcel(job, progress, self._proof, installed(), files)
        outer: Future[str] = Future()
        outer.set_running_or_notify_cancel()
        self._send(secrets.token_hex(8), parcel, parsed, outer, asked=0)
        return outer

    def stop(self) -> None:
        """Cancel what still runs and leave the cluster."""
        self._watch.stop()
        with self._lock:
            running = list(self._running.values())
        for sent in running:
            self._cancel(sent)
        self._cluster.leave()
        Path(self._proof.path).unlink(missing_ok=True)

    def _send(self, name: str, parcel: Parcel, job: Job, outer: Future[str], asked: int) -> None:
        options: dict[str, Any] = {
            "num_cpus": min(float(job.setup.threads), self._cpus),
            "num_gpus": self._share.gpus,
            "max_retries": 0,
            "scheduling_strategy": "SPREAD" if self._wary else "DEFAULT",
        }
        answer = self._task.options(**options).remote(parcel, [self._watch.pulse], name)
        sent = _Sent(name, parcel, job, outer, asked, answer, time.monotonic())
        with self._lock:
            self._running[name] = sent
        answer.future().add_done_callback(lambda done: self._receive(done, sent))

    def _look(self, ages: Mapping[str, float]) -> None:
        """Give up jobs that fell silent; send those anew that no node has begun for as long."""
        with self._lock:
            running = list(self._running.values())
        for sent in running:
            begun, waiting = sent.name in ages, time.monotonic() - sent.since
            if begun and ages[sent.name] > SILENT_S and self._take_back(sent):
                self._wary = True
                said = f"nothing was heard of its node or worker for {SILENT_S:.0f} s"
                sent.outer.set_exception(WorkerLost(said))
            elif not begun and waiting > SILENT_S and self._take_back(sent):
                self._wary = True
                self._send(sent.name, sent.parcel, sent.job, sent.outer, sent.asked)

    def _take_back(self, sent: _Sent) -> bool:
        """Say whether a job is still out, and no answer to it counts any more."""
        with self._lock:
            if self._running.get(sent.name) is not sent:
                return False
            del self._running[sent.name]
        self._cancel(sent)
        return True

    def _cancel(self, sent: _Sent) -> None:
        with contextlib.suppress(self._cluster.ray.exceptions.RayError):
            self._cluster.ray.cancel(sent.answer, force=True)

    def _receive(self, done: Future[Answer], sent: _Sent) -> None:
        """Turn what came back into the report, or ask again with what the node lacks."""
        with self._lock:
            if self._running.get(sent.name) is not sent:
                return  # it was given up
            del self._running[sent.name]
        parcel, job, outer = sent.parcel, sent.job, sent.outer
        try:
            answer = self._answer(done)
            if not answer.wants:
                self._watch.forget(sent.name)
                self._store(answer.files)
                outer.set_result(answer.report)
            elif sent.asked >= _MOST_WANTS:
                raise WorkerLost(f"a node lacks {answer.wants[0]}, which was sent to it")
            else:
                refuse_changed_files(job)  # before an edited file is sent for the one it was
                # What was offered before and is wanted again was lost on its way: it is read anew.
                again = set(answer.wants) & parcel.offers.keys()
                offers = {name: [self._offer(name, job, name in again)] for name in answer.wants}
                # A name of its own: what was heard of the first node says nothing of the next.
                name = secrets.token_hex(8)
                self._send(name, replace(parcel, offers=offers), job, outer, sent.asked + 1)
        except BaseException as error:
            outer.set_exception(error)

    def _answer(self, done: Future[Answer]) -> Answer:
        errors = self._cluster.ray.exceptions
        try:
            answer = done.result()
        except errors.RayTaskError as error:
            cause = getattr(error, "cause", None)
            raise cause if isinstance(cause, Exception) else error from error
        except errors.LocalRayletDiedError as error:
            raise UserError(
                "Ray has ended on this machine; the same command goes on from there"
            ) from error
        except errors.RayError as error:
            raise WorkerLost(_short(error)) from error
        if answer.refused:
            raise UserError(answer.refused, "see: bench doctor --ray-address")
        if answer.lost:
            raise WorkerLost(answer.lost)
        return answer

    def _store(self, files: Mapping[str, Any]) -> None:
        for name, content in files.items():
            if self._artifacts.add(bytes(content)) != name:
                raise WorkerLost(f"artifact {name} was damaged on its way from a node")

    def _offer(self, name: str, job: Job, anew: bool) -> Any:
        """Put the bytes of a wanted name into the object store, unless they are there."""
        with self._lock:
            if anew or name not in self._offered:
                self._offered[name] = self._cluster.ray.put(self._read(name, job))
            self._offered.move_to_end(name)
            while len(self._offered) > _KEPT:
                self._offered.popitem(last=False)
            return self._offered[name]

    def _read(self, name: str, job: Job) -> Any:
        """Map a file into memory, from where Ray copies it without a second copy in between."""
        for kind, folder in ((DATA, job.setup.dataset.folder), (FILE, Path())):
            if name.startswith(kind):
                return np.memmap(folder / name.removeprefix(kind), np.uint8, mode="r")
        path = self._artifacts.path(name.removeprefix(ARTIFACT))
        return np.memmap(path, np.uint8, mode="r")


def _carry_out(parcel: Parcel, pulse: list[Any], name: str) -> Answer:
    """Carry out a job and let the driver hear of it under `name`; runs on a node."""
    import ray

    from benchmark.executors.node import carry_out

    def fetch(offer: list[Any]) -> Any:
        return ray.get(offer[0])

    given = {name: (lambda offer=offer: fetch(offer)) for name, offer in parcel.offers.items()}
    try:
        with beating(pulse[0], name):
            return carry_out(parcel, given)
    except ray.exceptions.ObjectLostError:
        return Answer(wants=tuple(parcel.offers))


@lru_cache(maxsize=64)
def _digest(path: str) -> str:
    return digest(path)


def _short(error: Exception) -> str:
    """Return the first sentence of what Ray says, which goes on over many lines."""
    first = str(error).strip().partition("\n")[0].partition(". ")[0]
    return f"its node or worker was lost ({type(error).__name__}: {first})"
