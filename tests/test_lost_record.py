"""Models of which the record or the file is lost: what is made again, and what it is held against.

`bench repair` may leave trials without the record of the model that they faced.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from plans import done, forget_model, keep_done, plan

from benchmark.errors import UserError
from benchmark.jobs import Report
from benchmark.keeping import MADE_AGAIN, Keeper
from benchmark.missing import Rerun, lost_models, missing_jobs
from benchmark.placing import Placing
from benchmark.session import Options, describe
from benchmark.store import Store


@pytest.fixture
def planned():
    return plan(defenses=("shake", "rattle"))


@pytest.fixture
def store(planned, tmp_path):
    """A finished run without `rattle`, of which nothing is stored of the models any more."""
    with Store.open(tmp_path, write=True, create=True) as store:
        keep_done(planned, store, without=("rattle",))
        for model in store.models():
            forget_model(store, model.id)
        yield store


def run_missing(planned, store, rerun="failed", **report) -> None:
    needed = missing_jobs(planned, store, rerun)
    keeper = Keeper(store, "second run", doing=needed)
    for one in planned.jobs:
        if one.job.id in needed:
            given = done(one, store, b"made again")
            keeper.keep(one, given.model_copy(update={"before": given.before | report}))


@pytest.mark.parametrize("differing", [{"asr": 0.98}, {"clean_accuracy": 0.89}])
def test_other_weights_are_refused_by_their_accuracies(planned, store, differing):
    before = list(store.trials())
    needed = missing_jobs(planned, store, "failed")
    # Of the base model the trials tell only by way of the victim, whose record is gone as well.
    assert lost_models(planned, store, needed) == 1
    with pytest.raises(UserError, match=r"attack bw3x3 0, seed 0: made again.* 4 stored results"):
        run_missing(planned, store, **differing)
    assert list(store.trials()) == before
    assert not [model for model in store.models() if model.kind == "victim"]


def test_a_base_model_is_known_by_the_trials_on_its_victims(planned, tmp_path):
    with Store.open(tmp_path, write=True, create=True) as store:
        keep_done(planned, store, without=("rattle",))
        base, victim = (one for one in planned.jobs if not one.facts.get("defense"))
        forget_model(store, base.job.id)
        store.artifacts.path(store.model(victim.job.id).artifact).unlink()
        assert lost_models(planned, store, missing_jobs(planned, store, "failed")) == 2
        with pytest.raises(UserError, match=r"base model, seed 0: made again.* 4 stored results"):
            run_missing(planned, store, clean_accuracy=0.89)


def test_a_model_with_the_same_accuracies_counts_as_the_one_that_was_lost(planned, store):
    faced = {trial.trial: trial for trial in store.trials()}
    run_missing(planned, store)
    after = {trial.trial: trial for trial in store.trials()}
    assert faced.items() < after.items()
    assert store.lost_models() == set()
    assert {trial.status for trial in after.values()} == {"done"}


def test_what_is_done_again_in_the_same_run_need_not_agree(planned, store):
    needed = missing_jobs(planned, store, "always")
    keeper = Keeper(store, "second run", doing=needed)
    for one in planned.jobs:
        if not one.facts.get("defense"):
            report = done(one, store, b"made again", asr=0.5)
            keeper.keep(one, report)
    stale = [trial for trial in store.trials() if trial.error == MADE_AGAIN]
    assert len(stale) == 4
    assert all(trial.status == "failed" and trial.asr_before is None for trial in stale)


def test_a_model_that_failed_in_between_is_compared_as_well(planned, store):
    keeper = Keeper(store, "second run", doing=missing_jobs(planned, store, "failed"))
    victim = next(one for one in planned.jobs if one.job.kind == "victim")
    assert keeper.keep(victim, Report(id=victim.job.id, status="failed", error="no memory"))
    with pytest.raises(UserError, match="made again"):
        run_missing(planned, store, asr=0.5)


# An attack that did not take


def options(out: Path, rerun: Rerun) -> Options:
    here = Placing("local", None, "cpu", None, gpus_per_trial=None)
    return Options(out, (), here, timeout_s=60, retries=0, rerun=rerun, dry_run=True)


@pytest.mark.parametrize("rerun", ["failed", "never"])
def test_nothing_is_made_again_for_trials_that_will_not_run(tmp_path, capsys, rerun):
    made = plan()
    with Store.open(tmp_path, write=True, create=True) as store:
        keep_done(made, store, without=("shake", "oracle", "fine_tuning"), asr=0.3)
        missing = {one.job.id for one in made.trials if one.facts["defense"] != "none"}
        assert missing_jobs(made, store, "failed") == missing
        shutil.rmtree(tmp_path / "artifacts")
        assert missing_jobs(made, store, rerun) == missing
        describe(made, options(tmp_path, rerun))
        said = capsys.readouterr().out
        assert "4 trials, 1 there already\n3 will be skipped: the attack did not take" in said
        assert "to do: 0 base models, 0 attacks, 0 trials" in said
        assert said.endswith("estimated time: 0 s\n")
        # What runs all the same, and what was asked for, has its victim and that its base model.
        everything = {one.job.id for one in made.jobs}
        assert missing_jobs(made, store, "always") == everything
        floor = next(one for one in made.trials if one.facts["defense"] == "none")
        store.drop_trial(floor.job.id)
        assert missing_jobs(made, store, rerun) == everything
