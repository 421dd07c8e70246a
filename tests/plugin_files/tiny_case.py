"""A data set and a model so small that a whole run takes seconds, and defenses to run on them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pydantic import Field

from benchmark.api import (
    DatasetInfo,
    DatasetSpec,
    DefenseSpec,
    ImageSet,
    Knowledge,
    LoadedDataset,
    ModelSpec,
    Options,
    Outcome,
    View,
    hookimpl,
)

INFO = DatasetInfo(num_classes=3, image_size=(16, 16))


class Tiny:
    """Grey noise of little contrast; the mean colour tells the class."""

    def __init__(self, options: Any) -> None:
        self.options = options

    def fingerprint_inputs(self, data_dir: Path | None, cache_dir: Path) -> str:
        return "made from a seed"

    def load(self, data_dir: Path | None, cache_dir: Path) -> LoadedDataset:
        return LoadedDataset(self.split(240, 1), self.split(150, 2), ("red", "green", "blue"))

    def split(self, count: int, seed: int) -> ImageSet:
        import torch

        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(count) % 3
        images = torch.randint(100, 140, (count, 3, 16, 16), generator=generator)
        images[torch.arange(count), labels] += 3
        return ImageSet(images.to(torch.uint8), labels)


class OneConv:
    """A 3×3 convolution, its highest and its mean answers, a linear layer."""

    def __init__(self, options: Any) -> None:
        self.options = options

    def build(self, info: DatasetInfo) -> Any:
        from torch import nn

        class Pool(nn.Module):
            def forward(self, x: Any) -> Any:
                import torch

                return torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1)

        parts = nn.Conv2d(3, 16, 3), nn.ReLU(), Pool(), nn.Linear(32, info.num_classes)
        return nn.Sequential(*parts)


class ShakeOptions(Options):
    """Options of the defenses that add noise."""

    scale: float = Field(0.5, ge=0, description="noise, as a part of each tensor's deviation")
    seconds: float = Field(0.0, ge=0, description="how long to sleep first")


class Shake:
    """Adds noise to the weights; draws what is random from the run's generator."""

    def __init__(self, options: ShakeOptions) -> None:
        self.options = options

    def repair(self, view: View, run: Any) -> Outcome:
        import copy

        import torch

        for step in range(round(self.options.seconds * 10)):
            run.progress(step, round(self.options.seconds * 10), "asleep")
            time.sleep(0.1)
        model, generator = copy.deepcopy(view.model), run.generator("noise")
        with torch.no_grad():
            for weight in model.parameters():
                noise = torch.randn(weight.shape, generator=generator)
                weight += self.options.scale * weight.std() * noise
        print(f"shaken by {self.options.scale}")
        return Outcome([model])


@hookimpl
def bench_datasets() -> list[DatasetSpec]:
    return [DatasetSpec("tiny", "1", "three colours", INFO, Tiny)]


@hookimpl
def bench_models() -> list[ModelSpec]:
    return [ModelSpec("one-conv", "1", "one convolution", OneConv)]


@hookimpl
def bench_defenses() -> list[DefenseSpec]:
    needs = frozenset({Knowledge.WEIGHTS})
    return [
        DefenseSpec(name, "1", "adds noise", Shake, ShakeOptions, needs)
        for name in ("shake", "rattle")
    ]
