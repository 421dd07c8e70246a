"""What a cluster means for a plan: which device, how many jobs at once, which limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.errors import UserError
from benchmark.executors.cluster import Cluster, Room, Share
from benchmark.executors.survey import Found, differences, look


@dataclass(frozen=True)
class Fit:
    """How jobs fit into a cluster as it was when the plan was made."""

    device: str
    share: Share
    jobs: int
    """At once."""
    cores: int
    """Of the node with the fewest, of those that have room for a job."""
    memory_mib: int
    """Of all jobs at once, each with the share that it has on the node with the least."""


def fit(cluster: Cluster, wanted: str, threads: int, gpus_per_trial: float | None) -> Fit:
    """Look at every node; `wanted` is a device, `auto`, `cpu` or `cuda`.

    Raises `UserError` where nodes differ from the driver, or none has room for a job.
    """
    rooms = cluster.rooms()
    has_gpus = any(room.gpus for room in rooms)
    if wanted == "cuda" and not has_gpus:
        raise UserError("--device cuda: no node of the cluster has a GPU", "try --device cpu")
    device = "cuda" if has_gpus and wanted != "cpu" else "cpu"
    if gpus_per_trial is not None and device == "cpu":
        raise UserError("--gpus-per-trial: jobs run on the CPU here", "leave it out")
    share = Share(threads, (gpus_per_trial or 1.0) if device == "cuda" else 0.0)
    if not any(room.jobs(share) for room in rooms):
        what = f"{threads} CPUs" + (f" and {share.gpus:g} GPU" if share.gpus else "")
        raise UserError(f"no node of the cluster has {what} for a job", "see: ray status")
    return fitted(device, share, rooms, _alike(cluster))


def fitted(device: str, share: Share, rooms: Sequence[Room], nodes: Mapping[str, Found]) -> Fit:
    """Return how jobs fit into nodes, one of which has room for a job at least.

    What the others have counts for nothing: a head that only drives is often the smallest machine.
    """
    jobs = {room.id: room.jobs(share) for room in rooms}
    taken = [(nodes[name], count) for name, count in jobs.items() if count]
    total = sum(jobs.values())
    part = min(node.memory_mib // count for node, count in taken)
    return Fit(device, share, total, min(node.cores for node, _ in taken), part * total)


def _alike(cluster: Cluster) -> dict[str, Found]:
    """Return the nodes; raises `UserError` for one that does not answer or has other software."""
    here, found = look(), {}
    for identity, node in cluster.survey().items():
        if isinstance(node, str):
            raise UserError(f"node {identity[:8]} of the cluster: {node}")
        for difference in differences(here, node):
            hint = "see: bench doctor --ray-address"
            raise UserError(f"node {node.host} of the cluster: {difference}", hint)
        found[identity] = node
    return found
