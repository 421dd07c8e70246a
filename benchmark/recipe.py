"""Settings of training: the base model, the attack, the defenses' retraining; no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from benchmark.precision import PRECISION_HELP, Precision
from benchmark.specs import Options


class BaseRecipe(Options):
    """A one-cycle schedule (Smith and Topin, 2019) of SGD with Nesterov momentum.

    The defaults are set for a full-width ResNet-18 on CIFAR-10.
    """

    epochs: int = Field(24, ge=1, description="passes over the training images")
    lr: float = Field(0.4, gt=0, description="peak learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum")
    weight_decay: float = Field(5e-4, ge=0, description="L2 penalty on convolution weights")
    batch_size: int = Field(512, ge=2, description="images a step")
    warmup: float = Field(0.25, gt=0, lt=1, description="fraction of the steps to the peak rate")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="mass moved off the true class")
    padding: int = Field(4, ge=0, le=16, description="pixels reflected before a random crop")
    flip: bool = Field(True, description="mirror half of the images")
    precision: Precision = Field("float32", description=PRECISION_HELP)


class FineTune(Options):
    """Settings of attack and retraining; the defaults are the paper's (supplement, C)."""

    epochs: int = Field(10, ge=1, description="passes over the data")
    lr: float = Field(0.001, gt=0, description="learning rate of SGD")
    decay: bool = Field(
        False, description="let the learning rate fall linearly to 0; the paper names no schedule"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of SGD")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty; the paper names none")
    batch_size: int = Field(128, ge=2, description="images a step")
    poison_ratio: float = Field(0.01, ge=0, le=1, description="fraction of images stamped")
    placement: Literal["batch", "image"] = Field(
        "batch", description="one random place for the stamps of a batch, or one an image"
    )
    precision: Precision = Field("float32", description=PRECISION_HELP)


class Poisoning(FineTune):
    """Settings of the attack: the attacker's fine-tuning."""

    redraw: bool = Field(
        True,
        description="draw the poisoned images anew each epoch, as poisoning on the fly does; "
        "false: one fixed set, as in a poisoned data set",
    )
