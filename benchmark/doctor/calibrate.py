"""A few seconds of training, to compare this machine with the one of the presets' estimates."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import nn

from benchmark.building import build
from benchmark.config import Config
from benchmark.primitives import arithmetic, fast_convolutions

_BATCH = {"cpu": 16, "cuda": 256}
_LEAST_STEPS = 2


def cuda_devices() -> list[str]:
    """Return the names of the CUDA devices that torch finds."""
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def training_rate(config: Config, device: str, seconds: float) -> float:
    """Return how many images a second a job of the run would train on: forward and backward.

    On the CPU with one thread, as a job has by default, and of this process's own time, so that
    what else runs here is left out of it. Takes about `seconds`, and at least two batches.
    """
    where, info, batch = torch.device(device), config.dataset.spec.info, _BATCH[device]
    precision, threads = config.recipe.precision, torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            network = build(config.model.component()).build(info).to(where)
            images = torch.rand(batch, 3, *info.image_size).to(where)
        network.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
        labels = torch.zeros(batch, dtype=torch.int64, device=where)

        def step() -> None:
            with arithmetic(where, precision), fast_convolutions(precision):
                loss = nn.functional.cross_entropy(network(images), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            if device == "cuda":
                torch.cuda.synchronize()

        step()  # the first one also chooses algorithms and takes memory
        clock = time.perf_counter if device == "cuda" else time.process_time
        return batch * _steps_a_second(step, clock, seconds)
    finally:
        torch.set_num_threads(threads)


def _steps_a_second(step: Callable[[], None], clock: Callable[[], float], seconds: float) -> float:
    started, steps = clock(), 0
    while steps < _LEAST_STEPS or clock() - started < seconds:
        step()
        steps += 1
    return steps / (clock() - started)
