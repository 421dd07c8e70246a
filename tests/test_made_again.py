"""A model that is made again and comes out as another: stored trials faced the first one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmark.keeping import MADE_AGAIN
from benchmark.store import Store

RESTLESS = """
import os
from pathlib import Path

import torch

from benchmark.api import AttackSpec, hookimpl
from benchmark.builtin.attack_options import BlackWhiteAttack
from benchmark.builtin.triggers import bw3x3_instances


class Restless:
    \"\"\"As another machine's rounding, but every time.\"\"\"

    def __init__(self, options):
        pass

    def attack(self, model, train, instance, run):
        if Path(__file__).with_name("broken").exists():
            raise RuntimeError("no way in")
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

    def words(out: Path, *more: object, **sets: object) -> list[object]:
        sets = {"run__min_asr": 0, "attack__triggers": "0", "base__epochs": 1} | sets
        return command.tiny(out, *asked, *more, **sets)

    done = command(*words(folder / "out", "--defense", "shake"))
    assert done.returncode == 0, done.stderr
    return words, folder / "out"


@pytest.fixture
def again(first, tmp_path):
    """A copy of the first run's results, and the words of the command that goes on from there."""
    words, out = first[0], tmp_path / "out"
    shutil.copytree(first[1], out)
    return words, out


def stored(out: Path) -> tuple[dict, dict]:
    """Return the weights of each model, and the repaired models of each defense."""
    with Store.open(out, write=False) as store:
        models = {model.kind: model.artifact for model in store.models()}
        return models, {trial.defense: trial.artifacts for trial in store.trials()}


def test_a_victim_made_again_with_other_weights_is_refused(command, again) -> None:
    words, out = again
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


def trials(out: Path) -> dict:
    """Return the trial of each defense."""
    with Store.open(out, write=False) as store:
        return {trial.defense: trial for trial in store.trials()}


def test_trials_on_a_victim_that_was_replaced_are_not_kept_by_a_kill(command, again) -> None:
    """The new victim is stored; what faced the old one is not there already."""
    words, out = again
    before = trials(out)
    always = ["--defense", "shake", "--rerun", "always", "--workers", 1]
    process = command.start(*words(out, *always, shake__seconds=0))
    said = next(line for line in process.stderr if "attack restless 0: " in line)
    process.kill()
    process.communicate(timeout=30)
    assert "failed" not in said
    assert command.nothing_left()
    shutil.rmtree(command.temporary)

    left = trials(out)
    assert left.keys() == before.keys()
    stale = [one for name, one in left.items() if one.run == before[name].run]
    assert len(stale) >= 2
    for one in stale:
        assert (one.status, one.error) == ("failed", MADE_AGAIN)
        assert (one.metrics, one.artifacts, one.asr_before) == ({}, (), None)
    done = command(*words(out, "--defense", "shake"))
    assert done.returncode == 0, done.stderr
    assert f"{len(stale)} trials done" in done.stderr
    after = trials(out)
    assert {one.status for one in after.values()} == {"done"}
    assert not any(after[name].artifacts == before[name].artifacts for name in before)


def test_trials_on_a_replaced_victim_that_did_not_take_are_in_no_average(command, again) -> None:
    words, out = again
    before = trials(out)
    assert before["none"].asr_before < 1
    always = words(out, "--defense", "shake", "--rerun", "always", run__min_asr=1)
    done = command(*always)
    assert done.returncode == 0, done.stderr
    assert "1 trials done, 3 not run, because the attack did not take" in done.stderr
    # Nothing tells of the old victim, and those that did not run have not failed.
    assert trials(out).keys() == {"none"}
    assert trials(out)["none"].artifacts != before["none"].artifacts
    assert command(*words(out, "--defense", "shake")).returncode == 0
    after = trials(out)
    assert after.keys() == before.keys()
    assert not any(after[name].artifacts == before[name].artifacts for name in before)


def test_finished_trials_stay_if_their_victim_cannot_be_made_again(command, first, again) -> None:
    (words, out), broken = again, first[1].parent / "broken"
    before = stored(out), trials(out)
    broken.touch()
    done = command(*words(out, "--defense", "shake", "--rerun", "always"))
    broken.unlink()
    assert done.returncode == 1, done.stderr
    kept = "its earlier result is kept"
    assert f"attack restless 0: failed: RuntimeError: no way in; {kept}" in done.stderr
    assert f"shake on restless 0: not run: the attack failed: RuntimeError: no way in; {kept}" in (
        done.stderr
    )
    assert "0 trials done, 4 failed (4 of them keep their earlier results)" in done.stderr
    assert (stored(out), trials(out)) == before
    # They are whole: there is nothing to do for the next run.
    again = command(*words(out, "--defense", "shake"))
    assert again.returncode == 0, again.stderr
    assert again.stderr.startswith("all 4 trials are there already\n")
