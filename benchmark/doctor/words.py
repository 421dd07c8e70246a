"""A diagnosis as text. No torch."""

from __future__ import annotations

from collections.abc import Iterator

from benchmark.doctor.diagnosis import Diagnosis
from benchmark.doctor.forecast import Forecast
from benchmark.doctor.machine import Machine
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
    """Say of each data set that a preset uses whether it lies ready."""
    ready = {one.name: one for one in found.datasets}
    wanted = {one.dataset: one.dataset_about for one in found.presets if one.dataset}
    for name in [*wanted, *(ready.keys() - wanted.keys())]:
        if name in ready:
            one = ready[name]
            counts = f"{one.train_images} training and {one.test_images} test images"
            yield f"data        {name}: ready ({counts}, {one.mib:.0f} MiB)"
        else:
            yield f"data        {name}: not here yet ({wanted[name]})"


def _defenses(found: Diagnosis) -> tuple[str, ...]:
    return max((one.defenses for one in found.presets), key=len, default=())


def _preset(one: Forecast) -> str:
    if one.problem:
        return f"  {one.preset:<14}cannot be run"
    time = in_words(one.seconds) if one.seconds is not None else "not known"
    return f"  {one.preset:<14}about {time} ({one.victims} victims, {one.trials} trials)"


def _gib(mib: float) -> str:
    return f"{mib / 1024:.1f} GiB"
