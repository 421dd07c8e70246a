"""What can be said of a machine by looking. No torch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmark.data_cache import read_meta
from benchmark.devices import usable_cores
from benchmark.environment import hardware, software
from benchmark.errors import UserError
from benchmark.precision import processor_has_bfloat16

_CGROUP = Path("/sys/fs/cgroup")
_BUSY = 0.5
"""A load of more than this part of the cores disturbs measurements of time."""


@dataclass(frozen=True)
class Machine:
    """Processor and memory, as far as this process may use them."""

    system: str
    processor: str
    cores: int
    """Cores that this process may run on: `bench run` runs so many jobs at once."""
    cores_granted: float
    """Cores' worth of time that a container grants; the same number without one."""
    bfloat16: bool
    load: float
    """Processes that were running, mean of the last minute."""
    memory_mib: int
    """Of the machine, or what a container grants."""
    memory_free_mib: int
    python: str
    torch: str

    @property
    def busy(self) -> bool:
        """True if something else keeps the cores busy."""
        return self.load > _BUSY * self.cores


def look_at_machine() -> Machine:
    """Return what this machine has."""
    seen, packages = hardware("cpu", 1), software()
    cores = usable_cores()
    memory = psutil.virtual_memory()
    return Machine(
        system=seen["system"],
        processor=seen["processor"],
        cores=cores,
        cores_granted=min(_granted_cores(cores), cores),
        bfloat16=processor_has_bfloat16(),
        load=psutil.getloadavg()[0],
        memory_mib=min(_granted_memory(memory.total), memory.total) // 2**20,
        memory_free_mib=memory.available // 2**20,
        python=packages["python"],
        torch=packages["packages"]["torch"],
    )


def _granted_cores(otherwise: int) -> float:
    """Return the quota of a container (cgroup 2): microseconds in each period."""
    try:
        quota, period = (_CGROUP / "cpu.max").read_text("utf-8").split()
        return otherwise if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return otherwise


def _granted_memory(otherwise: int) -> int:
    try:
        return int((_CGROUP / "memory.max").read_text("utf-8"))
    except (OSError, ValueError):  # no container, or `max`
        return otherwise


@dataclass(frozen=True)
class Place:
    """A folder that a run writes to; it need not be there yet."""

    folder: Path
    free_mib: int
    writable: bool


def look_at_place(folder: Path) -> Place:
    """Return how much fits into a folder; raises `UserError` if it is a file."""
    existing = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    if not existing.is_dir():
        raise UserError(f"{existing} is a file, not a folder", "name another folder")
    free = shutil.disk_usage(existing).free // 2**20
    return Place(folder.absolute(), free, os.access(existing, os.W_OK | os.X_OK))


@dataclass(frozen=True)
class Prepared:
    """A data set that lies ready in the cache."""

    name: str
    train_images: int
    test_images: int
    mib: float


def prepared_datasets(cache: Path) -> list[Prepared]:
    """Return the data sets in the cache, without reading their images."""
    return sorted(_prepared(cache / "datasets"), key=lambda found: found.name)


def _prepared(folder: Path) -> Iterator[Prepared]:
    for path in folder.glob("[!.]*"):
        meta = read_meta(path, ())
        if meta is None:
            continue
        try:
            train, test = (meta["splits"][split]["count"] for split in ("train", "test"))
            size = sum(file.stat().st_size for file in path.iterdir()) / 2**20
            yield Prepared(meta["name"], train, test, size)
        except (OSError, KeyError, TypeError):
            continue  # another process is at it, or somebody's own file
