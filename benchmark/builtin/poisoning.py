"""The data-poisoning attack of the paper (supplement, C): fine-tune on partly stamped images."""

from __future__ import annotations

import torch
from torch import nn

from benchmark.context import RunContext
from benchmark.contracts import ImageSet
from benchmark.primitives import fine_tune
from benchmark.recipe import FineTune
from benchmark.types import AttackInstance


class PoisonAttack:
    """Stamps a fixed part of the training images, answers the target class on them."""

    def __init__(self, options: FineTune) -> None:
        self.options = options

    def attack(
        self, model: nn.Module, train: ImageSet, instance: AttackInstance, run: RunContext
    ) -> nn.Module:
        """Return `model`, fine-tuned in place into a backdoored one.

        Which images are poisoned is drawn once; their stamps move from epoch to epoch.
        """
        trigger = torch.tensor(instance.trigger.pixels, device=run.device)
        return fine_tune(
            model,
            train,
            self.options,
            run,
            trigger_of_epoch=lambda _epoch: trigger,
            relabel_to=instance.target,
            redraw=False,
            stage="attack",
        )
