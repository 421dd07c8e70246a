"""What a plugin notes of its work: numbers of any kind go in, and every number comes out."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.context import RunContext
from benchmark.jobs import Report
from benchmark.report.html.curves import charts
from benchmark.sandbox.files import JobFolder


@pytest.fixture
def run(tmp_path: Path) -> RunContext:
    return RunContext(torch.device("cpu"), 0, progress_file=tmp_path / "progress.json")


def test_numbers_of_tensors_and_arrays_are_numbers(run: RunContext) -> None:
    run.record(
        "search",
        step=np.int64(3),
        loss=torch.tensor(0.5),
        rate=np.float32(0.25),
        text="ok",
        on=True,
    )
    [row] = run.series
    assert json.loads(json.dumps(row)) == {
        **{"series": "search", "step": 3, "loss": 0.5, "rate": 0.25, "text": "ok", "on": True},
    }
    run.progress(torch.tensor(2), np.int64(2), "search")
    assert json.loads(run.progress_file.read_text()) == {"step": 2, "total": 2, "text": "search"}


@pytest.mark.parametrize("value", [[1, 2], None, {"a": 1}, torch.zeros(3), np.zeros(0)])
def test_what_is_no_number_is_refused_where_it_is_noted(run: RunContext, value: object) -> None:
    with pytest.raises(TypeError, match=r"loss is a \w+, which is no number and no text"):
        run.record("search", loss=value)


def test_a_curve_keeps_its_values_that_are_not_finite(run: RunContext) -> None:
    for epoch, loss in enumerate((1.0, math.nan, -math.inf)):
        run.record("search", epoch=epoch, loss=loss)
    report = Report(id="x", status="done", series=run.series)
    series = Report.model_validate_json(report.model_dump_json()).series
    assert math.isnan(series[1]["loss"])
    assert series[2]["loss"] == -math.inf
    [chart] = charts(series)
    assert chart.lines[0].y == [1.0, None, None]


def test_what_a_plugin_wrote_itself_cannot_end_its_trial(tmp_path: Path) -> None:
    """Half a character or deep nesting is no reason to lose a score."""
    folder = JobFolder(tmp_path / "job")
    folder.create()
    deep = "[" * 300 + "]" * 300
    lines = [
        f'{{"series": "s", "deep": {deep}, "loss": 1.5}}',
        '{"series": "\\ud800", "a": "\\udc80"}',
    ]
    (folder.outbox / "series.jsonl").write_text("\n".join([*lines, "[1]", "7"]), encoding="utf-8")
    series = folder.read_series()
    assert series == [{"series": "s", "loss": 1.5}, {"series": "\\ud800", "a": "\\udc80"}]
    Report(id="x", status="done", series=series).model_dump_json().encode("utf-8")
