"""A data set and a model so small that a check takes seconds; only the kit loads them. No torch.

16×16 images of noise in three classes: the class is a slight tint.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import benchmark
from benchmark.contracts import ImageSet, LoadedDataset
from benchmark.hookspecs import hookimpl
from benchmark.loading.origin import Origin
from benchmark.specs import DatasetSpec, ModelSpec, Options
from benchmark.types import DatasetInfo

if TYPE_CHECKING:
    from torch import nn

INFO = DatasetInfo(num_classes=3, image_size=(16, 16))
DATASET, MODEL = "kit-tints", "kit-convolutions"
ORIGIN = Origin("builtin", __name__, distribution_version=benchmark.__version__)


class Tints:
    """Makes the images from fixed seeds."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def fingerprint_inputs(self, data_dir: Path | None, cache_dir: Path) -> str:
        """Return a constant: there are no files."""
        return "made from seeds"

    def load(self, data_dir: Path | None, cache_dir: Path) -> LoadedDataset:
        """Return 400 training and 250 test images."""
        return LoadedDataset(_tinted(400, 1), _tinted(250, 2), ("red", "green", "blue"))


def _tinted(count: int, seed: int) -> ImageSet:
    import torch

    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(40, 160, (count, 3, *INFO.image_size), generator=generator)
    labels = torch.randint(0, INFO.num_classes, (count,), generator=generator)
    images[torch.arange(count), labels] += 50
    return ImageSet(images.byte(), labels)


class Convolutions:
    """Two convolutions with batch norm, and a linear layer on what is left of the places."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def build(self, info: DatasetInfo) -> nn.Module:
        """Return an untrained network: (batch, 3, height, width) to (batch, classes)."""
        from torch import nn

        return nn.Sequential(
            *(nn.Conv2d(3, 12, 3, bias=False), nn.BatchNorm2d(12), nn.ReLU()),
            *(nn.Conv2d(12, 24, 3, stride=2, bias=False), nn.BatchNorm2d(24), nn.ReLU()),
            *(nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(96, info.num_classes)),
        )


@hookimpl
def bench_datasets() -> list[DatasetSpec]:
    """Offer the images."""
    return [DatasetSpec(DATASET, "1", "three tints of noise", INFO, Tints)]


@hookimpl
def bench_models() -> list[ModelSpec]:
    """Offer the network."""
    return [ModelSpec(MODEL, "1", "two convolutions", Convolutions)]
