"""What comes out of a store is what went in, to the last bit, and nothing that was not stored."""

import math
import struct
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmark.errors import JobFault, UserError
from benchmark.records import ModelRecord, TrialRecord
from benchmark.store import Store
from benchmark.store.codec import decode, encode
from benchmark.store.frame import CLAIMS
from benchmark.store.layout import MODEL, TRIAL

TEXT = st.text(max_size=20)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.dictionaries(
    TEXT, st.recursive(st.none() | FLOAT | TEXT | st.booleans(), st.lists, max_leaves=4), max_size=3
)
SERIES = st.lists(st.dictionaries(TEXT, FLOAT | TEXT, max_size=3), max_size=3)
INTEGER = st.integers(0, 2**63 - 1)


def trial(identity: str = "t1", **fields) -> TrialRecord:
    settings = {
        **{"trial": identity, "group": "g", "variant_id": "v", "status": "done", "error": ""},
        **{"dataset": "digits", "model": "small", "attack": "bw3x3", "trigger": "0", "target": 0},
        **{"defense": "mesa", "version": "1", "variant": "", "setting": "quick", "seed": 0},
        **{"knowledge": ("weights",), "role": "ranked", "victim": "m", "min_asr": 0.9},
    }
    return TrialRecord(**settings | fields)


def model(identity: str = "m1", **fields) -> ModelRecord:
    settings = {"id": identity, "kind": "base", "status": "done", "error": "", "seed": 0}
    return ModelRecord(**settings | {"dataset": "digits", "model": "small"} | fields)


def generated(record, made, **fields):
    """Any record of this class: each field of a plain type drawn, the others as in `fields`."""
    kinds = {str: TEXT, int: INTEGER, float: FLOAT}
    plain = {name: kinds[type(value)] for name, value in vars(made).items() if type(value) in kinds}
    return st.builds(record, **plain | fields)


TRIALS = generated(
    TrialRecord,
    trial(),
    status=st.sampled_from(["done", "failed"]),
    knowledge=st.lists(TEXT, max_size=3).map(tuple),
    artifacts=st.lists(TEXT, max_size=3).map(tuple),
    metrics=st.dictionaries(st.sampled_from(["asr", "der", "mine"]), st.none() | FLOAT),
    spread=st.dictionaries(st.sampled_from(["asr", "x"]), st.fixed_dictionaries({"std": FLOAT})),
    asr_before=st.none() | FLOAT,
    recovered_target=st.none() | st.integers(0, 99),
    payload=JSON,
    environment=JSON,
    series=SERIES,
)
MODELS = generated(
    ModelRecord,
    model(),
    kind=st.sampled_from(["base", "victim"]),
    target=st.none() | st.integers(0, 99),
    asr=st.none() | FLOAT,
    payload=JSON,
    series=SERIES,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Store.open(tmp_path_factory.mktemp("out"), write=True, create=True) as opened:
        # Hundreds of examples: their commits need not outlive a power cut.
        opened._connection.execute("PRAGMA synchronous = OFF")
        yield opened


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(record=TRIALS)
def test_a_trial_comes_back_as_it_was(store, record):
    store.put_trial(record)
    back = store.trial(record.trial)
    assert back == record
    assert repr(back) == repr(record)  # -0.0 and 0.0 are equal, their texts are not


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(record=MODELS)
def test_a_model_comes_back_as_it_was(store, record):
    store.put_model(record)
    assert repr(store.model(record.id)) == repr(record)


@given(value=FLOAT, bit=st.integers(0, 63))
def test_no_bit_of_a_float_can_flip_unnoticed(value, bit):
    flat, (_, body, body_sum), shared = encode(TRIAL, trial(asr_before=value))
    at = TRIAL.columns.index("asr_before")
    (flipped,) = struct.unpack("<d", struct.pack("<Q", _bits(value) ^ (1 << bit)))
    with pytest.raises(Exception, match="does not fit its checksum"):
        decode(TRIAL, (*flat[:at], flipped, *flat[at + 1 :]), shared[1:], body, body_sum)


def _bits(value: float) -> int:
    return struct.unpack("<Q", struct.pack("<d", value))[0]


@pytest.mark.parametrize("layout", [TRIAL, MODEL])
def test_every_field_of_a_record_has_its_place(layout):
    placed = {*layout.columns, *layout.shared, *layout.details} - {*layout.derived, "shared"}
    assert placed == set(layout.record.__dataclass_fields__)


def test_a_later_record_takes_the_place_of_a_failed_one(tmp_path):
    with Store.open(tmp_path, write=True, create=True) as store:
        store.put_trial(trial(status="failed", error="out of memory"))
        store.put_trial(trial(metrics={"asr": 0.25}))
        assert [t.status for t in store.trials()] == ["done"]
        assert store.statuses(["t1", "unknown"]) == {"t1": "done"}


@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize("fields", [{"metrics": {"mine": None}}, {"seconds": 0.0}])
def test_a_number_that_is_not_finite_is_refused_by_name(store, number, fields):
    name = next(iter(fields))
    fields = {"metrics": {"mine": number}} if name == "metrics" else {name: number}
    with pytest.raises(JobFault, match=r"(mine|seconds) of bad is (nan|inf), not a finite number"):
        store.put_trial(trial("bad", **fields))
    assert store.trial("bad") is None


def test_diagnostics_may_be_nan_and_texts_may_be_undecodable(store):
    store.put_trial(trial("odd", error="cannot read \udce4", series=[{"loss": math.nan}]))
    back = store.trial("odd")
    assert math.isnan(back.series[0]["loss"])
    assert back.error == "cannot read \\udce4"


def test_a_trial_is_found_by_the_start_of_its_identity(tmp_path):
    with Store.open(tmp_path, write=True, create=True) as store:
        for identity in ("ab1", "ab2", "c%_"):
            store.put_trial(trial(identity))
        assert store.find_trial("c").trial == "c%_"
        with pytest.raises(UserError, match="2 trials start with 'ab', such as ab1, ab2"):
            store.find_trial("ab")
        with pytest.raises(UserError, match="no trial '%' in"):
            store.find_trial("%")


def test_the_frame_has_the_flat_columns_and_no_others(tmp_path):
    spread = {"asr": {"std": 0.1, "min": 0.0, "max": 0.5}}
    with Store.open(tmp_path, write=True, create=True) as store:
        store.put_trial(trial("a", metrics={"asr": 0.25}, spread=spread, asr_before=0.99))
        store.put_trial(trial("b", status="failed", seed=2**63 - 1, knowledge=(), defense="none"))
        frame = store.trials_frame()
    columns = {*TRIAL.columns, *TRIAL.shared, *CLAIMS, "weights"}
    assert set(frame.columns) == columns - {"shared"}
    assert frame.loc[0, ["asr_after", "asr_after_std", "asr_after_max"]].tolist() == [
        0.25,
        0.1,
        0.5,
    ]
    assert math.isnan(frame.loc[1, "asr_after"])
    assert frame["knowledge"].tolist() == [("weights",), ()]
    assert frame["defense"].tolist() == ["mesa", "none"]
    assert frame["seed"].tolist() == [0, 2**63 - 1]


def test_a_reader_cannot_write(tmp_path):
    Store.open(tmp_path, write=True, create=True).close()
    with Store.open(tmp_path, write=False) as store, pytest.raises(RuntimeError):
        store.put_model(model())


def test_models_are_listed_and_replaced(tmp_path):
    with Store.open(tmp_path, write=True, create=True) as store:
        store.put_model(model("b"))
        store.put_model(model("a", artifact="x"))
        store.put_model(replace(model("a"), artifact="y"))
        assert [(m.id, m.artifact) for m in store.models()] == [("a", "y"), ("b", "")]
