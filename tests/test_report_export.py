"""Exports: the contract's columns, all digits, files that are whole or not there."""

import csv
import json
import math
import os

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.errors import UserError
from benchmark.records import TrialRecord
from benchmark.report.export import export
from benchmark.report.flatten import flatten, options

CONTRACT = {
    *("trial", "status", "error", "dataset", "model", "attack", "trigger", "target"),
    *("defense", "seed", "asr_before", "asr_after", "clean_accuracy_before"),
    *("clean_accuracy_after", "robust_accuracy_after", "seconds", "peak_memory_mib"),
}


def trial(identity: str = "t1", **fields) -> TrialRecord:
    settings = {
        **{"trial": identity, "group": "g", "variant_id": "v", "status": "done", "error": ""},
        **{"dataset": "digits", "model": "small", "attack": "bw3x3", "trigger": "0", "target": 0},
        **{"defense": "mesa", "version": "1", "variant": "", "setting": "quick", "seed": 2**62},
        **{"knowledge": ("weights",), "role": "ranked", "victim": "m", "min_asr": 0.9},
    }
    return TrialRecord(**settings | fields)


TRIALS = [
    trial(
        "a",
        metrics={"asr": 0.1 + 0.2, "clean_accuracy": 0.9, "robust_accuracy": None, "mine": 1e-9},
        spread={"asr": {"std": 0.1, "min": 0.0, "max": 0.5}},
        payload={"defense": {"name": "mesa", "options": {"epochs": 5, "betas": [0.9, 0.5]}}},
        environment={"torch": "2.11", "device": "cpu"},
        recovered_target=3,
    ),
    trial("b", status="failed", error='line "one"\nand, two'),
]


def read(folder, format):
    file = folder / f"out.{format}"
    assert export(TRIALS, format, file) == 2
    if format == "jsonl":
        return [json.loads(line) for line in file.read_text().splitlines()]
    if format == "csv":
        return list(csv.DictReader(file.open(newline="")))
    return pd.read_parquet(file).to_dict("records")


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_every_format_has_the_contract(tmp_path, format):
    first, second = read(tmp_path, format)
    assert set(second) == set(first) >= CONTRACT
    assert float(first["asr_after"]) == 0.1 + 0.2
    assert float(first["metric.mine"]) == 1e-9
    assert int(first["seed"]) == 2**62
    assert float(first["option.defense.epochs"]) == 5
    assert float(first["asr_after_max"]) == 0.5
    environment = first["environment"]
    environment = environment if format == "jsonl" else json.loads(environment)
    assert environment == {"torch": "2.11", "device": "cpu"}
    assert second["error"] == 'line "one"\nand, two'
    empty = second["asr_after"]
    assert empty in ("", None) or math.isnan(empty)


def test_jsonl_keeps_nothing_apart_from_zero(tmp_path):
    first, second = read(tmp_path, "jsonl")
    assert first["robust_accuracy_after"] is None
    assert first["knowledge"] == ["weights"]
    assert second["asr_after"] is None


def test_parquet_columns_have_types(tmp_path):
    read(tmp_path, "parquet")
    import pyarrow.parquet as pq

    kinds = {field.name: str(field.type) for field in pq.read_schema(tmp_path / "out.parquet")}
    assert kinds["seed"] == kinds["recovered_target"] == "int64"
    assert kinds["asr_after"] == kinds["robust_accuracy_after"] == "double"
    assert kinds["trigger"] == kinds["option.defense.betas"] == "string"


def test_mixed_options_become_text_in_parquet(tmp_path):
    mixed = [trial(str(v), payload={"options": {"x": v}}) for v in (1, "auto", True)]
    export(mixed, "parquet", tmp_path / "x.parquet")
    assert pd.read_parquet(tmp_path / "x.parquet")["option.x"].tolist() == ["1", "auto", "true"]


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ((2**63 - 1, -(2**63)), [2**63 - 1, -(2**63)]),
        ((2**63, 1), ["9223372036854775808", "1"]),
        ((-(2**63) - 1, 10**400), ["-9223372036854775809", "1" + "0" * 400]),
        ((2**53 + 1, 0.5), ["9007199254740993", "0.5"]),
        ((2**63, 0.5), ["9223372036854775808", "0.5"]),
    ],
)
def test_numbers_that_parquet_has_no_type_for_become_text(tmp_path, values, kept):
    seeds = [trial(str(value)[:9], payload={"options": {"seed": value}}) for value in values]
    assert export(seeds, "parquet", tmp_path / "x.parquet") == 2
    assert pd.read_parquet(tmp_path / "x.parquet")["option.seed"].tolist() == kept


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_no_digit_is_lost(value, tmp_path_factory):
    file = tmp_path_factory.mktemp("export") / "x.csv"
    export([trial(asr_before=value)], "csv", file)
    assert float(next(csv.DictReader(file.open()))["asr_before"]) == value


def test_options_are_found_wherever_they_lie():
    payload = {"options": {"a": 1}, "attack": {"name": "x", "deep": {"options": {"b": None}}}}
    assert dict(options(payload)) == {"option.a": 1, "option.attack.deep.b": None}


def test_the_options_of_attack_and_base_model_are_found_by_their_identities():
    models = {
        "m": {"base": "b", "attack": {"options": {"ratio": 0.01}}},
        "b": {"model": {"options": {"width": 16}}},
    }
    flat = flatten(trial(payload={"defense": {"options": {"epochs": 5}}}), models)
    assert {name: value for name, value in flat.items() if name.startswith("option.")} == {
        **{"option.defense.epochs": 5, "option.attack.ratio": 0.01, "option.model.width": 16}
    }


def test_flat_lines_hold_all_but_logs():
    left_out = {"metrics", "spread", "empty", "payload", "log", "series", "triggers_artifact"}
    assert set(TrialRecord.__dataclass_fields__) - set(flatten(trial())) == left_out


@pytest.mark.parametrize(
    ("format", "name", "message"),
    [
        ("xlsx", "x", "unknown format 'xlsx'"),
        ("csv", "nowhere/x", "there is no folder"),
        ("csv", "folder", "it is a folder; name a file in it"),
    ],
)
def test_what_cannot_be_written_is_said(tmp_path, format, name, message):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=message):
        export(TRIALS, format, tmp_path / name)
    with pytest.raises(UserError, match="no trials to write"):
        export([], "csv", tmp_path / "x")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "x.csv"
    file.write_text("old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot write .*x.csv: no space left on device"):
        export(TRIALS, "csv", file)
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]
    assert file.read_text() == "old"


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_half_a_character_in_an_option_is_written_by_its_number(tmp_path, format):
    file = tmp_path / f"x.{format}"
    assert export([trial("one", payload={"options": {"note": "a\udc80"}})], format, file) == 1
    assert b"a\\udc80" in file.read_bytes()
