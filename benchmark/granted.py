"""What a container or a batch job is granted of a machine: control groups 1 and 2 of Linux."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_V2 = ""
"""Version 2 has one tree, without a controller's name."""


def usable_cores() -> int:
    """Return how many cores' worth of time this process gets: at least 1, a part of one is none."""
    return max(1, int(min(visible_cores(), granted_cores())))


def visible_cores() -> int:
    """Return the number of cores that this process may run on."""
    process = psutil.Process()
    cores = len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else 0
    return cores or psutil.cpu_count() or 1


def usable_memory() -> int:
    """Return the bytes of memory that this process may fill: the machine's, or what is granted."""
    return int(min(psutil.virtual_memory().total, granted_memory()))


def granted_cores(groups: Path = _GROUPS, own: Path = _OWN) -> float:
    """Return the smallest quota of CPU time, in cores, of the groups around this process."""
    quotas = [float("inf")]
    for folder in _around(_V2, groups, own):
        quotas += _quota(_numbers(folder / "cpu.max"))
    for folder in _around("cpu", groups, own):
        period = _numbers(folder / "cpu.cfs_period_us")
        quotas += _quota(_numbers(folder / "cpu.cfs_quota_us") + period)
    return min(quotas)


def granted_memory(groups: Path = _GROUPS, own: Path = _OWN) -> float:
    """Return the smallest limit of memory, in bytes, of the groups around this process."""
    limits = [float("inf")]
    for folder in _around(_V2, groups, own):
        limits += _numbers(folder / "memory.max")
    for folder in _around("memory", groups, own):
        limits += _numbers(folder / "memory.limit_in_bytes")
    return min(limits)


def _quota(numbers: list[float]) -> list[float]:
    """Return microseconds over the period's; nothing where there is no limit (-1 in version 1)."""
    quota, period = numbers if len(numbers) == 2 else (-1.0, 1.0)
    return [quota / period] if quota > 0 and period > 0 else []


def _around(controller: str, groups: Path, own: Path) -> Iterator[Path]:
    """Yield the folders of this process's group and of every group around it.

    In a container the path may be the host's, of which only the end is there: then the tree's root.
    """
    for line in _text(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            root = groups / controllers if controller else groups
            group = root / path.strip("/")
            yield from (folder for folder in (group, *group.parents) if _inside(folder, root))


def _inside(folder: Path, root: Path) -> bool:
    return folder.is_relative_to(root) and ".." not in folder.parts


def _numbers(file: Path) -> list[float]:
    """Return the numbers of a file; none where it is not there or says `max`."""
    try:
        return [float(word) for word in _text(file).split()]
    except ValueError:
        return []


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError:
        return ""
