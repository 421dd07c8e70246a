"""Options of MESA; the defaults are the paper's (supplement, C 1)."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from benchmark.api import CHOOSES, FineTune, Options, Precision, added


class SearchOptions(Options):
    """How the sub-models of the staircase are fitted."""

    noise: int = Field(64, ge=1, description="dimensions of the uniform input noise")
    hidden: int = Field(512, ge=1, description="width of generator; the paper: 2048 on CIFAR-100")
    statistic_hidden: int = Field(512, ge=1, description="width of the statistic network")
    slope: float = Field(0.2, ge=0, lt=1, description="negative slope of the leaky ReLUs")
    skip: bool = Field(
        False,
        description="add the generator's first hidden layer to its second; not in the paper's text",
        json_schema_extra=added(False),
    )
    output_noise: float = Field(
        0.0,
        ge=0,
        description="standard deviation of Gaussian noise on the generator's outputs before the "
        "logistic function: with it the mutual information is finite, and the entropy less a "
        "constant; not in the paper's text",
        json_schema_extra=added(0.0),
    )
    alpha: float = Field(
        0.1, ge=0, description="weight of the mutual information; the paper: 0.1 to 1 all work"
    )
    entropy: Literal["information", "neighbours"] = Field(
        "information",
        description="what spreads a sub-model's points: the paper's neural mutual information with "
        "the noise, or the entropy by the points' distances to their neighbours",
    )
    neighbour: int = Field(
        3, ge=1, description="which neighbour, with entropy=neighbours and shares=entropy"
    )
    lr: float = Field(2e-4, gt=0, description="learning rate of Adam, for both networks")
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="Adam's first moment decay")
    adam_beta2: float = Field(0.999, ge=0, lt=1, description="Adam's second moment decay")
    mean_rate: float = Field(
        0.01, gt=0, le=1, description="rate of the moving average that corrects the MI gradient"
    )


class DetectOptions(SearchOptions):
    """The search for the target class: few steps of small networks, for every class."""

    noise: int = Field(16, ge=1, description="dimensions of the uniform input noise")
    hidden: int = Field(64, ge=1, description="width of each class's generator")
    statistic_hidden: int = Field(64, ge=1, description="width of each class's statistic network")
    lr: float = Field(5e-3, gt=0, description="learning rate of Adam, for both networks")
    level: float = Field(0.9, gt=0, le=1, description="β of every class's generator")
    steps: int = Field(150, ge=1, description="search steps")
    batch_size: int = Field(16, ge=2, description="images a search step, for each class")
    images: int = Field(200, ge=1, description="images on which each class's rate is measured")
    # Amid the gap that was measured: plugins/mesa/README.md.
    threshold: float = Field(
        0.2, ge=0, le=1, description="rate of the best class from which on it is named the target"
    )


class MesaOptions(SearchOptions):
    """Options of `mesa`."""

    target: Literal["given", "detect"] = Field(
        "given",
        description="be told the target class, as in the paper, or find it; a model in which none "
        "is found is returned as it is",
    )
    detect: DetectOptions = Field(DetectOptions(), description="how the target class is found")
    levels: tuple[float, ...] = Field(
        (0.9, 0.8, 0.5), min_length=1, description="β of each sub-model, in (0, 1]"
    )
    samples: tuple[int, ...] = Field(
        (4, 3, 3),
        min_length=1,
        description="how often each sub-model is drawn from for ten epochs of retraining; with "
        "other numbers of epochs or images, in these proportions",
    )
    shares: Literal["samples", "entropy"] = Field(
        "samples",
        description="how often each sub-model is drawn from: in the proportions of `samples`, or "
        "by the weights of Theorem 2",
    )
    mixing: Literal["epoch", "image"] = Field(
        "epoch",
        description="the paper's one trigger an epoch, the next of those drawn, or for every "
        "stamped image one of 512 that are drawn anew each epoch",
    )
    surest_of: int = Field(
        1, ge=1, description="of so many draws keep the trigger that the model is surest of"
    )
    epochs: int = Field(50, ge=1, description="passes over the clean images in the search")
    stop_below: float = Field(
        0.0,
        ge=0,
        description="end the search after an epoch in which every sub-model's mean hinge is below "
        "this; 0: after all epochs",
    )
    batch_size: int = Field(128, ge=2, description="images a search step, for each sub-model")
    images_a_trigger: int = Field(
        1,
        ge=1,
        description="images over which a trigger's attack success rate is averaged before the "
        "hinge; `batch_size` counts images, so more of them are fewer triggers a step",
        json_schema_extra=added(1),
    )
    precision: Precision = Field("float32", description="of the classifier in the search")
    cache_mib: int = Field(
        512,
        ge=0,
        description="memory for clean activations; more is faster, results stay",
        json_schema_extra=CHOOSES,
    )
    keep_triggers: int = Field(
        700,
        ge=1,
        description="generated triggers kept with the trial, of each sub-model; the paper's figure "
        "has 2,000 in all",
        json_schema_extra=CHOOSES,
    )
    retrain: FineTune = Field(FineTune(), description="the retraining's settings")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if any(not 0 < level <= 1 for level in self.levels):
            raise ValueError("levels must lie in (0, 1]")
        if len(self.samples) != len(self.levels):
            raise ValueError("samples needs one number for each of levels")
        if min(self.samples) < 0 or not sum(self.samples):
            raise ValueError("samples must not be negative and not all zero")
        if self.batch_size < 2 * self.images_a_trigger:
            raise ValueError("batch_size must hold the images of two triggers (images_a_trigger)")
        return self


class ShortOptions(MesaOptions):
    """Options of `mesa_short`: the same search and retraining, at a fifth of the cost.

    What a retraining removes depends on how many stamped images it sees. The paper's stamps 1 % of
    them for 10 epochs; stamping a fifth, each image with one of 512 triggers, shows the model four
    times as many in two epochs, which drift less from the clean accuracy.
    """

    epochs: int = Field(6, ge=1, description="passes over the clean images in the search")
    mixing: Literal["epoch", "image"] = Field(
        "image",
        description="a new trigger for every stamped image, or the paper's one trigger an epoch",
    )
    retrain: FineTune = Field(
        FineTune(epochs=2, poison_ratio=0.2), description="the retraining's settings"
    )
