"""The shipped data sets: one that is made on first use, and CIFAR. No torch here."""

from __future__ import annotations

from benchmark.builtin.datasets.digits_options import DigitsOptions
from benchmark.specs import DatasetSpec, lazy
from benchmark.types import DatasetInfo

DATASETS: list[DatasetSpec] = [
    DatasetSpec(
        name="digits",
        version="1",
        summary="Handwritten digits over photographs (MNIST-M recipe), made on first use",
        info=DatasetInfo(num_classes=10, image_size=(32, 32)),
        factory=lazy("benchmark.builtin.datasets.digits:Digits"),
        options=DigitsOptions,
        paper="https://arxiv.org/abs/1505.07818",
    ),
]
