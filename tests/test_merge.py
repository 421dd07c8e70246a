"""`bench merge`: folders of machines that never saw each other become one, or say why not."""

import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from benchmark.cli import merge as command
from benchmark.errors import UserError
from benchmark.records import ModelRecord, TrialRecord
from benchmark.store import Store
from benchmark.store.merge import merge

TRIGGERS = b"triggers of "


def trial(identity: str, **fields) -> TrialRecord:
    settings = {
        **{"trial": identity, "group": "g", "variant_id": "v", "status": "done", "error": ""},
        **{"dataset": "digits", "model": "small", "attack": "bw3x3", "trigger": "170", "target": 0},
        **{"defense": "mesa", "version": "1", "variant": "", "setting": "quick", "seed": 3},
        **{"knowledge": ("weights",), "role": "ranked", "victim": "victim", "min_asr": 0.9},
        **{"asr_before": 0.1 + 0.2, "metrics": {"asr": 1 / 3, "der": None}, "seconds": 2.5},
        **{"series": [{"series": "loss", "step": 1, "value": float(7) / 3}], "log": "a\nb\n"},
    }
    return TrialRecord(**settings | fields)


def make(folder: Path, *trials: TrialRecord, weights: bytes = b"weights") -> Path:
    """Write a folder with one base model, a victim, and trials with the triggers they recovered."""
    with Store.open(folder, write=True, create=True) as store:
        of_base, of_victim = store.artifacts.add(b"base"), store.artifacts.add(weights)
        base = ModelRecord("base", "base", "done", "", "digits", "small", 3, artifact=of_base)
        store.put_model(base)
        made = replace(base, id="victim", kind="victim", artifact=of_victim, asr=0.97)
        store.put_model(replace(made, trigger="170", attack="bw3x3", payload={"base": "base"}))
        for one in trials:
            name = store.artifacts.add(TRIGGERS + one.trial.encode())
            store.put_trial(replace(one, triggers_artifact=name))
    return folder


def stored(out: Path) -> dict[str, TrialRecord]:
    with Store.open(out, write=False) as store:
        assert all(store.artifacts.verify(one.artifact) for one in store.models())
        assert all(store.artifacts.verify(one.triggers_artifact) for one in store.trials())
        return {one.trial: one for one in store.trials()}


@pytest.fixture
def places(tmp_path):
    a = make(tmp_path / "lab a", trial("t1"), trial("t2", seconds=1.0))
    b = make(tmp_path / "lab b, ü", trial("t2", seconds=9.0, run="other"), trial("t3"))
    return a, b, tmp_path / "all"


@pytest.fixture
def bench(capsys):
    """Call the command as `bench` does; return its exit status, output and messages."""
    app = typer.Typer()
    command.register(app)

    def call(*arguments):
        result = app([str(one) for one in arguments], standalone_mode=False)
        return result or 0, *capsys.readouterr()

    return call


def test_two_folders_become_one_to_the_last_bit(places):
    a, b, out = places
    done = merge([a, b], out)
    assert (done.trials, done.models, done.known) == (3, 2, 0)
    assert stored(out) == stored(b) | stored(a)  # of equal ones the first folder's
    with Store.open(out, write=False) as store:
        assert len(store.trials_frame()) == 3


def test_the_folders_stay_as_they_are(places):
    a, b, out = places
    before = [(one / "results.sqlite").read_bytes() for one in (a, b)]
    merge([a, b], out)
    assert [(one / "results.sqlite").read_bytes() for one in (a, b)] == before


def test_merging_again_changes_nothing(places):
    a, b, out = places
    merge([a, b], out)
    before = (out / "results.sqlite").read_bytes()
    again = merge([b, a, b], out)
    assert (again.trials, again.models, again.known) == (0, 0, 3)
    assert (out / "results.sqlite").read_bytes() == before


def test_a_folder_is_added_to_one_with_results(places):
    a, b, out = places
    merge([a], out)
    kept = stored(out)["t2"]
    done = merge([b], out)
    assert (done.trials, done.known) == (1, 2)
    assert stored(out).keys() == {"t1", "t2", "t3"}
    assert stored(out)["t2"] == kept


def test_other_numbers_of_one_trial_are_a_conflict_and_nothing_is_written(tmp_path, bench):
    a = make(tmp_path / "a", trial("t1"), trial("t2"))
    b = make(tmp_path / "b", trial("t1", metrics={"asr": 0.25, "der": None}), trial("t3"))
    out = tmp_path / "all"
    status, printed, said = bench(a, b, "--out", out)
    assert (status, printed) == (1, "")
    first, second, _ = said.splitlines()
    assert first == "nothing was merged: 1 conflict, same identity, other numbers"
    assert second == (
        f"trial t1 (mesa on bw3x3 170, seed 3): metrics.asr is 0.3333333333333333 in {a} "
        f"and 0.25 in {b}"
    )
    assert not out.exists()


def test_the_last_bit_of_a_number_is_a_conflict(tmp_path):
    a = make(tmp_path / "a", trial("t1", asr_before=0.3))
    b = make(tmp_path / "b", trial("t1", asr_before=0.1 + 0.2))
    assert [one.difference.field for one in merge([a, b], tmp_path / "all").conflicts] == [
        "asr_before"
    ]


def test_the_preferred_folder_is_believed_in_a_conflict(tmp_path):
    a, b = make(tmp_path / "a", trial("t1"), trial("t2")), tmp_path / "b"
    make(b, trial("t1", metrics={"asr": 0.25}), trial("t3"))
    done = merge([a, b], tmp_path / "all", prefer=b)
    assert (done.conflicts, done.trials) == ([], 3)
    assert stored(tmp_path / "all") == stored(a) | stored(b)


def test_other_weights_of_one_victim_are_a_conflict(tmp_path, bench):
    """Trials on them are of one identity and faced different victims."""
    a = make(tmp_path / "a", trial("t1"))
    b = make(tmp_path / "b", trial("t2"), weights=b"other weights")
    out = tmp_path / "all"
    status, _, said = bench(a, b, "--out", out)
    assert status == 1
    assert "model victim (victim of bw3x3 170, seed 3): artifact is " in said
    assert not out.exists()

    status, printed, _ = bench(a, b, "--out", out, "--prefer", a)
    assert status == 0
    assert printed.splitlines() == [
        f"{out}: 1 trial and 2 models added",
        "1 trial left out, on models that contradict the preferred ones; bench run computes them "
        "again",
    ]
    assert stored(out) == stored(a)


def test_a_victim_of_a_contradicted_base_model_is_left_out_with_its_trials(tmp_path):
    a, b = make(tmp_path / "a", trial("t1")), make(tmp_path / "b", trial("t2"))
    with Store.open(b, write=True) as store:
        base = store.model("base")
        store.put_model(replace(base, artifact=store.artifacts.add(b"another base")))
    assert [one.record.id for one in merge([a, b], tmp_path / "all").conflicts] == ["base"]
    assert merge([a, b], tmp_path / "all", prefer=b).left_out == 1
    assert stored(tmp_path / "all") == stored(b)


@pytest.mark.parametrize("prefer", [False, True])
def test_what_files_are_called_is_no_conflict(tmp_path, prefer):
    """The stem of an attack file, the name of a data set of somebody's own: in no identity."""
    a = make(tmp_path / "a", trial("t1"))
    named = {"trigger": "other", "dataset": "photos", "group": "h"}
    b = make(tmp_path / "b", trial("t1", **named), trial("t2", **named))
    with Store.open(b, write=True) as store:
        for model in store.models():
            store.put_model(replace(model, dataset="photos", trigger="other"))
    done = merge([a, b], tmp_path / "all", prefer=a if prefer else None)
    assert (done.conflicts, done.left_out) == ([], 0)
    assert stored(tmp_path / "all") == stored(b) | stored(a)


def test_what_the_merged_folder_holds_is_never_replaced_by_other_numbers(tmp_path):
    a, b = make(tmp_path / "a", trial("t1")), tmp_path / "b"
    make(b, trial("t1", metrics={"asr": 0.25}))
    merge([a], tmp_path / "all")
    assert merge([b], tmp_path / "all").conflicts
    with pytest.raises(UserError, match="merge them into a new --out"):
        merge([b], tmp_path / "all", prefer=b)
    assert stored(tmp_path / "all") == stored(a)


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_finished_trial_is_taken_before_a_failed_one(tmp_path, first):
    make(tmp_path / "a", trial("t1", status="failed", error="timed out", metrics={}))
    make(tmp_path / "b", trial("t1"))
    order = sorted([tmp_path / "a", tmp_path / "b"], key=lambda path: path.name != first)
    done = merge(order, tmp_path / "all")
    assert (done.mended, done.conflicts) == (1, [])
    assert stored(tmp_path / "all") == stored(tmp_path / "b")
    assert merge([tmp_path / "a"], tmp_path / "all").mended == 0


def test_an_artifact_that_one_folder_lost_comes_from_another(places):
    a, b, out = places
    with Store.open(a, write=False) as store:
        path = store.artifacts.path(store.model("victim").artifact)
    path.unlink()
    assert merge([a, b], out).missing == set()
    stored(out)
    shutil.rmtree(out)
    assert merge([a], out).missing == {path.stem}


LOW = {"asr_before": 0.4, "seed": 4}
"""A victim that counts only where `run.min_asr` is lowered."""


def thresholds(out: Path) -> dict[str, float | None]:
    return {name: one.min_asr for name, one in stored(out).items()}


def test_one_threshold_holds_for_each_leaderboard_after_a_merge(tmp_path):
    """Else victims of one ASR would be in some averages of a table and not in others."""
    a = make(tmp_path / "a", trial("t1"), trial("t2", **LOW))
    other = trial("t5", min_asr=0.5, group="only here")
    clean = trial("t6", min_asr=None, group="clean")
    b = make(tmp_path / "b", trial("t3", min_asr=0, **LOW), trial("t4", min_asr=0), other, clean)
    done = merge([a, b], tmp_path / "all")
    assert thresholds(tmp_path / "all") == {
        **dict.fromkeys(["t1", "t2", "t3", "t4"], 0.9),
        **{"t5": 0.5, "t6": None},
    }
    assert done.min_asr == {0.9: 2}
    assert merge([a, b], tmp_path / "all").min_asr == {}


def test_the_command_says_that_another_threshold_holds(tmp_path, bench):
    a, b = make(tmp_path / "a", trial("t1")), make(tmp_path / "b", trial("t2", min_asr=0))
    status, printed, _ = bench(a, b, "--out", tmp_path / "all")
    assert status == 0
    assert printed.splitlines()[1:] == ["run.min_asr = 0.9 now holds for 1 trial that had another"]


def test_the_threshold_is_that_of_the_folder_merged_into_or_of_the_preferred_one(tmp_path):
    a, b = make(tmp_path / "a", trial("t1")), make(tmp_path / "b", trial("t2", min_asr=0.2))
    merge([b], tmp_path / "all")
    assert merge([a], tmp_path / "all").min_asr == {0.2: 1}
    assert set(thresholds(tmp_path / "all").values()) == {0.2}
    # Also for what is there already.
    assert merge([a], tmp_path / "all", prefer=a).min_asr == {0.9: 2}
    assert set(thresholds(tmp_path / "all").values()) == {0.9}


MINE = {"asr": 1 / 3, "der": None, "mine": 0.25}


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_metric_that_one_folder_has_contradicts_nothing_and_is_taken(tmp_path, first):
    make(tmp_path / "a", trial("t1"))
    spread = {"mine": {"std": 0.1, "min": 0.2, "max": 0.3}}
    make(tmp_path / "b", trial("t1", metrics=MINE, spread=spread, empty={"other": "no value"}))
    order = sorted([tmp_path / "a", tmp_path / "b"], key=lambda path: path.name != first)
    assert merge(order, tmp_path / "all").conflicts == []
    assert stored(tmp_path / "all") == stored(tmp_path / "b")


def test_a_metric_is_taken_into_a_folder_that_has_the_trial_without_it(tmp_path):
    a, b = make(tmp_path / "a", trial("t1")), make(tmp_path / "b", trial("t1", metrics=MINE))
    merge([a], tmp_path / "all")
    assert merge([b], tmp_path / "all").conflicts == []
    assert stored(tmp_path / "all") == stored(b)
    assert merge([a], tmp_path / "all").trials == 0
    assert stored(tmp_path / "all") == stored(b)


def test_a_record_with_more_metrics_takes_no_other_one_away(tmp_path):
    a = make(tmp_path / "a", trial("t1", metrics={"asr": 1 / 3, "old": 0.5}))
    b = make(tmp_path / "b", trial("t1", metrics=MINE))
    assert merge([a, b], tmp_path / "all").conflicts == []
    assert stored(tmp_path / "all") == stored(a)


def test_metrics_that_two_folders_have_still_contradict_each_other(tmp_path):
    a, b = make(tmp_path / "a", trial("t1")), make(tmp_path / "b", trial("t1", metrics=MINE))
    c = make(tmp_path / "c", trial("t1", metrics=MINE | {"mine": 0.75}))
    conflicts = merge([a, b, c], tmp_path / "all").conflicts
    assert [(one.difference.field, one.folder, one.other) for one in conflicts] == [
        ("metrics.mine", b, c)
    ]
    merge([a, b, c], tmp_path / "c's", prefer=c)
    assert stored(tmp_path / "c's") == stored(c)
    merge([a, b, c], tmp_path / "a's", prefer=a)
    assert stored(tmp_path / "a's") == stored(a)


def damage(folder: Path) -> None:
    content = bytearray((folder / "results.sqlite").read_bytes())
    content[content.index(b"mesa")] ^= 1
    (folder / "results.sqlite").write_bytes(content)


def damage_artifact(folder: Path) -> None:
    next(folder.glob("artifacts/*/*.safetensors")).write_bytes(b"something else")


def make_older(folder: Path) -> None:
    connection = sqlite3.connect(folder / "results.sqlite")
    connection.execute("UPDATE meta SET value = 1000 WHERE name = 'schema'")
    connection.execute("PRAGMA user_version = 1000")
    connection.commit()
    connection.close()


def empty(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (damage, "is damaged.*bench repair"),
        (damage_artifact, "is damaged.*bench repair"),
        (make_older, r"schema 1000, this one reads"),
        (empty, "no results in"),
    ],
)
def test_a_folder_that_cannot_be_read_stops_the_merge(places, harm, reason):
    a, b, out = places
    harm(b)
    with pytest.raises(UserError, match=reason) as caught:
        merge([a, b], out)
    assert str(b) in str(caught.value)
    assert not out.exists()


def test_a_folder_that_a_run_is_writing_is_refused(places):
    a, b, out = places
    with Store.open(b, write=True), pytest.raises(UserError, match="written by another run"):
        merge([a, b], out)
    assert not out.exists()
    merge([a, b], out)
    with Store.open(a, write=True):
        pass  # the merge let go of it


def test_folders_that_make_no_sense_are_refused(places):
    a, b, out = places
    with pytest.raises(UserError, match="to merge and --out as well"):
        merge([a, b], Path(os.path.relpath(a)))
    with pytest.raises(UserError, match="is none of the folders"):
        merge([a, b], out, prefer=out / "elsewhere")
    with pytest.raises(UserError, match="is a file, not a folder"):
        merge([a, b], a / "results.sqlite")
