"""What a node says of itself: to see, before hours are spent, that all are alike. No torch."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.data_cache import cache_dir, read_meta
from benchmark.environment import software
from benchmark.granted import usable_cores, usable_memory
from benchmark.plugins import load_plugins


@dataclass(frozen=True)
class Found:
    """One node."""

    host: str
    cores: int
    memory_mib: int
    software: Mapping[str, Any]
    plugins: Mapping[str, str]
    """Kind and name of a component → its version and where it comes from."""
    datasets: Mapping[str, str]
    """Folder of a prepared data set → fingerprint of its images."""
    faults: tuple[str, ...]
    """Plugins that cannot be loaded there."""


def look() -> Found:
    """Look at the machine that this process runs on."""
    plugins = load_plugins()
    return Found(
        host=socket.gethostname(),
        cores=usable_cores(),
        memory_mib=usable_memory() // 2**20,
        software=software(),
        plugins={
            f"{kind} {offer.spec.name}": f"{offer.spec.version}, {offer.origin}"
            for kind, offer in plugins.offers()
        },
        datasets=dict(_datasets()),
        faults=tuple(f"{fault.origin}: {fault.error}" for fault in plugins.faults),
    )


def _datasets() -> Iterator[tuple[str, str]]:
    for folder in (cache_dir() / "datasets").glob("[!.]*"):
        meta = read_meta(folder, ())
        if meta is not None:
            yield folder.name, str(meta.get("fingerprint"))


def differences(driver: Found, node: Found) -> Iterator[str]:
    """Yield in what a node differs from the driver so that numbers may differ."""
    yield from other_versions(driver.software, node.software)
    for name in sorted(driver.plugins.keys() | node.plugins.keys()):
        here, there = driver.plugins.get(name, "none"), node.plugins.get(name, "none")
        if here != there:
            yield f"{name} {there}, the driver has {here}"
    for name in sorted(driver.datasets.keys() & node.datasets.keys()):
        if driver.datasets[name] != node.datasets[name]:
            yield f"data set {name} has other images than on the driver"
    yield from (f"broken plugin: {fault}" for fault in node.faults)


def other_versions(driver: Mapping[str, Any], node: Mapping[str, Any]) -> Iterator[str]:
    """Yield in what two answers of `software` differ; git revisions only where both have one."""
    if node["python"] != driver["python"]:
        yield f"Python {node['python']}, the driver has {driver['python']}"
    for name, version in driver["packages"].items():
        found = node["packages"].get(name)
        if found != version:
            yield f"{name} {found}, the driver has {version}"
    there, here = node.get("git_revision"), driver.get("git_revision")
    if there and here and there != here:
        yield f"the harness at git revision {there}, the driver's is {here}: install one on both"
