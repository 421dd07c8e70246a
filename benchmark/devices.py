"""On which devices jobs run, and how many of them at once. No torch unless there may be a GPU."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import UserError


@dataclass(frozen=True)
class Devices:
    """What a machine offers to jobs."""

    kind: str
    """`cpu` or `cuda`, as jobs are told."""
    gpus: tuple[str, ...] = ()
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""


def find_devices(wanted: str) -> Devices:
    """Resolve `auto`, `cpu` or `cuda`; raises `UserError` for a GPU that is not there."""
    may_be = Path("/proc/driver/nvidia").exists() or Path("/dev/dxg").exists() or os.name == "nt"
    if wanted == "cpu" or (wanted == "auto" and not may_be):
        return Devices("cpu")
    import torch

    if torch.cuda.is_available():
        named = [one.strip() for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
        count = torch.cuda.device_count()
        numbers = [str(number) for number in range(count)]
        return Devices("cuda", tuple(named[:count] if any(named) else numbers))
    if wanted == "cuda":
        raise UserError("--device cuda: torch finds no CUDA device", "try --device cpu")
    return Devices("cpu")


def jobs_at_once(
    devices: Devices, cores: int, workers: int | None, gpus_per_trial: float | None
) -> int:
    """Return how many jobs run at once: `workers`, else one a core, or a GPU, or a part of one.

    `gpus_per_trial`, in (0, 1], bounds `workers`. Raises `UserError` for it on the CPU.
    """
    if not devices.gpus:
        if gpus_per_trial is not None:
            raise UserError("--gpus-per-trial: jobs run on the CPU here", "leave it out")
        return workers or cores
    if gpus_per_trial is None:
        return workers or len(devices.gpus)
    # 1 / 0.1 is no whole number in floats
    room = len(devices.gpus) * int(1 / gpus_per_trial + 1e-9)
    return min(workers or room, room)


def gpu_of(slot: int, gpus: tuple[str, ...]) -> str:
    """Return the GPU of a slot: every GPU gets its first job before any gets a second."""
    return gpus[slot % len(gpus)]
