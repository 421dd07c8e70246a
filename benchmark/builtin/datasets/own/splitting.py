"""Training and test images, where the source does not tell them apart; and what each must hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmark.builtin.datasets.own.options import FilesOptions
from benchmark.errors import UserError

Part = tuple[np.ndarray, np.ndarray]
"""Images, uint8 of shape (count, 3, height, width), and their class numbers."""


def split(
    parts: Mapping[str, tuple[np.ndarray, Sequence[int]]],
    names: Sequence[str],
    options: FilesOptions,
    where: Path,
) -> tuple[Part, Part]:
    """Return training and test part: those given, or `all` divided class by class.

    Raises `UserError` if a class has no image in a part.
    """
    if "all" in parts:
        images, numbers = parts["all"]
        labels = np.asarray(numbers)
        test = _held_back(labels, names, options, where)
        return (images[~test], labels[~test]), (images[test], labels[test])
    for part in ("train", "test"):
        _require_every_class(np.asarray(parts[part][1]), names, f"the {part} images of {where}")
    given = {part: (images, np.asarray(numbers)) for part, (images, numbers) in parts.items()}
    return given["train"], given["test"]


def _held_back(
    labels: np.ndarray, names: Sequence[str], options: FilesOptions, where: Path
) -> np.ndarray:
    """Return which images are held back: of each class the part asked for, and at least one."""
    _require_every_class(labels, names, str(where))
    chosen = np.zeros(len(labels), dtype=bool)
    for number, name in enumerate(names):
        members = np.flatnonzero(labels == number)
        if len(members) < 2:
            raise UserError(
                f"{where}: class {name} has one image; to hold one back takes two of each class"
            )
        count = min(max(1, round(len(members) * options.test_fraction)), len(members) - 1)
        order = np.random.default_rng([options.seed, number]).permutation(len(members))
        chosen[members[order[:count]]] = True
    return chosen


def _require_every_class(labels: np.ndarray, names: Sequence[str], where: str) -> None:
    counts = np.bincount(labels, minlength=len(names))
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    if empty:
        raise UserError(f"{where}: no image of class {', '.join(empty[:3])}")
