"""Finding and reading parquet shards in the layouts in which dataset hubs publish images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmark.builtin.datasets.cifar_layout import CifarLayout
from benchmark.builtin.datasets.files import stamp, unreadable
from benchmark.errors import UserError

if TYPE_CHECKING:
    from benchmark.contracts import ImageSet, LoadedDataset

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
Shards = dict[Split, list[Path]]
_NUMBER = r"(?P<number>\d+)(?:-of-(?P<total>\d+))?(?:-[0-9a-f]+)?\.parquet"


@dataclass(frozen=True)
class ParquetShards:
    """Complete lists of shards for both splits."""

    layout: CifarLayout
    shards: Shards

    def key(self) -> str:
        """Return a key of the shards. Raises `UserError` if one is no parquet file of this set."""
        from benchmark.builtin.datasets.parquet_shard import check_shard

        for shards in self.shards.values():
            for path in shards:
                check_shard(self.layout, path)
        return ",".join(f"{split}:{stamp(self.shards[split])}" for split in SPLITS)

    def load(self, cache_dir: Path) -> LoadedDataset:
        """Decode. Raises `UserError` naming the first shard that is damaged, and the row."""
        from benchmark.contracts import LoadedDataset

        train, test = (self._split(split) for split in SPLITS)
        return LoadedDataset(train, test, self.layout.class_names)

    def _split(self, split: Split) -> ImageSet:
        import numpy as np

        from benchmark.builtin.datasets.arrays import image_set, require_every_class
        from benchmark.builtin.datasets.parquet_shard import read_shard

        parts = [read_shard(self.layout, path) for path in self.shards[split]]
        images, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
        loaded = image_set(images, labels)
        folder = self.shards[split][0].parent
        require_every_class(loaded, self.layout.class_names, f"the {split} split in {folder}")
        return loaded


def find_shards(data_dir: Path, name: str) -> Shards | None:
    """Return the shards of both splits, in order; None if there are none at all.

    Looks in `data_dir`, in its subfolders `data` and `name`, then in its other subfolders; the
    shards of a split may be in a folder `train` or `test` of their own. Raises `UserError` if a
    shard or a split is missing, or if it is not clear which of several folders is meant.
    """
    for folder in (data_dir, data_dir / "data", data_dir / name):
        if any(_listed(folder, split) for split in SPLITS):
            return _complete(folder)
    others = [folder for folder in _subfolders(data_dir) if any(_listed(folder, s) for s in SPLITS)]
    if len(others) > 1:
        names = ", ".join(folder.name for folder in others)
        raise UserError(f"{data_dir} holds shards in {names}", "point --data-dir at one of them")
    return _complete(others[0]) if others else None


def _complete(folder: Path) -> Shards:
    return {split: _in_order(folder, split, _listed(folder, split)) for split in SPLITS}


def _in_order(folder: Path, split: Split, found: list[tuple[re.Match[str], Path]]) -> list[Path]:
    """Return the shards 0 to N - 1. Raises `UserError` if any is missing or there are two."""
    if not found:
        raise UserError(f"{folder} has no {split}-*-of-*.parquet", "download all shards")
    totals = {int(match["total"]) if match["total"] else len(found) for match, _ in found}
    if len(totals) > 1:
        raise UserError(
            f"{folder} mixes {split} shards of {' and '.join(map(str, sorted(totals)))}",
            "keep those of one download",
        )
    numbers = {int(match["number"]): path for match, path in found}
    total = totals.pop()
    missing = sorted(set(range(total)) - set(numbers))
    if missing:
        shard = f"{split} shard {missing[0]:05d}-of-{total:05d}"
        raise UserError(f"{shard} is missing in {folder}", "download all shards")
    if len(found) != total:
        raise UserError(f"{folder} has {len(found)} {split} shards, not {total}", "remove copies")
    return [numbers[number] for number in range(total)]


def _listed(folder: Path, split: Split) -> list[tuple[re.Match[str], Path]]:
    """Return the split's files in the folder, or else in the folder's folder of the split."""
    return list(_matching(folder, rf"{split}-{_NUMBER}")) or list(
        _matching(folder / split, rf"(?:{split}-|data-|part-)?{_NUMBER}")
    )


def _matching(folder: Path, pattern: str) -> Iterator[tuple[re.Match[str], Path]]:
    for path in _entries(folder):
        match = re.fullmatch(pattern, path.name)
        if match:
            yield match, path


def _subfolders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir()]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise unreadable(folder, error) from error
