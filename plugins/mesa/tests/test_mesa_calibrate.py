"""The threshold's calibration, on stored trials."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path
from typing import Any

import pytest
from bench_mesa.options import DetectOptions

from benchmark.records import TrialRecord
from benchmark.store import Store

TOOL = Path(__file__).parent.parent / "tools" / "calibrate.py"
MEASURED = Path(__file__).parents[3] / "docs" / "quick-detection.csv"


def stored(out: Path, *trials: dict[str, Any]) -> Path:
    texts = ("trial", "group", "variant_id", "error", "dataset", "model", "attack", "trigger")
    texts += ("defense", "version", "variant", "setting", "role", "victim")
    plain = dict.fromkeys(texts, "x") | {
        "status": "done",
        "target": 1,
        "knowledge": ("weights",),
        "seed": 0,
        "min_asr": 0.9,
    }
    with Store.open(out, write=True, create=True) as store:
        for number, fields in enumerate(trials):
            store.put_trial(TrialRecord(**plain | {"trial": f"{number:064x}"} | fields))
    return out


def searched(*rates: float, backdoored: bool = True) -> dict[str, Any]:
    rows = [{"series": "detection", "number": i, "rate": rate} for i, rate in enumerate(rates)]
    return {
        "series": [{"series": "search", "epoch": 0}, *rows],
        "min_asr": 0.9 if backdoored else None,
    }


def calibrated(out: Path, capsys: pytest.CaptureFixture[str], *more: str | Path) -> tuple[int, str]:
    status = runpy.run_path(str(TOOL))["main"]([str(out), *map(str, more)])
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def test_the_threshold_lies_amid_the_gap(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = stored(
        tmp_path / "out",
        searched(0.1, 0.9, 0.2),
        searched(0.3, 0.8, 0.2),
        searched(0.1, 0.4, 0.2, backdoored=False),
        {},
    )
    status, text = calibrated(out, capsys)
    assert status == 0
    assert text.splitlines()[-1] == "middle of the gap from 0.400 to 0.800: 0.600"
    assert [line.split() for line in text.splitlines()[-5:-2]] == [
        ["0.400", "2/2", "1/1"],
        ["0.800", "2/2", "0/1"],
        ["0.900", "1/2", "0/1"],
    ]


def test_a_clean_model_is_one_however_many_stamps_were_tried_on_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = [
        searched(0.1, rate, backdoored=False) | {"seed": seed, "trigger": str(trigger)}
        for seed, rate in enumerate((0.2, 0.3, 0.4))
        for trigger in (0, 13, 28, 43)
    ]
    status, text = calibrated(stored(tmp_path / "out", searched(0.1, 0.9), *tried), capsys)
    assert status == 0
    found = [line.split() for line in text.splitlines() if "/" in line]
    assert [alarms for _, _, alarms in found] == ["3/3", "2/3", "1/3", "0/3"]
    assert text.count(" seed ") == 4  # a line a model
    out = stored(tmp_path / "clean", *tried)
    assert "0 backdoored and 3 clean models" in calibrated(out, capsys)[1]


def test_a_wrong_class_is_no_detection_and_may_close_the_gap(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = stored(tmp_path / "out", searched(0.9, 0.1), searched(0.2, 0.3, backdoored=False))
    status, text = calibrated(out, capsys)
    assert status == 0
    assert text.splitlines()[-1].startswith("no gap")
    assert "0.900   0/1       0/1" in text


def test_one_kind_of_model_is_not_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, text = calibrated(stored(tmp_path / "out", searched(0.1, 0.9)), capsys)
    assert status == 2
    assert text.startswith("calibrate: 1 backdoored and 0 clean models")
    status, text = calibrated(tmp_path / "nothing", capsys)
    assert status == 2
    assert text.count("\n") == 1


def test_several_folders_count_together_and_their_searches_can_be_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attacked = stored(tmp_path / "attacked", searched(0.1, 0.75), searched(0.5, 0.25))
    clean = stored(tmp_path / "clean", searched(0.125, 0.0, backdoored=False))
    status, text = calibrated(attacked, capsys, clean, "--csv", tmp_path / "kept.csv")
    assert status == 0
    assert text.splitlines()[-1] == "middle of the gap from 0.125 to 0.750: 0.438"
    with (tmp_path / "kept.csv").open(encoding="utf-8") as file:
        rows = [(row["target"], row["best"], row["rate"]) for row in csv.DictReader(file)]
    assert sorted(rows) == [("", "0", "0.125"), ("1", "0", "0.5"), ("1", "1", "0.75")]


def test_the_default_threshold_divides_the_models_that_were_searched() -> None:
    with MEASURED.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    threshold = DetectOptions().threshold
    clean = {row["seed"]: float(row["rate"]) for row in rows if not row["target"]}
    attacked = [row for row in rows if row["target"]]
    assert len(clean) >= 5
    assert max(clean.values()) < threshold / 2
    assert len(attacked) >= 24
    for row in attacked:
        assert row["best"] == row["target"]
        assert float(row["rate"]) > threshold
