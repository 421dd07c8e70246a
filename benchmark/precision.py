"""The arithmetic of convolutions and products, as an option's value. No torch."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator

_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""What Linux calls it: the first two on x86 (`flags`), the last on Arm (`Features`)."""


@lru_cache(maxsize=1)
def processor_has_bfloat16() -> bool:
    """Say whether this processor multiplies bfloat16 itself; False where Linux does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return False
    listed = (line for line in lines if line.startswith(("flags", "Features")))
    return any(_FLAGS & set(line.split()) for line in listed)


def _settle(value: object) -> object:
    """Replace `auto`, so that what is hashed, stored and shown is what was computed with."""
    if value != "auto":
        return value
    return "bfloat16" if processor_has_bfloat16() else "float32"


Precision = Annotated[Literal["float32", "bfloat16"], BeforeValidator(_settle)]
"""`float32` or `bfloat16`; `auto` becomes one of them when options are made."""
PRECISION_HELP = (
    "of the arithmetic: float32, bfloat16, or auto: bfloat16 if the processor has it, which is "
    "about twice as fast; weights stay float32"
)
