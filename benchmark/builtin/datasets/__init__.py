"""The shipped data sets: one that is made on first use, and CIFAR. No torch here."""

from __future__ import annotations

from benchmark.builtin.datasets.cifar import Cifar
from benchmark.builtin.datasets.cifar_layout import CIFAR10, CIFAR100, CifarLayout
from benchmark.builtin.datasets.digits import Digits, DigitsOptions
from benchmark.builtin.datasets.own.options import FilesOptions
from benchmark.builtin.datasets.own.source import Files, look
from benchmark.specs import DatasetSpec
from benchmark.types import DatasetInfo


def _cifar(layout: CifarLayout, summary: str) -> DatasetSpec:
    return DatasetSpec(
        name=layout.name,
        version="1",
        summary=summary,
        info=DatasetInfo(num_classes=len(layout.class_names), image_size=(32, 32)),
        factory=lambda options: Cifar(layout),
        paper="https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf",
    )


DATASETS: list[DatasetSpec] = [
    DatasetSpec(
        name="digits",
        version="1",
        summary="Handwritten digits over photographs (the MNIST-M recipe), made on first use",
        info=DatasetInfo(num_classes=10, image_size=(32, 32)),
        factory=Digits,
        options=DigitsOptions,
        paper="https://arxiv.org/abs/1505.07818",
    ),
    _cifar(CIFAR10, "CIFAR-10: downloaded, or from --data-dir (official archive or parquet)"),
    _cifar(CIFAR100, "CIFAR-100: downloaded, or from --data-dir (official archive or parquet)"),
    DatasetSpec(
        name="files",
        version="2",
        summary="your own images, from --data-dir: class folders, an .npz file, or parquet files",
        info=DatasetInfo(num_classes=0, image_size=(0, 0)),
        factory=Files,
        options=FilesOptions,
        look=look,
    ),
]
