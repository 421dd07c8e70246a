"""Prepared data sets: decoded once, kept as safetensors in the cache, checked when read.

Importing this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtyping import Int64
from pydantic import BaseModel

from benchmark.data_cache import (
    SPLITS,
    SplitName,
    publish,
    read_meta,
    split_path,
    staging,
    write_meta,
    write_split,
)
from benchmark.errors import UserError
from benchmark.identity import identity
from benchmark.specs import DatasetSpec
from benchmark.types import DatasetInfo

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.contracts import DatasetSource, ImageSet
else:  # annotations are strings; torch must not be imported to plan a run
    Tensor = object

IndexTensor = Int64[Tensor, " count"]
Channels = tuple[float, float, float]
_FORMAT = 1


@dataclass(frozen=True)
class PreparedDataset:
    """A decoded data set in the cache: plain data, cheap to hand to another process."""

    name: str
    folder: Path
    info: DatasetInfo
    fingerprint: str
    """SHA-256 of the pixels and labels of both splits, 20 digits; however they were packed."""
    mean: Channels
    """Of the training pixels, each channel, in [0, 1]."""
    std: Channels
    """Likewise; at least one grey level, 1/255."""
    train_count: int
    test_count: int
    class_names: tuple[str, ...]


def prepare(
    spec: DatasetSpec,
    options: BaseModel,
    data_dir: Path | None,
    cache_dir: Path,
    decoding: Callable[[Callable[[], None]], None] = lambda work: work(),
    *,
    code: str = "",
) -> PreparedDataset:
    """Return the prepared data set, decoding it if the cache has no sound copy.

    `decoding` is handed that work, which takes seconds to minutes and imports torch; it must have
    it done, here or in another process. `code` is the digest of the plugin file that the data set
    comes from, if it comes from one: another file, or the same one edited, may make other images.
    Safe when several processes prepare the same data set: whoever comes second uses what the
    first one wrote. Raises `UserError`, naming the file, if a file of the source is missing or
    damaged, if the source breaks its contract, or if the cache cannot be written.
    """
    source = spec.factory(options)
    files = source.fingerprint_inputs(data_dir, cache_dir)
    folder = cache_dir.absolute() / "datasets" / _folder_name(spec, options, files, code)
    found = _open(folder)
    if found is not None:
        return found
    with staging(folder):
        pass  # a cache that cannot be written is refused before the work, not after it
    decoding(lambda: _decode(spec, source, data_dir, folder))
    found = _open(folder)
    if found is None:
        raise UserError(
            f"{folder} is damaged, or not there, just after it was written", "check the disk"
        )
    return found


def place_without_files(spec: DatasetSpec, options: BaseModel, cache_dir: Path) -> str:
    """Return the name of the folder in which `prepare` looks for what has no `--data-dir`.

    Raises `UserError` if the data set cannot be had without.
    """
    files = spec.factory(options).fingerprint_inputs(None, cache_dir)
    return _folder_name(spec, options, files)


def _folder_name(spec: DatasetSpec, options: BaseModel, files: str, code: str = "") -> str:
    payload = {
        "format": _FORMAT,
        "version": spec.version,
        "options": options.model_dump(mode="json"),
        "files": files,
        **({"code": code} if code else {}),
    }
    key = identity("prepared", {"name": spec.name, **payload})
    return f"{spec.name}-{key}"


def _decode(spec: DatasetSpec, source: DatasetSource, data_dir: Path | None, folder: Path) -> None:
    from benchmark.data_summary import describe, packed

    data = source.load(data_dir, folder.parents[1])
    meta = describe(spec, data)
    with staging(folder) as scratch:
        for split in SPLITS:
            meta["splits"][split] |= write_split(scratch, split, packed(getattr(data, split)))
        write_meta(scratch, meta)
        publish(scratch, folder, lambda: _open(folder) is not None)


def load_split(prepared: PreparedDataset, split: SplitName) -> ImageSet:
    """Return one split: uint8 images (count, 3, height, width) and int64 labels (count,).

    Raises `UserError` if the file in the cache is gone or damaged; the next run prepares it anew.
    """
    from safetensors.torch import load_file

    from benchmark.contracts import ImageSet

    path = split_path(prepared.folder, split)
    meta = read_meta(prepared.folder, (split,))
    if meta is None or meta["fingerprint"] != prepared.fingerprint:
        raise UserError(f"{path} is gone or damaged", "start again, and it is made anew")
    tensors = load_file(path)
    return ImageSet(tensors["images"], tensors["labels"])


def split_test(
    count: int, seed: int, defense_fraction: float = 0.8
) -> tuple[IndexTensor, IndexTensor]:
    """Return indices into the test set: those of the defense, and those for scoring.

    A random permutation of 0 to `count` - 1, cut in two: disjoint, complete, decided by `seed`
    alone. Raises `ValueError` if a part would be empty.
    """
    import torch

    cut = round(count * defense_fraction)
    if not 0 < cut < count:
        raise ValueError(f"{defense_fraction} of {count} images leaves one part empty")
    order = torch.randperm(count, generator=torch.Generator("cpu").manual_seed(seed))
    return order[:cut], order[cut:]


def _open(folder: Path) -> PreparedDataset | None:
    """Return what is in the folder, or None if it is not there or not sound."""
    meta = read_meta(folder, SPLITS)
    try:
        return None if meta is None else _prepared(folder, meta)
    except (KeyError, TypeError):
        return None


def _prepared(folder: Path, meta: dict[str, Any]) -> PreparedDataset:
    return PreparedDataset(
        name=meta["name"],
        folder=folder,
        info=DatasetInfo(meta["num_classes"], tuple(meta["image_size"])),
        fingerprint=meta["fingerprint"],
        mean=tuple(meta["mean"]),
        std=tuple(meta["std"]),
        train_count=meta["splits"]["train"]["count"],
        test_count=meta["splits"]["test"]["count"],
        class_names=tuple(meta["class_names"]),
    )
