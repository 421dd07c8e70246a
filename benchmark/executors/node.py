"""On a node of a cluster: a job is carried out as the local pool does it, with the node's files.

The pool of one slot has its process between this one and the plugin's, so that limits, isolation
and numbers are those of a run without a cluster. No torch here.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import JobFault, UserError
from benchmark.executors import WorkerLost, scratch
from benchmark.executors.local import LocalExecutor
from benchmark.executors.parcel import Answer, Parcel, moved, named_files
from benchmark.executors.supplies import Given, Supplies
from benchmark.executors.survey import installed, other_versions
from benchmark.jobs import BaseJob, Job, Report, TrialJob, parse_job
from benchmark.removal import remove_folder
from benchmark.store import ArtifactStore

_WORK = "bench-node-"
_pools: dict[str, LocalExecutor] = {}
"""CUDA_VISIBLE_DEVICES → the pool that was started with it; one at most."""


def carry_out(parcel: Parcel, given: Given) -> Answer:
    """Carry out the job of a parcel with what is here and what is `given`."""
    for difference in other_versions(parcel.software, installed()):
        return Answer(refused=_on_this_node(difference))
    job, supplies = parse_job(parcel.job), Supplies(given)
    is_shared = parcel.proof.holds() and os.access(job.setup.out, os.W_OK)
    try:
        there = _equipped(job, supplies, is_shared, parcel)
        if supplies.wants:
            return Answer(wants=tuple(supplies.wants))
        report = _perform(there, Path(parcel.progress))
    except WorkerLost as lost:
        return Answer(lost=str(lost))
    except JobFault as fault:
        return Answer(lost=str(fault))
    except UserError as error:
        return Answer(refused=_on_this_node(str(error)))
    return Answer(report, {} if is_shared else _made(job, report, supplies.artifacts))


def _on_this_node(what: str) -> str:
    return f"node {socket.gethostname()}: {what}"


def _equipped(job: Job, supplies: Supplies, is_shared: bool, parcel: Parcel) -> Job:
    """Return the job with this node's paths; what is missing is noted in `supplies`."""
    folder = supplies.dataset(job.setup.dataset)
    places = {path: supplies.file(path, parcel.digests[path]) for path in named_files(job)}
    changes: dict[str, Any] = {"dataset": replace(job.setup.dataset, folder=folder)}
    if not is_shared:
        changes["out"] = str(supplies.root)
        if not isinstance(job, BaseJob) and job.artifact:
            supplies.artifact(job.artifact)
    return moved(job, places, **changes)


def _perform(job: Job, progress: Path) -> str:
    """Return the report of the job, from this process's pool."""
    with _work_folder(progress) as folder:
        pool = _pool()
        with _no_main_module():
            future = pool.submit(job.model_dump_json(), str(folder / progress.name))
        return future.result()


def _pool() -> LocalExecutor:
    """Return the pool; a new one if Ray gave this process another GPU than last time."""
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if gpu not in _pools:
        for old in _pools.values():
            old.stop()
        _pools.clear()
        _pools[gpu] = LocalExecutor(1)
    return _pools[gpu]


@contextlib.contextmanager
def _work_folder(progress: Path) -> Iterator[Path]:
    """Return the driver's work folder on its own machine, else a temporary one.

    The driver cleans up its own; here, what a killed process left is removed by the next one.
    """
    if progress.parent.is_dir():
        yield progress.parent
        return
    folder = scratch.make(_WORK)
    try:
        yield folder
    finally:
        remove_folder(folder)


@contextlib.contextmanager
def _no_main_module() -> Iterator[None]:
    """Let a process that is started in the block not import Ray's own program once more."""
    main = sys.modules["__main__"]
    file = main.__dict__.pop("__file__", None)
    try:
        yield
    finally:
        if file is not None:
            main.__file__ = file


def _made(job: Job, text: str, artifacts: ArtifactStore) -> dict[str, Any]:
    """Return the bytes of the artifacts that the job left in this node's store."""
    report = Report.model_validate_json(text)
    names = report.artifacts
    if isinstance(job, TrialJob):
        kept = report.artifacts if job.setup.keep_models else ()
        names = (report.triggers_artifact, *kept)
    return {name: np.fromfile(artifacts.path(name), np.uint8) for name in names if name}
