"""Whether the nodes of a cluster are alike: versions, plugins, prepared data. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from benchmark.executors.cluster import join
from benchmark.executors.survey import Found, differences, look


@dataclass(frozen=True)
class NodeCheck:
    """One node beside the driver, which is the machine that asks."""

    id: str
    cpus: float
    """For jobs, as Ray counts them."""
    gpus: float
    found: Found | None
    """None: it did not answer."""
    problems: tuple[str, ...]
    missing_data: tuple[str, ...]
    """Data sets that the driver has prepared and the node has not: they are sent when needed."""


def check_nodes(address: str) -> list[NodeCheck]:
    """Ask every node of the cluster; raises `UserError` if there is no cluster or no Ray."""
    cluster = join(address, 0, 0)
    try:
        rooms, answers = {room.id: room for room in cluster.rooms()}, cluster.survey()
    finally:
        cluster.leave()
    here = look()
    return [
        _check(here, identity, answer, rooms[identity].cpus, rooms[identity].gpus)
        for identity, answer in sorted(answers.items())
    ]


def _check(here: Found, identity: str, answer: Found | str, cpus: float, gpus: float) -> NodeCheck:
    if isinstance(answer, str):
        return NodeCheck(identity, cpus, gpus, None, (answer,), ())
    missing = tuple(sorted(here.datasets.keys() - answer.datasets.keys()))
    return NodeCheck(identity, cpus, gpus, answer, tuple(differences(here, answer)), missing)


def as_json(nodes: list[NodeCheck]) -> dict[str, Any]:
    """Return plain data for JSON."""
    return {"nodes": [asdict(node) for node in nodes]}


def node_lines(nodes: list[NodeCheck]) -> Iterator[str]:
    """Yield what a person reads."""
    unfit = sum(bool(node.problems) for node in nodes)
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    yield f"cluster     {len(nodes)} nodes with {cpus:g} CPUs and {gpus:g} GPUs for jobs"
    for node in nodes:
        yield f"node        {node.id[:8]} {_what(node)}"
        for problem in node.problems:
            yield f"            problem: {problem}"
        if node.missing_data:
            yield f"            is sent when needed: {', '.join(node.missing_data)}"
    if unfit:
        yield f"{unfit} of {len(nodes)} nodes would not give the driver's numbers"
    else:
        yield "all nodes have the driver's versions and plugins, and no other data"


def _what(node: NodeCheck) -> str:
    jobs = f"{node.cpus:g} CPUs, {node.gpus:g} GPUs"
    if node.found is None:
        return jobs
    memory = f"{node.found.memory_mib / 1024:.1f} GiB"
    return f"on {node.found.host}: {jobs} of {node.found.cores} cores, {memory}"
