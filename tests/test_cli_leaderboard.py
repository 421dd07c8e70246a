"""`bench leaderboard`, `bench export` and `bench show` over a real results folder."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmark.cli import export, leaderboard, show
from benchmark.errors import UserError
from benchmark.records import ModelRecord, TrialRecord
from benchmark.store import Store


def trial(identity: str, **fields) -> TrialRecord:
    settings = {
        **{"trial": identity, "group": "g", "variant_id": "v", "status": "done", "error": ""},
        **{"dataset": "digits", "model": "small", "attack": "bw3x3", "trigger": "170"},
        **{"defense": "mesa", "version": "1", "variant": "epochs=5", "setting": "quick"},
        **{"knowledge": ("weights",), "role": "ranked", "victim": "victim1", "min_asr": 0.9},
        **{"target": 7, "seed": 0, "asr_before": 0.987, "metrics": {"asr": 0.04}},
    }
    return TrialRecord(**settings | fields)


@pytest.fixture
def bench():
    app = typer.Typer()
    for module in (leaderboard, export, show):
        module.register(app)

    def call(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.stdout

    return call


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "bench results, ü"
    with Store.open(folder, write=True, create=True) as store:
        weights = store.artifacts.add(b"weights")
        made = ModelRecord("victim1", "victim", "done", "", "digits", "small", 0, artifact=weights)
        made = replace(made, payload={"attack": {"options": {"ratio": 0.05}}})
        store.put_model(made)
        log = "".join(f"epoch {n}\n" for n in range(50)) + "\x1b[31mred\n"
        store.put_trial(
            trial("ab1", artifacts=(weights, "0" * 64), log=log, environment={"gpu": {"n": 0}})
        )
        store.put_trial(trial("ab2", status="failed", error="ran past 600 s", metrics={}))
    return folder


def test_leaderboard_prints_a_table_by_default(bench, out):
    text = bench("leaderboard", "--out", out)
    assert "digits · small · bw3x3 · quick" in text
    assert "98.7 → 4.0" in text


def test_leaderboard_prints_nothing_but_json(bench, out):
    (row,) = json.loads(bench("leaderboard", "--out", out, "--format", "json"))
    assert (row["defense"], row["trials"], row["failed"]) == ("mesa", 2, 1)


def test_a_table_for_a_paper_has_the_rows_that_were_asked_for(bench, out):
    with Store.open(out, write=True) as store:
        for number, asr in enumerate((0.01, 0.02)):
            fields = {"variant": f"epochs={number}", "metrics": {"asr": asr}}
            store.put_trial(trial(f"cd{number}", variant_id=f"cdef{number}", **fields))
        oracle = {"defense": "oracle", "variant": "", "role": "oracle"}
        store.put_trial(trial("ef", variant_id="oracle", **oracle))

    def rows(*names):
        arguments = [word for name in names for word in ("--row", name)]
        found = json.loads(bench("leaderboard", "--out", out, "--format", "json", *arguments))
        return [(row["variant"], row["rank"]) for row in found]

    assert rows() == [("epochs=0", 1), ("epochs=1", 2), ("epochs=5", 3), ("", None)]
    assert rows("oracle", "mesa:epochs=1") == [("epochs=1", 2), ("", None)]
    assert rows("cdef1") == [("epochs=1", 2)]
    assert rows("mesa") == rows()[:3]
    assert "oracle" not in bench("leaderboard", "--out", out, "--format", "latex", "--row", "mesa")
    assert "epochs=0" not in bench("leaderboard", "--out", out, "--row", "oracle")
    with pytest.raises(UserError, match=r"meza.*mesa"):
        rows("meza")


@pytest.fixture
def several(out):
    """Results of three leaderboards: digits under two grids, photographs under one."""
    with Store.open(out, write=True) as store:
        for number, (data, grid) in enumerate((("digits", "rgb3x3"), ("photos", "rgb3x3"))):
            fields = {"group": f"g{number}", "dataset": data, "attack": grid}
            store.put_trial(trial(f"ef{number}", **fields))
    return out


@pytest.mark.parametrize("format", ["table", "json", "csv", "markdown", "latex"])
@pytest.mark.parametrize("more", [(), ("--by", "trigger")])
@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ((), 3),
        (("--dataset", "digits"), 2),
        (("--attack", "rgb3x3"), 2),
        (("--attack", "rgb3x3", "--dataset", "digits"), 1),
        (("--dataset", "digits", "--dataset", "photos"), 3),
    ],
)
def test_the_leaderboards_of_a_data_set_and_an_attack(bench, several, format, more, asked, count):
    text = bench("leaderboard", "--out", several, "--format", format, *asked, *more)
    shown = {
        "table": lambda: text.count("epochs=5"),
        "json": lambda: len(json.loads(text)),
        "csv": lambda: text.count("\n") - 1,
        "markdown": lambda: text.count("### "),
        "latex": lambda: text.count(r"\begin{table}"),
    }
    assert shown[format]() == count
    photos = "--dataset" not in asked or "photos" in asked
    assert ("photos" in text) == photos


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (("--dataset", "digit"), "no leaderboard of dataset 'digit'"),
        (("--attack", "rgb3x3", "--attack", "x"), "no leaderboard of attack 'x'"),
        (
            ("--attack", "bw3x3", "--dataset", "photos"),
            "no leaderboard of dataset 'photos' and attack 'bw3x3'",
        ),
    ],
)
def test_a_leaderboard_that_is_not_there_is_said_with_those_that_are(bench, several, asked, line):
    with pytest.raises(UserError) as refused:
        bench("leaderboard", "--out", several, *asked)
    there = "there are: digits · bw3x3, digits · rgb3x3, photos · rgb3x3"
    assert str(refused.value) == f"{line} ({there})"


def test_a_table_for_a_paper_has_the_columns_that_were_asked_for(bench, out):
    def said(format, columns, *more):
        return bench("leaderboard", "--out", out, "--format", format, "--columns", columns, *more)

    assert said("csv", "asr_after_mean, defense") == "asr_after_mean,defense\n0.04,mesa\n"
    assert said("csv", "value,failed", "--by", "trigger") == "value,failed\n170,1\n"
    _, _, *lines = said("markdown", "ASR % after,defense,seconds").splitlines()
    assert lines[:3] == [
        "| ASR % after | defense | seconds |",
        "| --: | :-- | --: |",
        "| 4.0 | mesa 1 epochs=5 | 0.0 |",
    ]
    latex = said("latex", "defense,ASR % after")
    assert r"\begin{tabular}{lr}" in latex
    assert "\nmesa 1 epochs=5 & 4.0 \\\\\n" in latex


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("latex", "asr"), r"unknown column 'asr' of latex \(known: #, defense, told, .*peak MiB"),
        (("csv", "defense,told"), r"unknown column 'told' of csv \(known: dataset, model, .*"),
        (("csv", "value"), "unknown column 'value' of csv"),
        (("json", "defense"), "--columns is for csv, markdown, latex, not for json"),
        (("table", "defense"), "--columns is for csv, markdown, latex, not for table"),
        (("latex", "defense", "--by", "seed"), r"in latex are the rows \(choose them with --row"),
    ],
)
def test_a_column_that_is_not_there_is_said_with_those_that_are(bench, out, arguments, line):
    format, columns, *more = arguments
    asked = ("--format", format, "--columns", columns, *more)
    with pytest.raises(UserError, match=line) as refused:
        bench("leaderboard", "--out", out, *asked)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("format", ["csv", "markdown", "latex"])
def test_leaderboard_prints_the_other_formats(bench, out, format):
    assert "mesa" in bench("leaderboard", "--out", out, "--format", format)


def test_export_writes_the_file(bench, out, tmp_path):
    file = tmp_path / "x.jsonl"
    assert bench("export", "--out", out, "--format", "jsonl", "-o", file) == ""
    lines = [json.loads(line) for line in file.open()]
    assert [line["trial"] for line in lines] == ["ab1", "ab2"]
    assert lines[0]["option.attack.ratio"] == 0.05


def test_show_tells_everything(bench, out):
    text = bench("show", "ab1", "--out", out)
    for told in (
        *("bw3x3, trigger 170, target class 7", "mesa 1 (ranked)", "epochs=5", "weights"),
        *(
            "0.9870 before, 0.0400 after",
            "gpu.n",
            "attack.ratio",
            "last 20 of 51 lines (all that is kept: --log)",
            "epoch 49",
        ),
        *("0" * 64 + " (scored, not kept: --set run.keep_models=true", "\\x1b[31mred"),
    ):
        assert told in text, told
    assert "epoch 30\n" not in text
    assert "ran past 600 s" in bench("show", "ab2", "--out", out)


def test_show_prints_the_log_alone_and_all_that_is_kept(bench, out):
    said = bench("show", "ab1", "--log", "--out", out)
    assert said.splitlines() == [*(f"epoch {n}" for n in range(50)), "\\x1b[31mred"]
    assert bench("show", "ab2", "--log", "--out", out) == ""


def test_show_notices_a_damaged_artifact(bench, out):
    (path,) = (out / "artifacts").glob("*/*")
    path.write_bytes(b"other")
    assert f"{path} (damaged)" in bench("show", "ab1", "--out", out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["leaderboard", "--format", "jason"], "unknown format 'jason' .did you mean json"),
        (["export", "--format", "xls", "-o", "x"], "unknown format 'xls'"),
        (["show", "ab"], "2 trials start with 'ab', such as ab1, ab2; say more"),
        (["show", "zz"], "no trial 'zz' in"),
    ],
)
def test_wrong_requests_are_said_in_a_line(bench, out, arguments, message):
    with pytest.raises(UserError, match=message):
        bench(*arguments, "--out", out)


@pytest.mark.parametrize(
    "command", [["leaderboard"], ["export", "--format", "csv", "-o", "x"], ["show", "a"]]
)
def test_a_folder_without_results_is_said(bench, tmp_path, command):
    with pytest.raises(UserError, match=r"no results in .*; start with: bench run --defense mesa"):
        bench(*command, "--out", tmp_path / "none")
    Store.open(tmp_path / "empty", write=True, create=True).close()
    with pytest.raises(UserError, match=r"no results in|no trial"):
        bench(*command, "--out", tmp_path / "empty")


def test_importing_the_commands_imports_nothing_heavy():
    code = (
        "import sys, benchmark.cli.leaderboard, benchmark.cli.export, benchmark.cli.show;"
        "print([m for m in ('torch', 'pandas', 'numpy', 'sqlite3', 'pyarrow', 'rich.table')"
        " if m in sys.modules])"
    )
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
