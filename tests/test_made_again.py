"""A model that is made again and comes out as another: stored trials faced the first one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmark.store import Store

RESTLESS = """
import os

import torch

from benchmark.api import AttackSpec, hookimpl
from benchmark.builtin.attack_options import BlackWhiteAttack
from benchmark.builtin.triggers import bw3x3_instances


class Restless:
    \"\"\"As another machine's rounding, but every time.\"\"\"

    def __init__(self, options):
        pass

    def attack(self, model, train, instance, run):
        with torch.no_grad():
            for weight in model.parameters():
                weight += 1e-6 * (os.urandom(1)[0] + 1)
        return model


@hookimpl
def bench_attacks():
    return [
        AttackSpec(
            "restless", "1", "x", bw3x3_instances, Restless, BlackWhiteAttack
        )
    ]
"""


@pytest.fixture(scope="module")
def first(command, tmp_path_factory):
    """The words of a run on restless victims, and its results folder."""
    folder = tmp_path_factory.mktemp("restless")
    (folder / "restless.py").write_text(RESTLESS, encoding="utf-8")
    asked = ["--plugin", folder / "restless.py", "--attack", "restless"]

    def words(out: Path, *more: object) -> list[object]:
        sets = {"run__min_asr": 0, "attack__triggers": "0", "base__epochs": 1}
        return command.tiny(out, *asked, *more, **sets)

    done = command(*words(folder / "out", "--defense", "shake"))
    assert done.returncode == 0, done.stderr
    return words, folder / "out"


def stored(out: Path) -> tuple[dict, dict]:
    """Return the weights of each model, and the repaired models of each defense."""
    with Store.open(out, write=False) as store:
        models = {model.kind: model.artifact for model in store.models()}
        return models, {trial.defense: trial.artifacts for trial in store.trials()}


def test_a_victim_made_again_with_other_weights_is_refused(command, first, tmp_path) -> None:
    words, out = first[0], tmp_path / "out"
    shutil.copytree(first[1], out)
    before = stored(out)
    shutil.rmtree(out / "artifacts")
    done = command(*words(out, "--defense", "rattle"))
    assert done.returncode == 2, done.stderr
    # Base and victim are gone. The base comes out the same, on this machine.
    assert "the weights of 2 models from which stored results started are gone" in done.stderr
    last = done.stderr.splitlines()[-1]
    assert "attack restless 0, seed 0: made again, its weights are others than those" in last
    assert "4 stored results" in last
    assert "use another --out, or --rerun always" in last
    assert stored(out) == before

    # Not all of them are done again.
    done = command(*words(out, "--defense", "rattle", "--rerun", "always"))
    assert done.returncode == 2, done.stderr
    assert "from which 1 stored results started" in done.stderr
    assert stored(out)[0] == before[0]
    done = command(*words(out, "--defense", "rattle", "--defense", "shake", "--rerun", "always"))
    assert done.returncode == 0, done.stderr
    models, trials = stored(out)
    assert models["base"] == before[0]["base"]
    assert models["victim"] != before[0]["victim"]
    assert trials.keys() == before[1].keys() | {"rattle"}
    assert not any(trials[name] == before[1][name] for name in before[1])
