"""A trial's record that is taken away: the rest stays whole, also for who reads meanwhile."""

import pytest

from benchmark.records import TrialRecord
from benchmark.store import Store, rows


def trial(identity: str) -> TrialRecord:
    settings = {
        **{"trial": identity, "group": "g", "variant_id": "v", "status": "failed", "error": "so"},
        **{"dataset": "digits", "model": "small", "attack": "bw3x3", "trigger": "170", "target": 0},
        **{"defense": "mesa", "version": "1", "variant": "", "setting": "quick", "seed": 3},
        **{"knowledge": ("weights",), "role": "ranked", "victim": "victim", "min_asr": 0.9},
    }
    return TrialRecord(**settings)


@pytest.fixture
def out(tmp_path):
    with Store.open(tmp_path / "out", write=True, create=True) as store:
        store.put_all(map(trial, ["t1", "t2", "t3"]))
    return tmp_path / "out"


def test_the_others_are_whole_without_it(out):
    with Store.open(out, write=True) as store:
        store.drop_trial("t2")
        store.drop_trial("t2")  # nothing is there, and nothing happens
    with Store.open(out, write=True) as store:
        assert list(store.trials()) == [trial("t1"), trial("t3")]
        assert len(store.trials_frame()) == 2
        assert store.trial("t2") is None
        store.put_trial(trial("t2"))
        assert len(list(store.trials())) == 3


def test_a_reader_passes_over_one_that_is_dropped_meanwhile(out, monkeypatch):
    monkeypatch.setattr(rows, "CHUNK", 2)
    with Store.open(out, write=True) as store, Store.open(out, write=False) as reader:
        read = reader.trials()
        assert next(read).trial == "t1"
        store.drop_trial("t3")
        assert [one.trial for one in read] == ["t2"]


def test_it_is_dropped_only_by_a_writer(out):
    with Store.open(out, write=False) as store, pytest.raises(RuntimeError, match="for reading"):
        store.drop_trial("t1")
