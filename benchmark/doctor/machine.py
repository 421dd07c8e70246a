"""What can be said of a machine by looking. No torch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmark.data_cache import read_meta
from benchmark.environment import hardware, software
from benchmark.errors import UserError
from benchmark.granted import usable_cores, usable_memory, visible_cores
from benchmark.precision import processor_has_bfloat16

_BUSY = 0.5
"""A load of more than this part of the cores disturbs measurements of time."""


@dataclass(frozen=True)
class Machine:
    """Processor and memory, as far as this process may use them."""

    system: str
    processor: str
    cores: int
    """Cores' worth of time that this process gets: `bench run` runs so many jobs at once."""
    cores_visible: int
    """Cores that it may run on; more than `cores` where a container grants only part of them."""
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
    memory = psutil.virtual_memory()
    return Machine(
        system=seen["system"],
        processor=seen["processor"],
        cores=usable_cores(),
        cores_visible=visible_cores(),
        bfloat16=processor_has_bfloat16(),
        load=psutil.getloadavg()[0],
        memory_mib=usable_memory() // 2**20,
        memory_free_mib=memory.available // 2**20,
        python=packages["python"],
        torch=packages["packages"]["torch"],
    )


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
    folder: str = ""
    """Its name in the cache, which tells from which files and options it was prepared."""


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
            yield Prepared(meta["name"], train, test, size, path.name)
        except (OSError, KeyError, TypeError):
            continue  # another process is at it, or somebody's own file
