"""Everything that `bench doctor` says, as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmark.config import Config
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
_LONGEST = 200
"""Characters of what torch says of a device."""


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

    devices, trouble = _devices()
    device = "cuda" if devices else "cpu"
    workers = len(devices) or machine.cores
    speed = Speed(device, workers, machine.cores)
    unfit: dict[str, list[str]] = {}
    presets = forecast_all(plugins, speed, partial(_rate, device, seconds, unfit), cache)
    name = f"cuda ({devices[0]})" if devices else "the CPU"
    return Diagnosis(
        machine=machine,
        devices=devices,
        workers=workers,
        cache=places[0],
        out=places[1],
        datasets=tuple(prepared_datasets(cache)),
        plugins=sum(1 for _ in plugins.offers()),
        problems=(
            *_problems(machine, workers, places, plugins, presets),
            *trouble,
            *(f"{name} cannot train {', '.join(which)}: {why}" for why, which in unfit.items()),
        ),
        presets=tuple(presets),
    )


def _devices() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the CUDA devices, and the problem if they cannot be asked for."""
    from benchmark.doctor.calibrate import cuda_devices

    try:
        return tuple(cuda_devices()), ()
    except Exception as error:  # of the card, the driver or torch: the diagnosis goes on
        said = f"the CUDA devices cannot be used: {_reason(error)}"
        return (), (f"{said}; the times are the CPU's (--device cpu)",)


def _rate(device: str, seconds: float, unfit: dict[str, list[str]], config: Config) -> float:
    """Return the images a second of one job; 0, and in `unfit` why, if the device cannot do it."""
    from benchmark.doctor.calibrate import training_rate

    try:
        return training_rate(config, device, seconds)
    except Exception as error:
        unfit.setdefault(_reason(error), []).append(config.model.spec.name)
        return 0.0


def _reason(error: Exception) -> str:
    """Return the first line of what torch says, which may go on with advice for its developers."""
    return f"{type(error).__name__}: {error}".partition("\n")[0][:_LONGEST]


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
