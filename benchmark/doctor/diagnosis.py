"""Everything that `bench doctor` says, as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmark.doctor.forecast import Forecast, Speed, forecast_all
from benchmark.doctor.machine import (
    Machine,
    Place,
    Prepared,
    look_at_machine,
    look_at_place,
    prepared_datasets,
)
from benchmark.plugins import Plugins, load_plugins

_LEAST_FREE_MIB = 1024
_LEAST_MEMORY_MIB = 1024
"""For each job at once: torch alone takes about half of it."""


@dataclass(frozen=True)
class Diagnosis:
    """What was found."""

    machine: Machine
    devices: tuple[str, ...]
    """Names of the CUDA devices."""
    workers: int
    """Jobs that `bench run` does at once here unless it is told otherwise."""
    cache: Place
    out: Place
    datasets: tuple[Prepared, ...]
    plugins: int
    problems: tuple[str, ...]
    presets: tuple[Forecast, ...]

    def as_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        plain = asdict(self)
        for place in ("cache", "out"):
            plain[place]["folder"] = str(plain[place]["folder"])
        return plain


def diagnose(out: Path, cache: Path, seconds: float = 1.0) -> Diagnosis:
    """Look at machine, folders and plugins, and train for about `seconds` for each architecture."""
    places = look_at_place(cache), look_at_place(out)
    plugins = load_plugins()
    machine = look_at_machine()

    from benchmark.doctor.calibrate import cuda_devices, training_rate

    devices = cuda_devices()
    device = "cuda" if devices else "cpu"
    workers = len(devices) or machine.cores
    speed = Speed(device, workers, machine.cores)
    presets = forecast_all(plugins, speed, lambda config: training_rate(config, device, seconds))
    return Diagnosis(
        machine=machine,
        devices=tuple(devices),
        workers=workers,
        cache=places[0],
        out=places[1],
        datasets=tuple(prepared_datasets(cache)),
        plugins=sum(1 for _ in plugins.offers()),
        problems=tuple(_problems(machine, workers, places, plugins, presets)),
        presets=tuple(presets),
    )


def _problems(
    machine: Machine,
    workers: int,
    places: Sequence[Place],
    plugins: Plugins,
    presets: Sequence[Forecast],
) -> Iterator[str]:
    for place in places:
        if not place.writable:
            yield f"{place.folder} cannot be written to; name another folder"
        elif place.free_mib < _LEAST_FREE_MIB:
            yield f"only {place.free_mib} MiB are free for {place.folder}"
    if machine.memory_mib / workers < _LEAST_MEMORY_MIB:
        share = machine.memory_mib // workers
        yield f"{workers} jobs at once have {share} MiB each; use a smaller --workers"
    yield from (f"broken plugin: {fault.origin}: {fault.error}" for fault in plugins.faults)
    yield from map(str, plugins.collisions)
    yield from (f"preset {one.preset}: {one.problem}" for one in presets if one.problem)
