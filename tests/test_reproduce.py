"""`bench reproduce`: a paper's figures, what is planned for them, and how ours are read."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.config import resolve
from benchmark.errors import UserError
from benchmark.placing import Placing
from benchmark.plugins import load_plugins
from benchmark.report.reproduction import claims, figures
from benchmark.report.reproduction_figures import Picture
from benchmark.report.reproduction_page import Made, csv_rows, page
from benchmark.reproduce import Wanted, _request, _setting, start
from benchmark.session import Options
from benchmark.store import Store
from benchmark.study import Published, load_study

STUDY = load_study("mesa-2019")
A = STUDY.grids(("A",), None)

# The poster's table: mean and worst ASR in percent on grids A, B and C.
POSTER = {
    "before any defense": (98.7, None, None, None),
    "oracle: the true trigger": (2.4, 3.7, None, None),
    "MESA, β = 0.9 alone": (3.4, 5.9, 2.04, 1.42),
    "MESA, β = 0.8 alone": (3.6, 9.1, 1.93, 1.41),
    "MESA, β = 0.5 alone": (4.2, 9.0, 1.77, 1.56),
    "MESA, all three": (3.6, 8.2, 1.91, 1.14),
    "pixel-space baseline": (10.5, 51.4, 22.75, 27.41),
}


@pytest.fixture(autouse=True)
def _a_cache_of_our_own(command, monkeypatch):
    """Prepare data where the tests do, not in the home folder of whoever runs them."""
    monkeypatch.setenv("BENCH_CACHE_DIR", command.environment()["BENCH_CACHE_DIR"])


def frame(asr: dict[str, list[float]], min_asr: float = 0.9, before: float = 1.0) -> pd.DataFrame:
    """Return finished trials: for each row label, one on each victim."""
    rows = [
        {
            "trial": f"{label}-{at}",
            "victim": f"v{at}",
            "trigger": str(at),
            "target": 0,
            "status": "done",
            "min_asr": min_asr,
        }
        | {"asr_before": before, "asr_after": value}
        | {"clean_accuracy_before": 0.9, "clean_accuracy_after": 0.89}
        | {"group": "A", "seed": 0, "weights": ""}
        for label, values in asr.items()
        for at, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def trials(asr: dict[str, list[float]]) -> dict[tuple[str, str], frozenset[str]]:
    return {
        ("A", label): frozenset(f"{label}-{at}" for at in range(len(values)))
        for label, values in asr.items()
    }


def only(asr: dict[str, list[float]], **changes: float):
    (found,) = figures(STUDY, A, trials(asr), frame(asr, **changes))
    return found


def test_the_published_figures_are_the_posters():
    found = {
        row.label: tuple(
            None if value is None else round(100 * value, 2)
            for value in (
                row.published.get("A", Published(mean=0)).mean,
                row.published.get("A", Published(mean=0)).worst,
                row.published["B"].mean if "B" in row.published else None,
                row.published["C"].mean if "C" in row.published else None,
            )
        )
        for row in STUDY.row
        if row.published
    }
    assert found == POSTER
    assert STUDY.row[0].published["A"].lowest == 0.924


@pytest.mark.parametrize(
    ("after", "says"),
    [
        (
            [0.02, 0.036, 0.05],
            "agrees: the paper's mean lies in our interval (few attacks or seeds: 3)",
        ),
        ([0.20, 0.21, 0.22], "differs: 17.4 points above"),
        ([0.01, 0.01, 0.01], "differs: 2.6 points below"),
        ([0.20, 0.21], "16.9 points above the paper; fewer than 3 attacks or seeds, so no verdict"),
        ([], "not measured"),
    ],
)
def test_the_verdict_follows_the_interval(after, says):
    label = "MESA, all three"
    planned = {("A", label): frozenset(f"{label}-{at}" for at in range(3))}
    (found,) = figures(STUDY, A, planned, frame({label: after or [0.5]}, before=bool(after)))
    assert found.verdict.startswith(says)
    assert (found.planned, found.trials) == (3, len(after))


def test_figures_are_those_of_the_trials():
    found = only({"MESA, all three": [0.01, 0.02, 0.06]})
    assert found.mean == pytest.approx(0.03)
    assert found.std == pytest.approx(np.std([0.01, 0.02, 0.06], ddof=1))
    assert (found.lowest, found.worst) == (0.01, 0.06)
    assert (found.clean_before, found.clean_after) == pytest.approx((0.9, 0.89))


def test_a_victim_whose_attack_did_not_take_is_in_no_figure():
    assert only({"MESA, all three": [0.01, 0.02, 0.06]}, before=0.89).trials == 0


def test_a_claim_is_paired_by_victim():
    # Hard and easy victims: the spread over victims is large, the difference always 0.01.
    oracle = [0.01, 0.2, 0.4, 0.6]
    asr = {"MESA, all three": [one + 0.01 for one in oracle], "oracle: the true trigger": oracle}
    found = claims(STUDY, A, trials(asr), frame(asr))[0]
    assert found.claim.text == "MESA comes near the oracle"
    assert found.found.pairs == 4
    interval = (found.found.mean, found.found.ci_low, found.found.ci_high)
    assert interval == pytest.approx((0.01, 0.01, 0.01))


def test_the_page_shows_each_figure_beside_the_papers():
    asr = {"MESA, all three": [0.01, 0.02, 0.06], "oracle: the true trigger": [0.01, 0.02, 0.03]}
    found = figures(STUDY, A, trials(asr), frame(asr))
    text = page(
        STUDY, A, found, claims(STUDY, A, trials(asr), frame(asr)), Made("bench reproduce", ())
    )
    (line,) = [line for line in text.splitlines() if line.startswith("| MESA, all three")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:3] == ["3.6", "3.0 ± 2.6"]
    assert cells[4:8] == ["3", "8.2", "6.0", "90.0 → 89.0"]
    assert "MESA comes near the oracle: MESA, all three minus oracle" in text
    assert re.search("over 3 victims, .*from zero \\(few attacks or seeds: 3\\)\\.$", text, re.M)
    assert {row["paper_mean"] for row in csv_rows(found)} == {0.036, 0.024}


def test_a_command_and_a_folder_of_any_name_stay_what_they_are():
    odd = Made("bench reproduce -o $'a\n# Heading <img>'\udc80", (), "my page-figures")
    picture = Picture("A", "A-triggers", "what it shows")
    text = page(STUDY, A, [], [], odd, [picture])
    assert "\n    bench reproduce -o $'a\\n# Heading <img>'\\udc80\n" in text
    assert "](my%20page-figures/A-triggers.png)" in text
    text.encode("utf-8")


def test_what_is_set_by_hand_leaves_a_row_what_its_name_says():
    wanted = Wanted(
        study="mesa-2019",
        grids=("A",),
        preset="quick",
        page=Path("x.md"),
        sets={"mesa.alpha": "0.5", "mesa.levels": "0.7", "mesa.samples": "10"},
    )
    made = {row.label: _request(STUDY, A[0], row, wanted).sets for row in STUDY.row}
    assert made["MESA, all three"]["mesa.alpha"] == "0.5"
    for row in STUDY.row:
        assert made[row.label].items() >= row.sets("quick").items(), row.label
    assert any("mesa.alpha" in row.set for row in STUDY.row)


PRESETS = sorted({name for grid in STUDY.grid for name in (grid.preset, *grid.instead)})


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_retrained_as_mesa_short_is_retrained_so_under_every_preset(preset):
    grid = next(one for one in STUDY.grid if preset in (one.preset, *one.instead))
    wanted, plugins = Wanted("mesa-2019", preset=preset, ablations=True), load_plugins()

    def options(label):
        [row] = [row for row in STUDY.row if row.label == label]
        config = resolve(_request(STUDY, grid, row, wanted), plugins)
        return next(one for one in config.defenses if one.spec.name == row.defense).options

    short = options("mesa_short")
    assert options("oracle, retrained as mesa_short is").retrain == short.retrain
    patches = options("random patches, retrained as mesa_short is")
    assert (patches.retrain, patches.mixing) == (short.retrain, short.mixing)


def test_a_row_sets_more_under_a_preset_that_it_names_and_under_no_other():
    [row] = [row for row in STUDY.row if row.label == "oracle, retrained as mesa_short is"]
    usual = {"oracle.retrain.epochs": "2", "oracle.retrain.poison_ratio": "0.2"}
    assert {name for name in PRESETS if row.sets(name) != usual} == {"quick"}
    assert row.sets("quick").items() >= {"oracle.retrain.epochs": "2"}.items()


def test_a_preset_stands_in_for_the_grids_that_it_has_a_part_of():
    assert [grid.name for grid in STUDY.grids((), "cifar10-cpu")] == ["A", "B"]
    assert [grid.name for grid in STUDY.grids((), "cifar10-rgb")] == ["B"]
    with pytest.raises(UserError, match="cannot stand in"):
        STUDY.grids(("A", "C"), "cifar10-cpu")
    with pytest.raises(UserError, match="unknown grid 'D'"):
        STUDY.grids(("D",), None)


def plan(tmp_path: Path, capsys, **changes: object) -> str:
    placing = Placing("local", None, "cpu", 1, None)
    options = Options(tmp_path / "out", (), placing, 60.0, 0, "failed", dry_run=True)
    asked = {"study": "mesa-2019", "grids": ("A",), "preset": "quick", "page": tmp_path / "x.md"}
    assert start(Wanted(**(asked | changes)), options) == 0
    return capsys.readouterr().out


def test_rows_share_their_victims(tmp_path, capsys):
    # Three triggers; seven defenses and three single levels of one of them.
    said = plan(tmp_path, capsys)
    assert "1 base models, 3 attacks, 30 trials" in said
    assert "1 base models, 3 attacks, 45 trials" in plan(tmp_path, capsys, ablations=True)
    assert "2 base models, 6 attacks, 60 trials" in plan(tmp_path, capsys, seeds=2)
    assert not list(tmp_path.iterdir())


def test_an_option_of_one_defense_is_no_error_for_the_others(tmp_path, capsys):
    assert "30 trials" in plan(
        tmp_path, capsys, sets={"mesa.epochs": "2", "oracle.retrain.lr": "1"}
    )


def test_the_page_says_how_the_preset_differs_as_shipped_and_what_was_set(
    tmp_path, command, tiny_run
):
    page = tmp_path / "page.md"
    where = ["--no-run", "--out", tiny_run.copy(tmp_path / "out"), "-o", page]
    asked = ["--preset", "quick", "--grid", "B", "--set", "attack.epochs=7"]
    done = command("reproduce", "mesa-2019", *asked, *where)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in page.read_text().splitlines() if line.startswith("- Grid B: ")]
    assert line.startswith("- Grid B: preset quick. As shipped it differs from the paper in: small")
    assert line.endswith(". Set here instead of its own: attack.triggers=c0,c1,c2, attack.epochs=7")
    assert "bench reproduce mesa-2019 --preset quick" in page.read_text()
    assert str(tmp_path) not in page.read_text()


@pytest.mark.parametrize("name", ["a[draft]c/x.md", "a[/b]c/x.md", "a\nb/x.md"])
def test_the_last_line_names_the_page_whatever_it_is_called(tmp_path, capsys, monkeypatch, name):
    page = tmp_path / name
    page.parent.mkdir(parents=True)
    Store.open(tmp_path / "out", write=True, create=True).close()
    monkeypatch.setattr("benchmark.reproduce._report", lambda *_: None)
    placing = Placing("local", None, "cpu", 1, None)
    options = Options(tmp_path / "out", (), placing, 60.0, 0, "failed", dry_run=False)
    asked = {"grids": ("A",), "preset": "quick", "page": page, "run": False}
    assert start(Wanted("mesa-2019", **asked), options) == 0
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    shown = str(page).replace("\n", "\\n")
    assert said.startswith(f"the page is {shown}, its numbers ")


def test_the_pages_of_the_documentation_have_that_line_too():
    pages = Path(__file__).parents[1] / "docs" / "reproduction"
    sets = {"A": {}, "B": {}, "C": {"base.epochs": "30", "attack.epochs": "16"}}
    for name, preset in (("A", "cifar10-cpu"), ("B", "cifar10-cpu"), ("C", "cifar100-cpu")):
        [grid] = STUDY.grids((name,), preset)
        said = f"- {_setting(grid, Wanted('mesa-2019', preset=preset, sets=sets[name]))}\n"
        assert said in (pages / f"grid-{name.lower()}.md").read_text("utf-8")


def test_what_is_left_out_is_said_before_anything_runs(command, installed_packages, tmp_path):
    path = os.pathsep.join([str(installed_packages), command.environment()["PYTHONPATH"]])
    bench = type(command)(command.home, extra={"PYTHONPATH": path})
    asked = ["--preset", "quick", "--grid", "A", "--dry-run", "--out", tmp_path / "out"]
    done = bench("reproduce", "mesa-2019", *asked)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning: package bench-example-broken 0.3") == 1
    assert "is left out: " in done.stderr


def test_bad_requests_are_one_line(command, tmp_path):
    a_file = tmp_path / "results"
    a_file.touch()
    for arguments, says in (
        (["mesa-2020"], "unknown study 'mesa-2020' (did you mean mesa-2019?)"),
        (["mesa-2019", "--preset", "cifar10-cpu", "--grid", "C"], "cannot stand in"),
        (["mesa-2019", "--preset", "quick", "-o", tmp_path], "cannot write"),
        (["mesa-2019", "-o", tmp_path / "x.csv"], "numbers go into that file (name the page "),
        (["mesa-2019", "-o", tmp_path / "x.CSV"], "numbers go into that file (name the page "),
        (["mesa-2019", "--preset", "quick", "--no-run", "--out", tmp_path / "o"], "no results in"),
        (["mesa-2019", "--preset", "quick", "--out", a_file], "is a file, not a folder of results"),
    ):
        done = command("reproduce", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert says in done.stderr
        assert done.stderr.count("\n") == 1
