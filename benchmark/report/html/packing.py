"""Data inside the page: JSON or text, compressed, in letters that no HTML parser minds."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any


def packed_json(value: Any) -> str:
    """Return `value` as compressed JSON in base64; NaN is a `ValueError`."""
    return packed_text(json.dumps(value, separators=(",", ":"), allow_nan=False))


def packed_text(text: str) -> str:
    """Return `text` compressed, in base64: nothing in it can end a script or start a tag."""
    # No time stamp: the same results give the same bytes.
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()
