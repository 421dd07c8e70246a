"""Options of the controls, apart from them so that planning needs no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from benchmark.recipe import FineTune
from benchmark.specs import Options


class FineTuningOptions(Options):
    """Options of `fine_tuning`."""

    retrain: FineTune = Field(FineTune(), description="the retraining's settings")


class RandomPatchesOptions(FineTuningOptions):
    """Options of `random_patches`."""

    mixing: Literal["epoch", "image"] = Field(
        "epoch",
        description="one new patch an epoch, or for every stamped image one of 512 new ones",
    )
