"""Controls: what happens with no defense, with retraining alone, and with any stamps at all."""

from __future__ import annotations

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from benchmark.builtin.control_options import FineTuningOptions, RandomPatchesOptions
from benchmark.context import RunContext
from benchmark.contracts import Outcome, View
from benchmark.primitives import fine_tune

AN_EPOCH = 512
"""New patches an epoch where every stamped image gets its own."""


class NoDefense:
    """Returns the backdoored model as it is: the floor."""

    def __init__(self, options: Any) -> None:
        self.options = options

    def repair(self, view: View, run: RunContext) -> Outcome:
        """Return the backdoored model."""
        return Outcome([view.model])


class FineTuning:
    """Retrains on the clean images without any stamp: what retraining alone does."""

    def __init__(self, options: FineTuningOptions) -> None:
        self.options = options

    def repair(self, view: View, run: RunContext) -> Outcome:
        """Return the model after plain fine-tuning, with the other defenses' settings."""
        model = copy.deepcopy(view.model)
        return Outcome([fine_tune(model, view.clean, self.options.retrain, run, stage="retrain")])


class RandomPatches:
    """Retrains with stamps of random colours: what searching for the trigger has to beat."""

    def __init__(self, options: RandomPatchesOptions) -> None:
        self.options = options

    def repair(self, view: View, run: RunContext) -> Outcome:
        """Return the model after fine-tuning with new random patches in every epoch."""
        height, width = view.trigger_size
        generator = run.generator("patches")
        count = AN_EPOCH if self.options.mixing == "image" else 1

        def drawn(_epoch: int) -> Float[Tensor, "count 3 height width"]:
            shape = (count, 3, height, width)
            return torch.rand(shape, generator=generator, device=run.device)

        model = copy.deepcopy(view.model)
        retrained = fine_tune(
            model, view.clean, self.options.retrain, run, trigger_of_epoch=drawn, stage="retrain"
        )
        return Outcome([retrained])
