"""What a job has besides its inputs: device, seeded generators, budget, progress, diagnostics."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.identity import derive_seed


@dataclass
class Meter:
    """Counts images that went forward and backward through a classifier."""

    forward_images: int = 0
    backward_images: int = 0

    def attach(self, model: nn.Module) -> nn.Module:
        """Count every batch through `model` from now on, and through its deep copies; return it.

        Hooks are copied by `copy.deepcopy` together with the model, so a defense that works on a
        copy is still counted.
        """
        model.register_forward_hook(self._hook)
        return model

    def count(self, logits: Tensor) -> Tensor:
        """Count a batch that went forward to `logits`, and backward if it does; return it."""
        count = logits.shape[0]
        self.forward_images += count
        if logits.requires_grad:
            logits.register_hook(lambda _grad: self._count_backward(count))  # type: ignore[no-untyped-call]
        return logits

    def __deepcopy__(self, _memo: dict[int, object]) -> Meter:
        """Return itself: a model's copy counts on the meter of the original."""
        return self

    def _hook(self, _module: nn.Module, _inputs: tuple[Tensor, ...], logits: Tensor) -> None:
        self.count(logits)

    def _count_backward(self, count: int) -> None:
        self.backward_images += count


@dataclass
class RunContext:
    """Handed to every attack and defense.

    `device`: where tensors and models live. `seed`: this job's seed; draw from `generator`, never
    from torch's global one. `deadline`: `time.monotonic()` at which the harness ends the job.
    """

    device: torch.device
    seed: int
    deadline: float | None = None
    meter: Meter = field(default_factory=Meter)
    series: list[dict[str, float | int | str]] = field(default_factory=list)
    progress_file: Path | None = None
    series_file: Path | None = None
    _last_progress: float = field(default=0.0, repr=False)

    def generator(self, *axes: str | int) -> torch.Generator:
        """Return a fresh generator on the run's device, seeded by the job's seed and `axes`."""
        generator = torch.Generator(device=self.device)
        generator.manual_seed(derive_seed(self.seed, *axes))
        return generator

    @contextmanager
    def seeded(self, *axes: str | int) -> Iterator[None]:
        """Seed torch's global generators inside the block, for code that draws from them.

        Initialising layers does; the generators' state is put back afterwards.
        """
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(derive_seed(self.seed, *axes))
            yield

    def seconds_left(self) -> float | None:
        """Return the seconds until the job is ended, or None without a limit."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def progress(self, step: int, total: int, text: str) -> None:
        """Say that `step` of `total` is done; shown live, at most five times a second."""
        now = time.monotonic()
        if self.progress_file is None or (now - self._last_progress < 0.2 and step < total):
            return
        self._last_progress = now
        told = {"step": _plain("step", step), "total": _plain("total", total), "text": text}
        line = json.dumps(told)
        temporary = self.progress_file.with_suffix(".new")
        temporary.write_text(line, encoding="utf-8")
        temporary.replace(self.progress_file)

    def record(self, series: str, **values: float | int | str) -> None:
        """Keep one row of diagnostics with the trial, under the name `series`, also if it fails.

        A tensor or array of one number counts as that number (on a GPU it is waited for). Raises
        `TypeError` for what is neither number nor text.
        """
        plain = {name: _plain(name, value) for name, value in values.items()}
        row = {"series": series, **plain}
        self.series.append(row)
        if self.series_file is not None:
            # At once: of a job that fails or is ended, its curves are what tells why.
            with self.series_file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def _plain(name: str, value: Any) -> float | int | str:
    """Return a number or a text of Python's own."""
    found = value
    if hasattr(value, "item"):
        with suppress(ValueError, RuntimeError):  # it has several elements, or none
            found = value.item()
    if not isinstance(found, float | int | str):
        raise TypeError(f"{name} is a {type(value).__name__}, which is no number and no text")
    return found
