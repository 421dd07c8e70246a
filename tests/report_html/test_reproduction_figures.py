"""The figures of a reproduction, and the page that shows them, from a results folder."""

from __future__ import annotations

import csv
from pathlib import Path

from benchmark.report.html.contents import read_contents
from benchmark.report.reproduction import claims, figures
from benchmark.report.reproduction_figures import draw
from benchmark.report.reproduction_page import Made, page
from benchmark.store import Store
from benchmark.study import Study

from .conftest import ASR, TRIGGERS

ROWS = {"undefended": "none", "the method": "mesa", "several models": "pixel", "true": "oracle"}
STUDY = Study.model_validate(
    {
        **{"name": "study", "title": "A paper", "source": "its table", "drawn_row": "the method"},
        "grid": [{"name": "A", "title": "a grid", "preset": "quick", "attack": "bw3x3"}],
        "row": [{"label": label, "defense": name} for label, name in ROWS.items()],
        "claim": [{"text": "near", "first": "the method", "second": "true"}],
    }
)


def trials(results: Path) -> dict[tuple[str, str], frozenset[str]]:
    """Return each row's trials: those of its defense."""
    with Store.open(results, write=False) as store:
        stored = list(store.trials())
    return {
        ("A", label): frozenset(one.trial for one in stored if one.defense == name)
        for label, name in ROWS.items()
    }


def test_figures_are_drawn_of_the_trials_that_count(results: Path, tmp_path: Path) -> None:
    with Store.open(results, write=False) as store:
        pictures = draw(STUDY, STUDY.grid, trials(results), read_contents(store), tmp_path)
    assert [one.name for one in pictures] == [
        *("A-triggers", "A-generated/components", "A-generated/tsne")
    ]
    for one in pictures:
        for ending in ("png", "svg", "pdf", "csv"):
            assert (tmp_path / f"{one.name}.{ending}").stat().st_size > 100
    with (tmp_path / "A-triggers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["defense"] for row in rows} == set(ROWS)
    # A failed trial of the method on the second trigger, of another seed, is in no bar.
    mine = {row["trigger"]: row for row in rows if row["defense"] == "the method"}
    assert len(mine) == len(TRIGGERS)
    for number, row in enumerate(mine[name] for name in list(TRIGGERS)[:3]):
        assert abs(float(row["asr_after"]) - ASR["mesa"] - number / 100) < 1e-9
        assert row["trials"] == "1"
    # Several repaired models a trial: their spread is the bar's.
    spread = {row["std"] for row in rows if row["defense"] == "several models"}
    assert spread == {"0.04"}


def test_a_row_without_trials_is_left_out_and_so_are_its_maps(
    results: Path, tmp_path: Path
) -> None:
    some = trials(results) | {("A", "the method"): frozenset({"nowhere"})}
    with Store.open(results, write=False) as store:
        pictures = draw(STUDY, STUDY.grid, some, read_contents(store), tmp_path)
    assert [one.name for one in pictures] == ["A-triggers"]
    assert "the method" not in (tmp_path / "A-triggers.csv").read_text(encoding="utf-8")


def test_the_page_links_to_its_figures(results: Path, tmp_path: Path) -> None:
    mine = trials(results)
    with Store.open(results, write=False) as store:
        contents = read_contents(store)
        pictures = draw(STUDY, STUDY.grid, mine, contents, tmp_path / "r-figures")
    found = figures(STUDY, STUDY.grid, mine, contents.frame)
    argued = claims(STUDY, STUDY.grid, mine, contents.frame)
    made = Made("bench reproduce", (), "r-figures")
    text = page(STUDY, STUDY.grid, found, argued, made, pictures)
    for one in pictures:
        assert f"]({made.figures}/{one.name}.png)" in text
        assert (tmp_path / made.figures / f"{one.name}.png").exists()
