"""Options of the `digits` data set, apart from the code that needs numpy and torch."""

from __future__ import annotations

from pydantic import Field

from benchmark.specs import Options


class DigitsOptions(Options):
    """How many images are made, and how hard they are."""

    train_images: int = Field(6000, ge=100, le=100_000, description="Number of training images")
    test_images: int = Field(2000, ge=100, le=100_000, description="Number of test images")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="Decides which digits, patches and shifts")
    patch_zoom: float = Field(
        4.0,
        ge=1.0,
        le=16.0,
        description="Enlargement of the photograph behind the digit; 1 = raw pixels, busiest",
    )
    jitter: float = Field(
        1.0,
        ge=0.0,
        le=4.0,
        description="Shift, turn and scaling of digits used again: 1 = to 1 px, 5 degrees, 5 %",
    )
