"""Components that each break one rule of the kit; what is expected of each is in the test."""

from __future__ import annotations

import copy
import os
import random
import sys
from typing import Any

from pydantic import BaseModel, Field

from benchmark.api import (
    AttackInstance,
    AttackSpec,
    DatasetInfo,
    DatasetSpec,
    DefenseSpec,
    ImageSet,
    Knowledge,
    LoadedDataset,
    MetricSpec,
    ModelSpec,
    Options,
    Outcome,
    Output,
    Trigger,
    hookimpl,
)

TOLD = frozenset({Knowledge.WEIGHTS, Knowledge.CLEAN_IMAGES})
MADE: dict[str, dict[str, Any]] = {
    kind: {} for kind in ("repair", "attack", "compute", "load", "build")
}


def broken(method: str, **facts: Any) -> Any:
    """Offer the function, under its own name, as the one method of a component."""

    def add(function: Any) -> Any:
        def factory(_options: Any) -> Any:
            made = type(function.__name__, (), {})()
            setattr(made, method, function)
            return made

        MADE[method][function.__name__] = (factory, facts)
        return function

    return add


# Defenses


@broken("repair")
def peeks(view: Any, run: Any) -> Outcome:
    target = getattr(view, "target", None)
    return Outcome([view.model] if target is None else [])


@broken("repair")
def asks(view: Any, run: Any) -> Outcome:
    return Outcome([view.model, view.trigger])


@broken("repair")
def drifts(view: Any, run: Any) -> Outcome:
    return shaken(view, 1 + int.from_bytes(os.urandom(2), "big") / 2**20)


@broken("repair")
def draws(view: Any, run: Any) -> Outcome:
    import torch

    return shaken(view, 1 + torch.rand(()).item() / 100)


@broken("repair")
def plays(view: Any, run: Any) -> Outcome:
    random.random()
    return shaken(view, 1)


@broken("repair")
def hurries(view: Any, run: Any) -> Outcome:
    import torch

    torch.set_num_threads(torch.get_num_threads() + 1)
    return shaken(view, 1)


@broken("repair")
def scribbles(view: Any, run: Any) -> Outcome:
    import torch

    with torch.no_grad():
        next(view.model.parameters()).mul_(0.9)
    return Outcome([view.model])


@broken("repair")
def paints(view: Any, run: Any) -> Outcome:
    view.clean.images.fill_(7)
    return shaken(view, 1)


@broken("repair")
def wakes(view: Any, run: Any) -> Outcome:
    return Outcome([view.model.train()])


@broken("repair")
def spoils(view: Any, run: Any) -> Outcome:
    return shaken(view, float("nan"))


@broken("repair")
def leaves(view: Any, run: Any) -> Outcome:
    sys.exit(0)


@broken("repair")
def shrugs(view: Any, run: Any) -> Any:
    return view.model


@broken("repair", gives=frozenset({Output.MODEL, Output.TRIGGERS}))
def promises(view: Any, run: Any) -> Outcome:
    return shaken(view, 1)


@broken("repair", terms=lambda _options: (frozenset(), frozenset({Output.MODEL})))
def hides(view: Any, run: Any) -> Outcome:
    return shaken(view, 1)


@broken("repair")
def surprises(view: Any, run: Any) -> Outcome:
    import torch

    return Outcome([copy.deepcopy(view.model)], triggers=torch.zeros(2, 3, 3, 3))


def shaken(view: Any, factor: float) -> Outcome:
    import torch

    model = copy.deepcopy(view.model)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(factor)
    return Outcome([model])


# Options


class Careless(BaseModel):
    scale: float = 1.0


class Contrary(Options):
    epochs: int = Field(0, ge=1)


class Wanting(Options):
    epochs: int


class Exotic(Options):
    scale: Any = 1j


class Nested(Options):
    inner: Careless = Careless()


OPTIONS = {
    "careless": (Careless, {}),
    "contrary": (Contrary, {}),
    "wanting": (Wanting, {}),
    "exotic": (Exotic, {}),
    "nested": (Nested, {}),
    "misled": (Options, {"quik": {}}),
    "mistaken": (Options, {"cifar10-cpu": {"epochs": 1}}),
}


# Attacks


@broken("attack")
def relabels(model: Any, train: Any, instance: Any, run: Any) -> Any:
    train.labels[:5] = instance.target
    return model


@broken("attack", pixels=2.0)
def glows(model: Any, train: Any, instance: Any, run: Any) -> Any:
    return model


@broken("attack", pixels=None)
def dices(model: Any, train: Any, instance: Any, run: Any) -> Any:
    return model


def grid(value: float | None) -> Any:
    def instances(_options: Any, _info: DatasetInfo) -> list[AttackInstance]:
        pixel = random.random() if value is None else value
        return [AttackInstance(Trigger("dot", (((pixel,),),) * 3), 0)]

    return instances


# Metrics


@broken("compute")
def tensorial(evidence: Any) -> Any:
    return evidence.labels.double().mean()


@broken("compute")
def stumbles(evidence: Any) -> float:
    return 1 / int((evidence.labels != evidence.target).sum())


@broken("compute")
def snoops(evidence: Any) -> float:
    return float(evidence.recovered_target is None)


@broken("compute")
def edits(evidence: Any) -> float:
    evidence.clean_after[0] = 2 - evidence.clean_after[0]
    return 0.5


@broken("compute")
def wavers(evidence: Any) -> float:
    return int.from_bytes(os.urandom(4), "big") / 2**32


# Data sets


def images(top: int, seed: int) -> ImageSet:
    import torch

    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 255, (20, 3, 8, 8), generator=generator)
    return ImageSet(pixels.byte(), torch.arange(20) % top)


@broken("load")
def overflows(data_dir: Any, cache_dir: Any) -> LoadedDataset:
    return LoadedDataset(images(9, 1), images(9, 2))


@broken("load")
def shuffles(data_dir: Any, cache_dir: Any) -> LoadedDataset:
    return LoadedDataset(images(4, int.from_bytes(os.urandom(4), "big")), images(4, 2))


@broken("load")
def misnames(data_dir: Any, cache_dir: Any) -> LoadedDataset:
    return LoadedDataset(images(4, 1), images(4, 2), ("only", "three", "names"))


# Models


def inputs(info: DatasetInfo) -> int:
    height, width = info.image_size
    return 3 * height * width


@broken("build")
def narrow(info: DatasetInfo) -> Any:
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(inputs(info), 10))


@broken("build")
def unseeded(info: DatasetInfo) -> Any:
    import torch
    from torch import nn

    linear = nn.Linear(inputs(info), info.num_classes)
    with torch.no_grad():
        linear.weight.mul_(1 + int.from_bytes(os.urandom(4), "big") / 2**32)
    return nn.Sequential(nn.Flatten(), linear)


@broken("build")
def forgets(info: DatasetInfo) -> Any:
    import torch
    from torch import nn

    class Forgetful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(inputs(info), info.num_classes)
            self.scale = torch.rand(info.num_classes)

        def forward(self, x: Any) -> Any:
            return self.linear(x.flatten(1)) * self.scale

    return Forgetful()


@hookimpl
def bench_defenses() -> list[DefenseSpec]:
    made = [
        DefenseSpec(name, "1", "breaks a rule", factory, needs=TOLD, **facts)
        for name, (factory, facts) in MADE["repair"].items()
    ]
    made.append(DefenseSpec("idle", "1", "has no repair()", lambda _options: object()))
    plain = MADE["repair"]["plays"][0]
    return made + [
        DefenseSpec(name, "1", "has bad options", plain, options=options, presets=presets)
        for name, (options, presets) in OPTIONS.items()
    ]


@hookimpl
def bench_attacks() -> list[AttackSpec]:
    return [
        AttackSpec(name, "1", "breaks a rule", grid(facts.get("pixels", 1.0)), factory)
        for name, (factory, facts) in MADE["attack"].items()
    ]


@hookimpl
def bench_metrics() -> list[MetricSpec]:
    return [
        MetricSpec(name, "1", "breaks a rule", factory, higher_is_better=True)
        for name, (factory, _) in MADE["compute"].items()
    ]


@hookimpl
def bench_datasets() -> list[DatasetSpec]:
    made = []
    for name, (factory, _) in MADE["load"].items():

        def with_fingerprint(options: Any, factory: Any = factory) -> Any:
            source = factory(options)
            source.fingerprint_inputs = lambda data_dir, cache_dir: "made from seeds"
            return source

        info = DatasetInfo(4, (8, 8))
        made.append(DatasetSpec(name, "1", "breaks a rule", info, with_fingerprint))
    return made


@hookimpl
def bench_models() -> list[ModelSpec]:
    return [
        ModelSpec(name, "1", "breaks a rule", factory)
        for name, (factory, _) in MADE["build"].items()
    ]
