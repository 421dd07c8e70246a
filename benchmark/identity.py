"""Names and seeds that are hashes of what decides a number, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def canonical(payload: Any) -> str:
    """Return the one JSON text of `payload`: sorted keys, no spaces, no NaN."""
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), allow_nan=False)


def identity(kind: str, payload: Mapping[str, Any]) -> str:
    """Return the 20-digit hexadecimal identity of a `kind` of thing decided by `payload`."""
    return hashlib.sha256(canonical([kind, payload]).encode()).hexdigest()[:20]


def derive_seed(*axes: str | int) -> int:
    """Return a seed in [0, 2**63) that depends on exactly the `axes` given.

    Adding a defense, a trigger or a metric to a run leaves every other seed as it was,
    because no seed is drawn from a shared stream.
    """
    digest = hashlib.sha256(canonical(list(axes)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
