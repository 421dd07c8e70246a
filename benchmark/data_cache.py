"""The files of a prepared data set: written as a whole or not at all, checked when read. No torch.

A folder holds `train.safetensors`, `test.safetensors` and `meta.json`, which has their checksums.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import platformdirs

from benchmark.errors import UserError

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "test")
_META = "meta.json"
FILES = (_META, *(f"{split}.safetensors" for split in SPLITS))
"""Everything in the folder of a prepared data set."""
_ATTEMPTS = 10
_STALE_SECONDS = 24 * 3600


def cache_dir() -> Path:
    """Return the folder of prepared data sets; $BENCH_CACHE_DIR overrides the system's."""
    given = os.environ.get("BENCH_CACHE_DIR")
    return Path(given) if given else platformdirs.user_cache_path("backdoor-bench")


def split_path(folder: Path, split: SplitName) -> Path:
    """Return the file that holds a split."""
    return folder / f"{split}.safetensors"


def read_meta(folder: Path, splits: tuple[SplitName, ...]) -> dict[str, Any] | None:
    """Return the description, or None if it or one of the `splits` is missing or damaged."""
    try:
        meta = json.loads((folder / _META).read_text(encoding="utf-8"))
        sound = all(_checksum(split_path(folder, s)) == meta["splits"][s]["sha256"] for s in splits)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return meta if sound else None


def write_split(folder: Path, split: SplitName, content: bytes) -> dict[str, str]:
    """Write a split's file and return what `read_meta` checks it against."""
    split_path(folder, split).write_bytes(content)
    return {"sha256": hashlib.sha256(content).hexdigest()}


def write_meta(folder: Path, meta: Mapping[str, Any]) -> None:
    """Write the description."""
    (folder / _META).write_text(json.dumps(meta, indent=1), encoding="utf-8")


@contextlib.contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder`; what is left of it in the end is removed.

    So is what a killed process left there more than a day ago.

    Raises `UserError` if the cache cannot be written or is full.
    """
    scratch = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        scratch = _new_sibling(folder)
        yield scratch
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write to the cache {folder.parent}: {reason}") from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def publish(scratch: Path, folder: Path, is_sound: Callable[[], bool]) -> None:
    """Give a finished folder its name, unless another process has just put a sound one there."""
    for _ in range(_ATTEMPTS):
        try:
            scratch.rename(folder)
            return
        except OSError:
            if not folder.exists():
                raise
        if is_sound():
            return
        _set_aside(folder)
    raise UserError(f"cannot replace the damaged {folder}", "remove it by hand")


def _set_aside(folder: Path) -> None:
    aside = _new_sibling(folder)
    try:
        folder.rename(aside / "old")
    except FileNotFoundError:
        pass  # another process was first
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _new_sibling(folder: Path) -> Path:
    """Return a new hidden folder, readable as the umask says, unlike one of `tempfile`."""
    sibling = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:12]}")
    sibling.mkdir()
    return sibling


def _sweep(folder: Path) -> None:
    for left in folder.parent.glob(f".{folder.name}-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left)


def _checksum(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
