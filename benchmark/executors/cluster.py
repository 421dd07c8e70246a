"""Joining a Ray cluster, or starting one on this machine; what its nodes have. Driver's side."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import UserError
from benchmark.executors import scratch
from benchmark.executors.survey import Found, look

if TYPE_CHECKING:
    from types import ModuleType

INSTALL = "pip install 'ray>=2.50'"
_ANSWERS_S = 10.0
"""A head node that takes longer to accept a connection is not there."""
_SURVEY_S = 120.0
"""A node that takes longer to start a process and import the harness is not fit."""
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "(?s).*",
}
"""No statistics are sent; what Ray prints of its nodes stays out of the leaderboard."""
_ATTEMPTS = {"RAY_NUM_REDIS_GET_RETRIES": "3"}
"""Each attempt to join takes Ray 41 s where a head accepts connections and says nothing; it would
make twenty."""
_LOCAL_STORE_BYTES = 200 * 2**20
"""On one machine everything is in shared folders, and jobs and reports are small."""
_LONGEST = 40
"""Characters of the path below which Ray makes its sockets, whose paths have room for 107."""


@dataclass(frozen=True)
class Share:
    """What one attack or defense takes of a node, as Ray counts it."""

    threads: int
    gpus: float
    """A part of one; 0 on the CPU."""


@dataclass(frozen=True)
class Room:
    """What a node offers to jobs, as Ray counts it."""

    id: str
    cpus: float
    gpus: float

    def jobs(self, share: Share) -> int:
        """Return how many jobs fit."""
        by_cpu = int(self.cpus / share.threads + 1e-9)
        return min(by_cpu, int(self.gpus / share.gpus + 1e-9)) if share.gpus else by_cpu


class Cluster:
    """The cluster that this process has joined; it is in one at most."""

    def __init__(self, ray: Any, folder: Path | None) -> None:
        """Take over an initialised Ray; `folder` has its files if it was started for this run."""
        self.ray, self._folder = ray, folder

    def rooms(self) -> list[Room]:
        """Return the nodes that are alive now."""
        return [
            Room(node["NodeID"], resources.get("CPU", 0.0), resources.get("GPU", 0.0))
            for node in self.ray.nodes()
            if node["Alive"]
            for resources in [node["Resources"]]
        ]

    def survey(self) -> dict[str, Found | str]:
        """Return what every node says of itself, or why it says nothing, under its identity."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        task = self.ray.remote(look)
        asked = {
            room.id: task.options(
                num_cpus=0,
                max_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(room.id, soft=False),
            ).remote()
            for room in self.rooms()
        }
        self.ray.wait(list(asked.values()), num_returns=len(asked), timeout=_SURVEY_S)
        return {identity: self._said(answer) for identity, answer in asked.items()}

    def _said(self, answer: Any) -> Found | str:
        try:
            return self.ray.get(answer, timeout=0)
        except self.ray.exceptions.GetTimeoutError:
            return f"does not answer within {_SURVEY_S:.0f} s"
        except self.ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            return " ".join(f"{type(cause).__name__}: {cause}".split())[:300]

    def leave(self) -> None:
        """Disconnect; ends what this process has started, the cluster itself if it did so."""
        with _signals_kept():
            self.ray.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        _joined.clear()


_joined: list[Cluster] = []


def _address(given: str | None) -> str | None:
    return given or os.environ.get("RAY_ADDRESS") or None


def require_ray(address: str | None) -> ModuleType:
    """Import Ray, for joining the cluster at `address` or $RAY_ADDRESS or for starting one.

    Without Ray, a `UserError` says what to install.
    """
    wanted = _QUIET | (_ATTEMPTS if _address(address) else {})
    os.environ |= {name: os.environ.get(name, value) for name, value in wanted.items()}
    try:
        import ray
    except ImportError as error:
        raise UserError("--executor ray: Ray is not installed", INSTALL) from error
    return ray


def join(address: str | None, cpus: int, gpus: int) -> Cluster:
    """Join the cluster at `address` or $RAY_ADDRESS, else start one on this machine alone.

    `cpus` and `gpus` are what the latter gets. The same cluster is returned until `leave`. Raises
    `UserError` if Ray is not installed or nothing answers.
    """
    if _joined:
        return _joined[0]
    ray, address = require_ray(address), _address(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    folder = None
    with _signals_kept():
        if address is None:
            folder = scratch.make("bench-ray-", longest=_LONGEST)
            ray.init(
                "local",
                num_cpus=cpus,
                num_gpus=gpus,
                include_dashboard=False,
                object_store_memory=_LOCAL_STORE_BYTES,
                _node_ip_address="127.0.0.1",
                _temp_dir=str(folder),
                **quiet,
            )
        else:
            _check(address)
            try:
                ray.init(address, **quiet)
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                raise UserError(
                    f"cannot join the Ray cluster at {address}: {_reason(error)}"
                ) from error
    cluster = Cluster(ray, folder)
    _joined.append(cluster)
    return cluster


def _reason(error: Exception) -> str:
    """Return in a line why Ray could not be joined."""
    said = str(error).strip().partition("\n")[0]
    # Ray goes on with the traceback of its last attempt.
    if said.startswith(("Failed to connect to GCS", "Failed to connect to Ray cluster")):
        return "something accepts connections there, but it does not answer as a head node"
    return said


def _check(address: str) -> None:
    """Refuse quickly what Ray would try for a minute."""
    if "://" in address:
        raise UserError(
            f"--ray-address {address}: a client's address",
            "run bench on a node of the cluster, with HOST:PORT or auto",
        )
    host, colon, port = address.rpartition(":")
    if not colon:
        return  # such as `auto`
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWERS_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(f"no Ray cluster answers at {address}: {error}") from error


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep this process's signal handlers, which Ray replaces, and Ctrl-C from what Ray starts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
