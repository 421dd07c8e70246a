"""Options of the shipped architectures, apart from them so that planning needs no torch."""

from __future__ import annotations

from pydantic import Field

from benchmark.specs import Options

NARROWEST = 8
"""Under 8 channels, training a strided shortcut writes beyond its memory on processors with AVX2
and no more (oneDNN, issue 6035): it may crash, or go wrong silently."""


class ResNet18Options(Options):
    """Options of `resnet18`."""

    width: int = Field(
        64, ge=NARROWEST, le=256, description="channels of the first stage; 64 is ResNet-18"
    )


class SmallResNetOptions(Options):
    """Options of `small-resnet`."""

    width: int = Field(16, ge=NARROWEST, le=256, description="channels of the stem")
