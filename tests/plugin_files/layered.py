"""A defense with options of every kind, and what it says about presets."""

from __future__ import annotations

from pydantic import Field

from benchmark.api import DefenseSpec, FineTune, Options, hookimpl, lazy

PRESETS = ("quick", "cifar10-cpu", "cifar10-bw", "cifar10-rgb", "cifar100-cpu", "cifar100-rgb")


class LayeredOptions(Options):
    """Options of `layered`."""

    alone: int = Field(1, description="set by nobody")
    here: int = Field(1, description="set by the plugin for the preset `quick`")
    many: tuple[float, ...] = Field((0.5,), description="several numbers")
    retrain: FineTune = Field(FineTune(), description="the retraining's settings")


@hookimpl
def bench_defenses() -> list[DefenseSpec]:
    presets = {name: {"retrain.epochs": 99} for name in PRESETS}
    presets["quick"] |= {"here": 2}
    return [
        DefenseSpec(
            name="layered",
            version="1",
            summary="has options",
            factory=lazy("nowhere:Nothing"),
            options=LayeredOptions,
            presets=presets,
        )
    ]
