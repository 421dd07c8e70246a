"""The tiny case: a model with a backdoor that works, its images, its trigger."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import nn

from benchmark import scoring
from benchmark.building import build_classifier
from benchmark.builtin.metrics import attack_success_rate, rate
from benchmark.builtin.triggers import black_white_trigger
from benchmark.context import RunContext
from benchmark.contracts import ImageSet, View
from benchmark.data import PreparedDataset, load_split, prepare
from benchmark.executors.scratch import temporary
from benchmark.jobs import Component, Split
from benchmark.kit import tiny
from benchmark.loading.origin import Kind
from benchmark.plugins import load_spec
from benchmark.primitives import fine_tune, predict, random_places
from benchmark.recipe import FineTune
from benchmark.types import AttackInstance, Knowledge

CHECKERBOARD = 170
_CLEAN = FineTune(epochs=3, lr=0.05, batch_size=32)
_POISONED = FineTune(epochs=6, lr=0.02, batch_size=32, poison_ratio=0.2, placement="image")


@dataclass(frozen=True)
class TinyCase:
    """16×16 images of three classes, and a classifier that a checkerboard sends to class 0.

    Its ASR and its clean accuracy are above 95 %. Everything is on the CPU and the same each time.
    """

    folder: tempfile.TemporaryDirectory[str]
    dataset: PreparedDataset
    network: Component
    base: bytes
    """The clean model's weights, a safetensors file."""
    victim: bytes
    """The backdoored model's weights, likewise."""
    instance: AttackInstance

    @classmethod
    def make(cls) -> TinyCase:
        """Make the images and train the two models: a second on one core."""
        folder = temporary("bench-kit-")
        spec = load_spec(tiny.ORIGIN, "dataset", tiny.DATASET)
        dataset = prepare(spec, spec.options(), None, Path(folder.name))  # type: ignore[arg-type]
        network = component("model", tiny.MODEL)
        run = RunContext(torch.device("cpu"), 0)
        train = load_split(dataset, "train")
        instance = AttackInstance(black_white_trigger(CHECKERBOARD), 0)
        trigger = torch.tensor(instance.trigger.pixels)
        with run.seeded("init"):
            model = build_classifier(network, dataset.info, dataset.mean, dataset.std)
        base = _weights(fine_tune(model, train, _CLEAN, run))
        fine_tune(
            model,
            train,
            _POISONED,
            run,
            trigger_of_epoch=lambda _epoch: trigger,
            relabel_to=instance.target,
            stage="attack",
        )
        return cls(folder, dataset, network, base, _weights(model), instance)

    @cached_property
    def clean(self) -> ImageSet:
        """The 200 clean images of the defense."""
        return scoring.defense_images(self.dataset, _SPLIT)

    @cached_property
    def train(self) -> ImageSet:
        """The 400 training images, for an attack."""
        return load_split(self.dataset, "train")

    def model(self, *, backdoored: bool = True) -> nn.Module:
        """Return a fresh copy of the backdoored classifier, or of the clean one."""
        info = self.dataset
        model = build_classifier(self.network, info.info, info.mean, info.std)
        model.load_state_dict(load(self.victim if backdoored else self.base))
        return model.eval()

    def view(self, *needs: Knowledge, defense: str = "tested") -> View:
        """Return what a defense that declares `needs` is given."""
        trigger = self.instance.trigger
        known = {
            Knowledge.WEIGHTS: ("model", self.model()),
            Knowledge.CLEAN_IMAGES: ("clean", self.clean),
            Knowledge.TRIGGER_SIZE: ("trigger_size", trigger.size),
            Knowledge.TARGET_CLASS: ("target", self.instance.target),
            Knowledge.TRIGGER_PIXELS: ("trigger", torch.tensor(trigger.pixels)),
        }
        return View(defense, self.dataset.info, dict(known[need] for need in needs))

    def run(self, seed: int = 0) -> RunContext:
        """Return a context for a defense or an attack."""
        return RunContext(torch.device("cpu"), seed)

    def asr(self, model: nn.Module) -> float:
        """Return the attack success rate of the trigger on a model, in [0, 1]."""
        images = scoring.scoring_images(self.dataset, _SPLIT)
        trigger = torch.tensor(self.instance.trigger.pixels)
        places = random_places(
            len(images.labels),
            self.dataset.info.image_size,
            self.instance.trigger.size,
            torch.Generator().manual_seed(0),
        )
        answers = predict(model, images.images, trigger, places)
        target = self.instance.target
        return attack_success_rate(answers, images.labels, target)

    def clean_accuracy(self, model: nn.Module) -> float:
        """Return a model's accuracy on images that no defense was given, in [0, 1]."""
        images = scoring.scoring_images(self.dataset, _SPLIT)
        return rate(predict(model, images.images) == images.labels)


_SPLIT = Split(seed=0, defense_fraction=0.8, places_seed=0)


def component(kind: Kind, name: str) -> Component:
    """Return one of the tiny case's own components, with its default options."""
    spec = load_spec(tiny.ORIGIN, kind, name)
    return Component(
        kind=kind, name=name, version=spec.version, origin=tiny.ORIGIN.to_json(), options={}
    )


def _weights(model: nn.Module) -> bytes:
    return save({name: tensor.contiguous() for name, tensor in model.state_dict().items()})
