"""The data-poisoning attack of the paper (supplement, C): fine-tune on partly stamped images."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmark.context import RunContext
from benchmark.contracts import ImageSet
from benchmark.primitives import fine_tune
from benchmark.recipe import Poisoning
from benchmark.types import AttackInstance


class NoAttack:
    """Leaves the model as it is: the control arm."""

    def __init__(self, options: Any) -> None:
        self.options = options

    def attack(
        self, model: nn.Module, train: ImageSet, instance: AttackInstance, run: RunContext
    ) -> nn.Module:
        """Return `model`, untouched."""
        return model


class PoisonAttack:
    """Stamps a part of the training images and teaches the target class on them."""

    def __init__(self, options: Poisoning) -> None:
        self.options = options

    def attack(
        self, model: nn.Module, train: ImageSet, instance: AttackInstance, run: RunContext
    ) -> nn.Module:
        """Return `model`, fine-tuned in place into a backdoored one."""
        height, width = train.images.shape[2:]
        # With a fixed place the stamp is the whole image, so that it lies there and nowhere else.
        trigger = torch.tensor(instance.trigger.told((height, width)), device=run.device)
        return fine_tune(
            model,
            train,
            self.options,
            run,
            trigger_of_epoch=lambda _epoch: trigger,
            relabel_to=instance.target,
            redraw=self.options.redraw,
            stage="attack",
        )
