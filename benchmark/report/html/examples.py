"""Example images of a trial: which, where they were stamped, and what the models answered.

The answers are stored with the trial; the images are not. They come out of the cache of prepared
data, if this machine has the very data set that was scored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.data_cache import read_meta, split_path
from benchmark.records import EXAMPLES, TrialRecord

_FIELDS = (
    *("image", "row", "column", "label"),
    *("clean_before", "stamped_before", "clean_after", "stamped_after"),
)
_MOST_IMAGES = 300
"""Distinct images in one report."""


@dataclass(frozen=True)
class _Source:
    images: Any
    """uint8, shape (count, 3, height, width)."""
    class_names: list[str]


@dataclass
class Pictures:
    """The images that the page needs, each kept once."""

    cache_dir: Path
    pixels: list[Any] = field(default_factory=list)
    """uint8 arrays of shape (height, width, 3)."""
    _numbers: dict[tuple[str, int], int] = field(default_factory=dict)
    _sources: dict[str, _Source | None] = field(default_factory=dict)

    def number(self, fingerprint: str, image: int) -> int | None:
        """Return the number of a test image, or None if this machine does not have it."""
        key = (fingerprint, image)
        source = self._source(fingerprint)
        if key in self._numbers or source is None or len(self.pixels) >= _MOST_IMAGES:
            return self._numbers.get(key)
        if not 0 <= image < len(source.images):
            return None
        self._numbers[key] = len(self.pixels)
        self.pixels.append(source.images[image].transpose(1, 2, 0))
        return self._numbers[key]

    def class_names(self, fingerprint: str) -> list[str]:
        """Return the names of the classes; empty if they are not known here."""
        source = self._source(fingerprint)
        return source.class_names if source else []

    def why(self, fingerprint: str) -> str:
        """Return why images of a data set are lacking."""
        if self._source(fingerprint) is not None and len(self.pixels) >= _MOST_IMAGES:
            return f"it has {_MOST_IMAGES} of other trials, which is the most"
        data = fingerprint or "of this trial"
        return f"the machine that made it does not have the prepared data {data} in its cache"

    def _source(self, fingerprint: str) -> _Source | None:
        if fingerprint not in self._sources:
            self._sources[fingerprint] = _find(self.cache_dir, fingerprint)
        return self._sources[fingerprint]


def examples(trial: TrialRecord, fingerprint: str, pictures: Pictures) -> dict[str, Any]:
    """Return the trial's examples as plain data, or `missing`: a sentence that says why not.

    `fingerprint` is that of the data set; empty if it is not known.
    """
    rows = [row for row in trial.series if row.get("series") == EXAMPLES]
    rows = [row for row in rows if all(isinstance(row.get(name), int) for name in _FIELDS)]
    if not rows:
        return {"missing": "No example images were noted when this trial was scored."}
    numbers = [pictures.number(fingerprint, row["image"]) for row in rows]
    if None in numbers:
        why = pictures.why(fingerprint)
        return {"missing": f"The example images are not in this report: {why}."}
    return {
        "rows": [
            [number, *(row[name] for name in _FIELDS[1:])]
            for number, row in zip(numbers, rows, strict=True)
        ],
        "names": pictures.class_names(fingerprint),
    }


def _find(cache_dir: Path, fingerprint: str) -> _Source | None:
    """Return the test images of the prepared data set with that fingerprint, checked."""
    from safetensors.numpy import load_file

    for path in sorted((cache_dir / "datasets").glob("*/meta.json")):
        if _fingerprint(path) != fingerprint or not fingerprint:
            continue
        meta = read_meta(path.parent, ("test",))
        if meta:
            images = load_file(split_path(path.parent, "test"))["images"]
            return _Source(images, [str(name) for name in meta.get("class_names", [])])
    return None


def _fingerprint(path: Path) -> str:
    try:
        return str(json.loads(path.read_text("utf-8"))["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
