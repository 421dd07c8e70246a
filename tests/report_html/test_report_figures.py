"""The numbers under the figures, and the figures as files."""

import csv
import json
import math
import shutil
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from frames import frame, several
from PIL import Image

from benchmark.cli.report import report as bench_report
from benchmark.errors import UserError
from benchmark.report.html.contents import read_contents
from benchmark.report.html.curves import charts
from benchmark.report.html.embedding import embed
from benchmark.report.html.fronts import front, points
from benchmark.report.html.grid import Bar, Grid, GridTrigger, Line, Series, arrange, grid_of
from benchmark.report.html.plots import grid_plot, style
from benchmark.report.html.write import write_figures
from benchmark.store import Store

from .conftest import EVIL, trial

pytestmark = pytest.mark.filterwarnings("error::UserWarning")


@pytest.fixture(scope="module")
def contents(results):
    with Store.open(results, write=False) as store:
        return read_contents(store)


@pytest.fixture(scope="module")
def figures(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures") / "new" / "folder"
    with Store.open(results, write=False) as store:
        assert write_figures(store, folder, most=1) == 3 + 4
    return folder


def numbers(file):
    return list(csv.DictReader(file.open(newline="")))


def test_triggers_are_sorted_by_what_the_ranked_defenses_leave(contents):
    grid = grid_of(contents, contents.boards[0])
    assert [trigger.name for trigger in grid.triggers] == ["0", "27", "170", EVIL]
    assert [one.label for one in grid.series] == [
        *("none", "fine_tuning", "mesa", "pixel", EVIL, "oracle")
    ]
    pixel = grid.series[3].bars[2]
    assert (pixel.mean, pixel.std, pixel.count) == (pytest.approx(0.14), 0.04, 1)
    assert grid.series[2].bars[1].std is None
    assert np.array(grid.triggers[2].pixels).shape == (3, 3, 3)


@dataclass
class FakeRow:
    variant_id: str
    clean_accuracy_after_mean: float | None
    asr_after_mean: float | None
    role: str = "ranked"
    seconds_mean: float | None = None
    asr_after_ci_low: float | None = None
    asr_after_ci_high: float | None = None

    @property
    def ranked(self):
        return self.role == "ranked"


def test_the_front_is_those_whom_nobody_beats_on_both():
    rows = [
        FakeRow("good", 0.90, 0.10),
        FakeRow("equal", 0.90, 0.10),
        FakeRow("careful", 0.95, 0.30),
        FakeRow("beaten", 0.89, 0.10),
        FakeRow("unscored", None, 0.0),
        FakeRow("oracle", 0.99, 0.0, role="oracle"),
    ]
    found = points(rows, {row.variant_id: row.variant_id for row in rows}, "clean_accuracy")
    assert [point.label for point in front(found)] == ["good", "equal", "careful"]
    assert "unscored" not in [point.label for point in found]
    assert points(rows, {}, "seconds") == []


def test_numbered_stages_are_lines_of_one_chart():
    rows = [
        {"series": f"retrain {number}", "epoch": epoch, "loss": number + epoch}
        for number in (1, 2)
        for epoch in range(3)
    ]
    (chart,) = charts(rows)
    assert (chart.stage, [line.label for line in chart.lines]) == ("retrain", ["1", "2"])
    assert chart.lines[1].y == [2, 3, 4]


def test_curves_of_any_shape_are_drawn_or_left_out():
    words = [{"series": "notes", "text": "hello"}, {"series": "one", "epoch": 1, "loss": 2.0}]
    long = [{"series": "long", "value": n} for n in range(5000)]
    (chart,) = charts([*words, *long])
    (line,) = chart.lines
    assert (chart.step, len(line.x), line.x[0], line.x[-1]) == ("row", 200, 0, 4999)


def test_steps_and_values_without_a_place_are_left_out():
    rows = [
        {"series": "s", "epoch": epoch, "loss": loss}
        for epoch, loss in ((0, 1.0), (math.nan, 2.0), (2, 10**400), (3, math.inf), (4, 3.0))
    ]
    (chart,) = charts(rows)
    (line,) = chart.lines
    assert (line.x, line.y) == ([0, 2, 3, 4], [1.0, None, None, 3.0])
    json.dumps([line.x, line.y], allow_nan=False)


def test_a_trigger_that_no_ranked_defense_survived_is_no_easy_one():
    lines = [Line("mesa", "mesa", "ranked", True), Line("none", "none", "floor", False)]
    trials = [*several("mesa", [0.2, 0.1]), *several("none", [0.9, 0.9, 0.9])]
    grid = arrange(frame(*trials), "variant_id", lines, SimpleNamespace(models={}))
    assert [trigger.name for trigger in grid.triggers] == ["1", "0", "2"]


@pytest.mark.parametrize("method", ["components", "tsne"])
def test_equal_triggers_have_a_place_too(method):
    plane = embed(np.full((10, 3, 3, 3), 7, dtype=np.uint8), method)
    assert np.isfinite(plane.points).all()
    assert len(plane.drawn) >= 1


def test_thumbnails_keep_their_distance():
    plane = embed(np.random.default_rng(0).integers(0, 256, (300, 3, 3, 3), np.uint8), "components")
    assert len(plane.points) == 128
    places = plane.points[plane.drawn]
    apart = ((places[:, None] - places[None]) ** 2).sum(axis=2) + np.eye(len(places))
    assert apart.min() >= 6e-3


def test_long_names_stay_in_the_picture():
    triggers = tuple(GridTrigger(name, 0, name, None) for name in "abc")
    bars = (Bar(0.1, None, 1),) * 3
    names = [f"a defense with a long name, number {number}" for number in range(4)]
    series = tuple(Series(name, name, "ranked", bars) for name in names)
    with style():
        figure = grid_plot(Grid(triggers, series))
        figure.canvas.draw()
        (legend,) = figure.legends
        assert legend.get_window_extent().x1 <= figure.bbox.width


def test_every_figure_is_there_four_times(figures):
    names = {file.with_suffix("") for file in figures.rglob("*.*")}
    assert len(names) == 7
    for name in names:
        with Image.open(name.with_suffix(".png")) as image:
            assert min(image.size) > 150
            assert image.convert("L").getextrema()[0] < 128
        assert "<svg" in name.with_suffix(".svg").read_text("utf-8")
        paper = name.with_suffix(".pdf").read_bytes()
        assert paper.startswith(b"%PDF-")
        assert b"CreationDate" not in paper  # the same numbers give the same file
        assert b"/Type3" not in paper
        assert len(numbers(name.with_suffix(".csv"))) >= 2


def test_the_csv_has_the_numbers_of_the_figure(figures):
    rows = numbers(figures / "1-digits-small-bw3x3-triggers.csv")
    assert len(rows) == 6 * 4
    (row,) = [row for row in rows if row["defense"] == "pixel" and row["trigger"] == "170"]
    assert float(row["asr_after"]) == pytest.approx(0.14)
    assert (float(row["std"]), row["trials"]) == (0.04, "1")
    rows = numbers(figures / "1-digits-small-bw3x3-seconds.csv")
    assert {row["defense"] for row in rows if row["front"] == "True"} == {"mesa", "pixel"}


def test_the_same_numbers_make_the_same_files(results, figures, tmp_path):
    with Store.open(results, write=False) as store:
        write_figures(store, tmp_path, most=0)
    for file in tmp_path.rglob("*.*"):
        assert file.read_bytes() == (figures / file.name).read_bytes(), file.name
    assert not (tmp_path / "trials").exists()


def test_wrong_requests_are_said_in_a_line(results, tmp_path):
    def ask(**given):
        asked = {"file": None, "figures": None, "out": results, "title": "x", "most": 0}
        bench_report(**asked | given)

    (tmp_path / "file").touch()
    for given, message in (
        ({}, "nothing to write .say -o"),
        ({"file": tmp_path}, "it is a folder; name a file in it"),
        ({"file": tmp_path / "no" / "x.html"}, "there is no folder"),
        ({"figures": tmp_path / "file" / "x"}, "cannot write to .*: not a directory"),
        ({"file": tmp_path / "x", "out": tmp_path / "none"}, "no results in"),
    ):
        with pytest.raises(UserError, match=message):
            ask(**given)


def test_a_row_that_a_run_adds_meanwhile_waits_for_the_next_report(results, tmp_path, monkeypatch):
    out = shutil.copytree(results, tmp_path / "results")
    read = Store.trials_frame

    def read_before_a_row_comes(store):
        frame = read(store)
        with Store.open(out, write=True) as writer:
            writer.put_trial(trial("mesa", 0, "0", trial="new", variant_id="a new row"))
        return frame

    monkeypatch.setattr(Store, "trials_frame", read_before_a_row_comes)
    with Store.open(out, write=False) as store:
        contents = read_contents(store)
        assert "new" in {one.trial for one in store.trials()}
    assert {one.trial for one in contents.trials} == {*contents.frame["trial"]}
