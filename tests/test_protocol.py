"""The paper's numbers, as a table, against what the paper's presets resolve to.

Source: the supplement of Qiao, Yang, Li, NeurIPS 2019 (arXiv 1910.04749), sections B and C.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from bench_mesa.drawing import apportion

from benchmark.config import Chosen, Config, Request, resolve
from benchmark.plugins import load_plugins
from benchmark.preset import preset_names
from benchmark.types import AttackInstance, DatasetInfo

PAPER_PRESETS = ["cifar10-bw", "cifar10-rgb", "cifar100-rgb"]

# C: "the attack"; C 2 and 3: all three defenses retrain with the attack's own settings.
FINE_TUNING = {
    "epochs": 10,
    "lr": 0.001,
    "momentum": 0.9,
    "batch_size": 128,
    "poison_ratio": 0.01,
    "weight_decay": 0.0,  # none is named
    "decay": False,  # no schedule is named
    "precision": "float32",
    "placement": "batch",  # not in the supplement: as in the published experiments
}

MESA = {
    "noise": 64,
    "statistic_hidden": 512,
    "slope": 0.2,
    "lr": 2e-4,
    "adam_beta1": 0.9,  # Adam's own, none are named
    "adam_beta2": 0.999,
    "epochs": 50,
    "levels": (0.9, 0.8, 0.5),
    "samples": (4, 3, 3),
    "target": "given",
    "alpha": 0.1,  # "any value between 0.1 and 1"
    # Not in the supplement: off, or as the text would be read by whoever codes it.
    "entropy": "information",
    "shares": "samples",
    "mixing": "epoch",
    "surest_of": 1,
    "stop_below": 0.0,
    "skip": False,
    "output_noise": 0.0,
    "images_a_trigger": 1,
    "batch_size": 128,
    "precision": "float32",
}

PIXEL_BASELINE = {
    "patterns": 10,
    "epochs": 5,
    "lr": 0.1,
    "momentum": 0.9,
    "clip": True,  # not in the supplement; an image can hold nothing else
    "batch_size": 128,
    "precision": "float32",
}


@cache
def preset(name: str) -> Config:
    return resolve(Request(preset=name), load_plugins())


def defense(config: Config, name: str) -> dict[str, Any]:
    return next(one for one in config.defenses if one.spec.name == name).options.model_dump()


def only(chosen: tuple[Chosen, ...]) -> Chosen:
    assert len(chosen) == 1
    return chosen[0]


def instances(config: Config) -> list[AttackInstance]:
    attack = only(config.attacks)
    info: DatasetInfo = config.dataset.spec.info
    return list(attack.spec.instances(attack.options, info))


def assert_holds(options: dict[str, Any], table: dict[str, Any]) -> None:
    assert {key: options[key] for key in table} == table


@pytest.mark.parametrize("name", PAPER_PRESETS)
def test_attack_settings(name: str) -> None:
    assert_holds(only(preset(name).attacks).options.model_dump(), FINE_TUNING)


@pytest.mark.parametrize("name", PAPER_PRESETS)
@pytest.mark.parametrize("who", ["mesa", "pixel_baseline", "oracle", "fine_tuning"])
def test_every_defense_retrains_with_the_attacks_settings(name: str, who: str) -> None:
    assert_holds(defense(preset(name), who)["retrain"], FINE_TUNING)


@pytest.mark.parametrize("name", PAPER_PRESETS)
def test_mesa(name: str) -> None:
    options = defense(preset(name), "mesa")
    assert_holds(options, MESA)
    assert sum(options["samples"]) == options["retrain"]["epochs"]  # one trigger an epoch
    assert options["hidden"] == (2048 if name == "cifar100-rgb" else 512)


@pytest.mark.parametrize("who", ["mesa", "mesa_short"])
@pytest.mark.parametrize("name", preset_names())
def test_every_preset_retrains_with_every_sub_model(name: str, who: str) -> None:
    """A retraining of fewer epochs than the paper's ten must not stop at the first level's."""
    options = defense(preset(name), who)
    shares = [number / sum(options["samples"]) for number in options["samples"]]
    draws = 512 if options["mixing"] == "image" else options["retrain"]["epochs"]
    assert min(apportion(draws, shares)) >= 1


@pytest.mark.parametrize("name", PAPER_PRESETS)
def test_pixel_baseline(name: str) -> None:
    assert_holds(defense(preset(name), "pixel_baseline"), PIXEL_BASELINE)


@pytest.mark.parametrize("name", PAPER_PRESETS)
def test_eighty_percent_of_the_test_images_are_the_defenses(name: str) -> None:
    assert preset(name).split.defense_fraction == 0.8


@pytest.mark.parametrize(
    ("name", "dataset", "classes"),
    [
        ("cifar10-bw", "cifar10", 10),
        ("cifar10-rgb", "cifar10", 10),
        ("cifar100-rgb", "cifar100", 100),
    ],
)
def test_data_and_model(name: str, dataset: str, classes: int) -> None:
    config = preset(name)
    assert config.dataset.spec.name == dataset
    assert config.dataset.spec.info == DatasetInfo(classes, (32, 32))
    assert config.model.spec.name == "resnet18"
    assert config.model.options.model_dump() == {"width": 64}


def test_grid_a_has_51_black_and_white_triggers_for_class_0() -> None:
    grid = instances(preset("cifar10-bw"))
    assert len({one.trigger.pixels for one in grid}) == 51
    assert {one.target for one in grid} == {0}
    assert {one.trigger.size for one in grid} == {(3, 3)}
    values = {v for one in grid for plane in one.trigger.pixels for row in plane for v in row}
    assert values == {0.0, 1.0}


def test_grid_b_has_10_colour_triggers_for_class_0() -> None:
    grid = instances(preset("cifar10-rgb"))
    assert len({one.trigger.pixels for one in grid}) == 10
    assert {one.target for one in grid} == {0}
    assert {one.trigger.size for one in grid} == {(3, 3)}


def test_grid_c_has_10_colour_triggers_for_random_classes() -> None:
    grid = instances(preset("cifar100-rgb"))
    assert len({one.trigger.pixels for one in grid}) == 10
    targets = [one.target for one in grid]
    assert all(0 <= target < 100 for target in targets)
    assert len(set(targets)) >= 8  # the authors' ten hold one class twice
    assert max(targets) > 9


@pytest.mark.parametrize("name", PAPER_PRESETS)
def test_nothing_about_a_paper_preset_is_said_to_differ(name: str) -> None:
    config = preset(name)
    assert config.preset.differences == ""
    assert config.setting == name
    names = {one.spec.name for one in config.defenses}
    assert {"none", "mesa", "pixel_baseline", "oracle"} <= names


# What of attack and retraining a preset may change, and a word by which it says so.
SAID = {
    "epochs": "epoch",
    "lr": "higher",
    "decay": "falling",
    "batch_size": "batches of",
    "poison_ratio": "%",
    "placement": "at its own place",
    "precision": "bfloat16",
}


@pytest.mark.parametrize("name", [name for name in preset_names() if name not in PAPER_PRESETS])
def test_a_preset_says_in_what_it_differs_from_the_paper(name: str) -> None:
    config = preset(name)
    said = config.preset.differences
    for who in ("mesa", "pixel_baseline", "oracle"):
        retraining = defense(config, who)["retrain"]
        for options in (only(config.attacks).options.model_dump(), retraining):
            changed = {key for key, value in FINE_TUNING.items() if options[key] != value}
            assert changed <= SAID.keys()
            assert [SAID[key] for key in changed if SAID[key] not in said] == []
        for key in ("epochs", "batch_size"):
            value = str(retraining[key])
            assert value in said.replace(",", " ").split() or retraining[key] == FINE_TUNING[key]
    mesa = defense(config, "mesa")
    assert mesa["epochs"] == MESA["epochs"] or "shorter searches" in said
    assert mesa["batch_size"] == MESA["batch_size"] or f"batches of {mesa['batch_size']}" in said
    assert mesa["statistic_hidden"] == MESA["statistic_hidden"] or "smaller networks" in said
    patterns = defense(config, "pixel_baseline")["patterns"]
    assert patterns == PIXEL_BASELINE["patterns"] or "fewer baseline patterns" in said
