"""How long each preset takes on this machine: an estimate. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmark.config import Config, Request, resolve
from benchmark.data import place_without_files
from benchmark.errors import UserError
from benchmark.estimate import START_S
from benchmark.plugins import Plugins
from benchmark.preset import preset_names

REFERENCE_CORES = 2
REFERENCE_RATE = {
    "quick": 1400.0,  # as the next, in bfloat16, which `auto` means there
    "cifar10-cpu": 620.0,
    "cifar100-cpu": 620.0,
    "cifar10-bw": 44.0,
    "cifar10-rgb": 44.0,
    "cifar100-rgb": 44.0,
}
"""Preset → images a second on one core of the machine that its `[estimate]` was made for."""

_MOST_CORES = 8
"""More than so many cores hardly make the training of one small base model any faster."""


@dataclass(frozen=True)
class Forecast:
    """What `bench run --preset NAME` would do here, and how long that takes."""

    preset: str
    dataset: str
    dataset_about: str
    victims: int
    trials: int
    defenses: tuple[str, ...]
    images_per_second: float
    """Measured here, for one job; 0 if it could not be measured."""
    seconds: float | None
    """Estimated for the whole run; None if it could not be estimated."""
    problem: str = ""
    """Why the preset cannot be run here at all."""
    dataset_folder: str = ""
    """Name of the folder in which the run, without `--data-dir`, looks for its prepared data."""


@dataclass(frozen=True)
class Speed:
    """What a run has to work with."""

    device: str
    workers: int
    cores: int


Rate = Callable[[Config], float]
"""Measures the images a second of one job of a run; 0 if it cannot."""


def forecast_all(plugins: Plugins, speed: Speed, rate: Rate, cache: Path) -> list[Forecast]:
    """Return a forecast of each preset, with all installed defenses, where that is the cache."""
    measured: dict[str, float] = {}

    def once(config: Config) -> float:
        size = config.dataset.spec.info.image_size
        key = repr((config.model.component(), config.recipe.precision, size))
        if key not in measured:
            measured[key] = rate(config)
        return measured[key]

    return [_forecast(name, plugins, speed, once, cache) for name in preset_names()]


def _forecast(name: str, plugins: Plugins, speed: Speed, rate: Rate, cache: Path) -> Forecast:
    try:
        config = resolve(Request(preset=name), plugins)
        dataset_folder = place_without_files(config.dataset.spec, config.dataset.options, cache)
    except UserError as error:
        return Forecast(name, "", "", 0, 0, (), 0.0, None, str(error))
    info = config.dataset.spec.info
    victims = sum(len(one.spec.instances(one.options, info)) for one in config.attacks)
    trials = victims * len(config.defenses)
    here = rate(config)
    reference = REFERENCE_RATE.get(name)
    return Forecast(
        preset=name,
        dataset=config.dataset.spec.name,
        dataset_about=config.dataset.spec.summary,
        victims=victims,
        trials=trials,
        defenses=tuple(one.spec.name for one in config.defenses),
        images_per_second=here,
        seconds=(
            _seconds(config, victims, trials, reference / here, speed)
            if reference and here
            else None
        ),
        dataset_folder=dataset_folder,
    )


def _seconds(config: Config, victims: int, trials: int, slower: float, speed: Speed) -> float:
    """Scale the preset's own figures; `slower` is 1 for the speed of the machine they are of.

    A base model has the whole machine to itself, as it had both cores there.
    """
    figures = config.preset.estimate
    cores = 1 if speed.device == "cuda" else min(speed.cores, _MOST_CORES)
    base = START_S + (figures.base - START_S) * slower * REFERENCE_CORES / cores
    victim, trial = (
        START_S + (each - START_S) * slower for each in (figures.victim, figures.trial)
    )
    together = victims * victim + trials * trial
    # However many workers there are, a trial waits for its attack.
    return base + max(together / speed.workers, victim + trial)
