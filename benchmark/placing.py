"""Where the jobs of a run are placed: on this machine or on a cluster. No torch, no Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmark.devices import find_devices, jobs_at_once
from benchmark.errors import UserError
from benchmark.executors import Executor
from benchmark.executors.local import LocalExecutor
from benchmark.granted import usable_cores, usable_memory
from benchmark.plan import Machine, Plan, Planned
from benchmark.store import ArtifactStore

if TYPE_CHECKING:
    from benchmark.executors.cluster import Cluster
    from benchmark.executors.fitting import Fit


@dataclass(frozen=True)
class Placing:
    """What was asked for; None: as much as fits."""

    executor: Literal["local", "ray"]
    ray_address: str | None
    device: str
    workers: int | None
    gpus_per_trial: float | None
    """Part of a GPU that a job takes."""

    def check(self) -> None:
        """Raise `UserError` for what cannot be, before minutes are spent on data."""
        if self.executor == "ray":
            from benchmark.executors.cluster import require_ray

            require_ray(self.ray_address)
        elif self.ray_address is not None:
            raise UserError("--ray-address is of use with --executor ray only")

    def machine(self, threads: int, timeout_s: float | None, out: Path) -> Machine:
        """Return where and under which limits jobs of so many `threads` run."""
        if self.executor == "ray":
            fit = _fit(self, threads)
            device, workers = fit.device, min(self.workers or fit.jobs, fit.jobs)
            gpus: tuple[str, ...] = ()
            cores, memory_mib = fit.cores, fit.memory_mib * workers // fit.jobs
        else:
            devices, cores = find_devices(self.device), usable_cores()
            device, gpus = devices.kind, devices.gpus
            workers = jobs_at_once(devices, cores, self.workers, self.gpus_per_trial)
            memory_mib = usable_memory() // 2**20
        absolute = str(out.absolute())
        return Machine(device, workers, cores, memory_mib, timeout_s, absolute, gpus)

    def start(self, plan: Plan, jobs: Sequence[Planned], artifacts: ArtifactStore) -> Executor:
        """Return what carries out `jobs`, a part of a plan that was made for `machine`."""
        if self.executor == "local":
            # Each model is made for a trial that waits for it: no more run at once than trials.
            trials = sum(one.job.kind == "trial" for one in jobs)
            return LocalExecutor(min(plan.machine.workers, trials), plan.machine.gpus)
        from benchmark.executors.ray import RayExecutor

        threads = plan.config.run.threads
        share = _fit(self, threads).share
        return RayExecutor(_cluster(self, threads), artifacts, share, self.workers)


def _cluster(placing: Placing, threads: int) -> Cluster:
    from benchmark.executors.cluster import join

    cpus = max(usable_cores(), (placing.workers or 1) * threads)
    gpus = len(find_devices(placing.device).gpus) if placing.device != "cpu" else 0
    return join(placing.ray_address, cpus, gpus)


@lru_cache(maxsize=8)
def _fit(placing: Placing, threads: int) -> Fit:
    """Look once: a study makes many plans for one cluster."""
    from benchmark.executors.fitting import fit

    cluster = _cluster(placing, threads)
    return fit(cluster, placing.device, threads, placing.gpus_per_trial)
