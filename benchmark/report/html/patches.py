"""Recovered triggers: read from a trial's artifact, and packed for the page."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import JobFault
from benchmark.records import TrialRecord
from benchmark.store import ArtifactStore

Patches = NDArray[np.uint8]
"""Shape (count, height, width, 3)."""


class UnreadableTriggers(Exception):
    """A trial's triggers are missing or damaged; says why in a sentence."""


def read_patches(trial: TrialRecord, artifacts: ArtifactStore) -> Patches | None:
    """Return the triggers that the defense returned, or None if it returned none.

    Raises `UnreadableTriggers` for a file that is gone, damaged, or holds something else.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if not trial.triggers_artifact:
        return None
    try:
        return to_patches(load(artifacts.read(trial.triggers_artifact))["triggers"])
    except (JobFault, SafetensorError, KeyError, ValueError) as error:
        raise UnreadableTriggers(f"the recovered triggers cannot be read: {error}") from error


def to_patches(pixels: Any) -> Patches:
    """Return triggers of shape (count, 3, height, width) in [0, 1] as 8-bit images.

    What a fourth plane makes transparent is grey.
    """
    values = np.asarray(pixels, dtype=np.float64)
    if values.ndim != 4 or values.shape[1] not in (3, 4):
        raise ValueError(f"triggers of shape {values.shape}")
    values, opacity = values[:, :3], values[:, 3:] if values.shape[1] == 4 else 1.0
    return _levels(values * opacity + 0.5 * (1 - opacity))


def packed_trigger(pixels: Any) -> dict[str, Any]:
    """Return one trigger as plain data; `opacity` is base64 like the pixels, if there is any."""
    values = np.asarray(pixels, dtype=np.float64)
    if len(values) == 3:
        return packed(to_patches([pixels]))
    opacity = base64.b64encode(_levels(values[None, 3:]).tobytes()).decode()
    return packed(to_patches([values[:3]])) | {"opacity": opacity}


def _levels(values: NDArray[np.float64]) -> Patches:
    levels = np.rint(np.clip(np.nan_to_num(values), 0, 1) * 255)
    return np.ascontiguousarray(levels.transpose(0, 2, 3, 1).astype(np.uint8))


def evenly(patches: Patches, most: int) -> Patches:
    """Return at most `most` of them, evenly chosen: a defense may have sorted them by sub-model."""
    if len(patches) <= most:
        return patches
    return patches[np.linspace(0, len(patches) - 1, most).round().astype(int)]


def packed(patches: Patches) -> dict[str, Any]:
    """Return the images as plain data; `pixels` is base64 of the bytes, row after row."""
    count, height, width, _ = patches.shape
    text = base64.b64encode(patches.tobytes()).decode()
    return {"count": count, "height": height, "width": width, "pixels": text}
