"""`mesa_short`: at most a fifth of MESA's image passes in every preset, and it repairs."""

from __future__ import annotations

from typing import Any

import pytest
from bench_mesa.defense import Mesa
from bench_mesa.options import MesaOptions, ShortOptions
from bench_mesa.plugin import PRESETS, bench_defenses

from benchmark.api import FineTune
from benchmark.config import Request, resolve
from benchmark.plugins import load_plugins

FIT = {"noise": 8, "hidden": 32, "statistic_hidden": 32, "lr": 5e-3, "batch_size": 40}


def passes(options: MesaOptions) -> int:
    """Return how often each image goes through the classifier: once a level, once a retraining."""
    return options.epochs * len(options.levels) + options.retrain.epochs


@pytest.mark.parametrize("preset", ["cifar10-bw", "cifar10-rgb", *PRESETS])
def test_it_makes_at_most_a_fifth_of_the_passes(preset: str) -> None:
    """In every preset, with what the preset says of all retraining."""
    request = Request(preset=preset, defenses=("mesa", "mesa_short"))
    made = {one.spec.name: one.options for one in resolve(request, load_plugins([])).defenses}
    whole, short = made["mesa"], made["mesa_short"]
    assert passes(short) <= passes(whole) / 5
    assert short.hidden == whole.hidden
    if preset != "quick":  # has a recipe of its own: too few steps an epoch for this one
        assert short.retrain.poison_ratio == 0.2
        assert short.retrain.lr == whole.retrain.lr
        assert short.levels == whole.levels


def test_it_is_told_and_gives_what_mesa_does() -> None:
    whole, short = bench_defenses()
    assert (whole.name, short.name) == ("mesa", "mesa_short")
    assert (whole.needs, whole.gives) == (short.needs, short.gives)
    detecting = short.under(ShortOptions(target="detect"))
    assert detecting.needs == whole.under(MesaOptions(target="detect")).needs


def test_the_backdoor_is_gone_and_the_rest_is_kept(tiny: Any) -> None:
    retrain = FineTune(epochs=2, lr=0.02, batch_size=32, poison_ratio=0.2, placement="image")
    options = ShortOptions(**FIT, epochs=3, retrain=retrain, keep_triggers=5)
    view = tiny.view("model", "clean", "trigger_size", "target")
    (model,) = Mesa(options).repair(view, tiny.context()).models
    assert tiny.asr(tiny.model) > 0.95
    assert tiny.asr(model) < 0.1
    assert tiny.accuracy(model) > 0.95
