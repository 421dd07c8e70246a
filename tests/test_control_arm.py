"""`--clean-models`: what a defense costs, and claims, where there is no backdoor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmark.records import TrialRecord
from benchmark.store import Store

DETECTIVES = Path(__file__).parent / "plugin_files" / "detectives.py"


@pytest.fixture(scope="module")
def arms(command, tmp_path_factory):
    """A tiny run with the control arm: results folder, and the trials by (attack, defense)."""
    out = tmp_path_factory.mktemp("control") / "results"
    arguments = ["--plugin", DETECTIVES, "--defense", "alarmist", "--defense", "calm"]
    arguments += ["--clean-models"]
    done = command(*command.tiny(out, *arguments, attack__triggers="170"))
    assert done.returncode == 0, done.stderr
    with Store.open(out, write=False) as store:
        trials = {(t.attack, t.defense): t for t in store.trials()}
        models = {t.victim: store.model(t.victim) for t in trials.values()}
        bases = {store.model(model.payload["base"]).artifact for model in models.values()}
    return done, trials, models, bases, out


def trial(arms, attack: str, defense: str) -> TrialRecord:
    return arms[1][attack, defense]


def test_the_control_arm_starts_from_the_very_base_model(arms):
    _, trials, models, bases, _ = arms
    assert bases == {models[trials["clean", "calm"].victim].artifact}
    assert bases != {models[trials["bw3x3", "calm"].victim].artifact}


def test_every_defense_is_run_on_models_never_attacked(arms):
    by_attack = {a: {d for (b, d) in arms[1] if a == b} for a in ("bw3x3", "clean")}
    assert by_attack["clean"] == by_attack["bw3x3"] >= {"alarmist", "calm", "none", "fine_tuning"}
    assert {t.status for t in arms[1].values()} == {"done"}
    assert {a for (a, _), t in arms[1].items() if not t.backdoored} == {"clean"}


def test_a_stamp_that_nobody_planted_does_nothing(arms):
    assert trial(arms, "clean", "none").asr_before < 0.2
    assert trial(arms, "bw3x3", "none").asr_before > 0.9


def test_an_alarm_is_right_on_a_backdoored_model_and_false_on_a_clean_one(arms):
    assert trial(arms, "bw3x3", "alarmist").metrics["detection"] == 1
    assert trial(arms, "bw3x3", "calm").metrics["detection"] == 0
    assert trial(arms, "clean", "alarmist").metrics["false_alarm"] == 1
    assert trial(arms, "clean", "calm").metrics["false_alarm"] == 0


def test_nobody_is_asked_for_what_does_not_apply(arms):
    assert trial(arms, "bw3x3", "alarmist").metrics["false_alarm"] is None
    assert trial(arms, "clean", "alarmist").metrics["detection"] is None
    assert trial(arms, "clean", "calm").metrics["der"] is None
    assert "detection" not in trial(arms, "bw3x3", "fine_tuning").metrics


def test_a_clean_model_is_told_the_same_target_as_the_attacked_one(arms):
    assert {t.target for t in arms[1].values()} == {1}


@pytest.fixture(scope="module")
def boards(arms, command):
    done = command("leaderboard", "--out", arms[4], "--format", "json")
    rows = json.loads(done.stdout)
    return {(row["attack"], row["defense"]): row for row in rows}


def test_nobody_is_ranked_where_there_is_nothing_to_remove(boards):
    assert boards["clean", "calm"]["rank"] is None
    assert boards["bw3x3", "calm"]["rank"] is not None
    assert not any(row["look"] for row in boards.values())
    # Its low ASR is no failed attack: there was none.
    assert boards["clean", "calm"]["averaged"] == 1
    assert boards["clean", "calm"]["attack_failed"] == []


def test_the_leaderboard_says_how_often_a_claim_was_right(boards, arms, command):
    assert boards["bw3x3", "alarmist"]["detection_mean"] == 1
    assert boards["bw3x3", "calm"]["detection_mean"] == 0
    assert boards["clean", "alarmist"]["false_alarm_mean"] == 1
    assert boards["clean", "fine_tuning"]["false_alarm_mean"] is None
    shown = " ".join(command("leaderboard", "--out", arms[4]).stdout.split())
    assert "Control arm: these models were never attacked" in shown
    assert "False alarm: alarmist in 100.0 % of 1 models, calm in 0.0 % of 1 models." in shown
    assert "calm in 0.0 % of 1 trials" in shown


def test_a_clean_model_is_one_however_many_triggers_were_tried_on_it(command, tmp_path):
    out = tmp_path / "out"
    asked = ["--plugin", DETECTIVES, "--defense", "alarmist", "--attack", "clean", "--seeds", 2]
    words = command.tiny(out, *asked, attack__triggers="170,0,27", base__epochs=1)
    how = ("attack.triggers", "attack.target")  # how the others poison is nothing to it
    told = [w for w in words if not str(w).startswith("attack.") or str(w).startswith(how)]
    done = command(*(w for at, w in enumerate(told) if told[at : at + 2] != ["--set", "--set"]))
    assert done.returncode == 0, done.stderr
    shown = " ".join(done.stdout.split())
    assert "False alarm: alarmist in 100.0 % of 2 models." in shown
    found = json.loads(command("leaderboard", "--out", out, "--format", "json").stdout)
    for row in found:
        assert (row["averaged"], row["models"]) == (6, 2)
        assert row["asr_after_ci_low"] is None
