"""What is noted of a data set when it is prepared: fingerprint, channel statistics, counts."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from benchmark.contracts import ImageSet, LoadedDataset
from benchmark.errors import UserError
from benchmark.specs import DatasetSpec

_BLOCK = 4096
"""Images counted at a time, which bounds the memory that counting takes."""


def describe(spec: DatasetSpec, data: LoadedDataset) -> dict[str, Any]:
    """Return the description as plain JSON data.

    Raises `UserError`, naming the data set, if `data` is not what the spec and the contract say.
    """
    for where, split in (("training", data.train), ("test", data.test)):
        _require_contract(spec, split, where)
    mean, std = channel_statistics(data.train)
    return {
        "name": spec.name,
        "num_classes": spec.info.num_classes,
        "image_size": list(spec.info.image_size),
        "fingerprint": fingerprint(data),
        "mean": mean,
        "std": std,
        "class_names": list(data.class_names),
        "splits": {
            "train": {"count": len(data.train.labels)},
            "test": {"count": len(data.test.labels)},
        },
    }


def packed(split: ImageSet) -> bytes:
    """Return the safetensors file of a split."""
    return save({"images": split.images.contiguous(), "labels": split.labels.contiguous()})


def fingerprint(data: LoadedDataset) -> str:
    """Return 20 hexadecimal digits of the SHA-256 of all pixels and labels, in order."""
    digest = hashlib.sha256()
    for split in (data.train, data.test):
        digest.update(split.images.contiguous().numpy().data)
        digest.update(split.labels.numpy().astype("<i8").data)
    return digest.hexdigest()[:20]


def channel_statistics(split: ImageSet) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each channel, in [0, 1], from exact integer sums.

    The deviation is at least 1/255, so that it can be divided by.
    """
    levels = np.arange(256)
    mean, std = [], []
    for channel in range(3):
        counts = _histogram(split, channel)
        total, first, second = (int((counts * levels**power).sum()) for power in range(3))
        mean.append(first / total / 255)
        std.append(max(math.sqrt(second * total - first**2) / total, 1) / 255)
    return mean, std


def _histogram(split: ImageSet, channel: int) -> np.ndarray:
    counts = np.zeros(256, dtype=np.int64)
    pixels = split.images[:, channel].numpy()
    for start in range(0, len(pixels), _BLOCK):
        counts += np.bincount(pixels[start : start + _BLOCK].ravel(), minlength=256)
    return counts


def _require_contract(spec: DatasetSpec, split: ImageSet, where: str) -> None:
    images, labels = split.images, split.labels
    told = f"data set {spec.name!r}: its {where}"
    if images.dtype != torch.uint8 or images.shape[1:] != (3, *spec.info.image_size):
        raise UserError(
            f"{told} images are {images.dtype} of shape {tuple(images.shape)}, not torch.uint8 "
            f"of (count, 3, {spec.info.image_size[0]}, {spec.info.image_size[1]})"
        )
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1] or not len(labels):
        raise UserError(f"{told} labels are not one torch.int64 for each of {len(images)} images")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= spec.info.num_classes:
        raise UserError(
            f"{told} labels go from {low} to {high}, not 0 to {spec.info.num_classes - 1}"
        )
