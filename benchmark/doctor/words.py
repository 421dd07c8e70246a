"""A diagnosis as text. No torch."""

from __future__ import annotations

from collections.abc import Iterator

from benchmark.doctor.diagnosis import Diagnosis
from benchmark.doctor.forecast import Forecast
from benchmark.doctor.machine import Machine, Prepared
from benchmark.estimate import in_words


def lines(found: Diagnosis) -> Iterator[str]:
    """Yield what a person reads, line by line."""
    machine = found.machine
    yield f"system      {machine.system}, Python {machine.python}, torch {machine.torch}"
    bfloat = "bfloat16" if machine.bfloat16 else "no bfloat16 (precision `auto` is float32)"
    yield f"processor   {machine.processor}, {_cores(machine)}, {bfloat}"
    busy = ": something else is running" if machine.busy else ""
    yield f"load        {machine.load:.1f}{busy}"
    yield f"memory      {_gib(machine.memory_mib)}, {_gib(machine.memory_free_mib)} free"
    yield f"devices     {', '.join(found.devices) or 'no CUDA device: jobs run on the CPU'}"
    jobs = "job" if found.workers == 1 else "jobs"
    yield f"at once     {found.workers} {jobs} of one thread (--workers, --set run.threads=N)"
    for label, place in (("cache", found.cache), ("results", found.out)):
        yield f"{label:<12}{place.folder}, {_gib(place.free_mib)} free"
    yield from _data(found)
    yield f"plugins     {found.plugins} components"
    yield ""
    yield f"`bench run --preset NAME` with all {len(_defenses(found))} defenses, estimated from a"
    yield "few seconds of training, within a factor of two if nothing else runs:"
    yield from map(_preset, found.presets)
    if found.problems:
        yield ""
        yield from (f"problem: {problem}" for problem in found.problems)
    else:
        yield "nothing stands in the way"


def _cores(machine: Machine) -> str:
    fewer = machine.cores < machine.cores_visible
    return f"{machine.cores} {f'of {machine.cores_visible} ' if fewer else ''}cores to use"


def _data(found: Diagnosis) -> Iterator[str]:
    """Say of each data set that a preset uses whether it lies ready, and what else does."""
    ready = {one.name: one for one in found.datasets}
    at_once = {one.folder: one for one in found.datasets}
    wanted = {one.dataset: one for one in found.presets if one.dataset}
    for name, preset in wanted.items():
        if preset.dataset_folder in at_once:
            yield f"data        {name}: ready ({_counts(at_once[preset.dataset_folder])})"
        elif name in ready:
            counts = _counts(ready[name])
            yield f"data        {name}: ready from other files, options or versions ({counts})"
            yield f"            as the preset has it: not here yet ({preset.dataset_about})"
        else:
            yield f"data        {name}: not here yet ({preset.dataset_about})"
    for name in ready.keys() - wanted.keys():
        yield f"data        {name}: ready ({_counts(ready[name])})"


def _counts(one: Prepared) -> str:
    images = f"{one.train_images} training and {one.test_images} test images"
    return f"{images}, {one.mib:.0f} MiB"


def _defenses(found: Diagnosis) -> tuple[str, ...]:
    return max((one.defenses for one in found.presets), key=len, default=())


def _preset(one: Forecast) -> str:
    if one.problem:
        return f"  {one.preset:<14}cannot be run"
    time = "no estimate" if one.seconds is None else f"about {in_words(one.seconds)}"
    return f"  {one.preset:<14}{time} ({one.victims} victims, {one.trials} trials)"


def _gib(mib: float) -> str:
    return f"{mib / 1024:.1f} GiB"
