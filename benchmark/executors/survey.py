"""What a node says of itself: to see, before hours are spent, that all are alike. No torch."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import benchmark
from benchmark.data_cache import cache_dir, read_meta
from benchmark.environment import software
from benchmark.granted import usable_cores, usable_memory
from benchmark.plugins import load_plugins

CODE = "harness_code"


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


@cache
def installed() -> dict[str, Any]:
    """Return what is installed here: as for the records, and the SHA-256 of the harness's code."""
    digest, root = hashlib.sha256(), Path(benchmark.__file__).parent
    for file in sorted(root.rglob("*.py")):
        digest.update(f"{file.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return {**software(), CODE: digest.hexdigest()}


def look() -> Found:
    """Look at the machine that this process runs on."""
    plugins = load_plugins()
    return Found(
        host=socket.gethostname(),
        cores=usable_cores(),
        memory_mib=usable_memory() // 2**20,
        software=installed(),
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
    """Yield in what two answers of `installed` differ.

    Git revisions may differ: a document may have changed, or a clone may lack tags.
    """
    if node["python"] != driver["python"]:
        yield f"Python {node['python']}, the driver has {driver['python']}"
    for name, version in driver["packages"].items():
        found = node["packages"].get(name)
        if found != version:
            yield f"{name} {found}, the driver has {version}"
    if node[CODE] != driver[CODE]:
        yield (
            f"other code of the harness ({_revision(node)}) than the driver began with "
            f"({_revision(driver)}): have one on all nodes, and leave it while a run goes on"
        )


def _revision(told: Mapping[str, Any]) -> str:
    return f"git revision {told.get('git_revision') or 'unknown'}"
