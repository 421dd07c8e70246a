"""`bench run` from outside: what it prints, what it keeps, what it does not do twice."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmark.builtin.attack_options import BlackWhiteAttack
from benchmark.recipe import BaseRecipe, FineTune
from benchmark.settings import option_keys
from benchmark.store import Store

BEFORE_AND_AFTER = {"asr_before", "asr_after", "clean_accuracy_before", "clean_accuracy_after"}
FIELDS = {
    *("dataset", "model", "attack", "defense", "version", "knowledge", "ranked", "trials"),
    *("failed", "asr_after_std", "asr_after_ci_low", "asr_after_ci_high", "asr_after_worst"),
    *("robust_accuracy_after_mean", "seconds_mean", "peak_memory_mib_mean"),
    *(f"{name}_mean" for name in BEFORE_AND_AFTER),
}
COLUMNS = BEFORE_AND_AFTER | {
    *("trial", "status", "error", "dataset", "model", "attack", "trigger", "target", "defense"),
    *("seed", "robust_accuracy_after", "seconds", "peak_memory_mib"),
}
RATES = re.compile(r"(asr|accuracy).*(mean|low|high|worst|before|after)$")
DEFENSES = ["fine_tuning", "none", "oracle", "shake"]
MEASURED = ("seconds", "peak_memory_mib", "environment", "run", "finished", "log")
"""What two runs of one trial may differ in."""


def trials(out: Path) -> dict[tuple[str, str, int], dict]:
    with Store.open(out, write=False) as store:
        return {(one.defense, one.trigger, one.seed): vars(one) for one in store.trials()}


def numbers(record: dict) -> dict:
    return {name: value for name, value in record.items() if name not in MEASURED}


def victims(out: Path) -> dict[tuple[str, int], str]:
    with Store.open(out, write=False) as store:
        return {(m.trigger, m.seed): m.artifact for m in store.models() if m.kind == "victim"}


def jobs(stderr: str) -> list[str]:
    """Return the labels of the jobs that a run says that it finished."""
    return re.findall(r"^\[\d+/\d+.*?\] (.*?): ", stderr, re.M)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of every file."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in files}


@pytest.fixture(scope="module")
def board(tiny_run) -> list[dict]:
    done = tiny_run.command("leaderboard", "--out", tiny_run.out, "--format", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory) -> list[dict]:
    file = tmp_path_factory.mktemp("export") / "trials.jsonl"
    done = tiny_run.command("export", "--out", tiny_run.out, "--format", "jsonl", "-o", file)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in file.open()]


def test_a_run_prints_the_leaderboard_and_nothing_else(tiny_run):
    printed = tiny_run.done.stdout
    assert all(name in printed for name in DEFENSES)
    assert "trials done" not in printed
    assert "\x1b" not in printed


def test_a_run_says_where_no_terminal_is_what_it_finished(tiny_run):
    lines = jobs(tiny_run.done.stderr)
    assert len(lines) == 11
    assert lines[0] == "base model, seed 0"
    assert {"attack bw3x3 170", "shake on bw3x3 170", "none on bw3x3 0"} < set(lines)
    assert "8 trials done\n" in tiny_run.done.stderr


def test_a_run_leaves_no_process_and_no_temporary_file(tiny_run):
    assert tiny_run.command.nothing_left()
    assert list(tiny_run.command.temporary.iterdir()) == []


def test_leaderboard_has_the_fields_that_scripts_rely_on(board):
    assert sorted(row["defense"] for row in board) == DEFENSES
    for row in board:
        assert row.keys() >= FIELDS
        rates = {key: value for key, value in row.items() if RATES.search(key)}
        assert len(rates) > 8
        assert all(value is None or 0 <= value <= 1 for value in rates.values())
        assert (row["trials"], row["failed"]) == (2, 0)
        assert row["seconds_mean"] > 0
        assert row["peak_memory_mib_mean"] > 50


def test_the_controls_are_there_unasked_and_only_the_honest_defense_is_ranked(board):
    assert {row["defense"]: row["ranked"] for row in board} == {
        **{"shake": True, "none": False, "fine_tuning": False, "oracle": False}
    }
    assert {row["defense"]: row["rank"] for row in board} == {
        **{"shake": 1, "none": None, "fine_tuning": None, "oracle": None}
    }


def test_every_row_says_what_the_defense_was_told(board):
    assert {row["defense"]: sorted(row["knowledge"]) for row in board} == {
        "shake": ["weights"],
        "none": ["weights"],
        "fine_tuning": ["clean images", "weights"],
        "oracle": ["clean images", "trigger pixels", "weights"],
    }


def test_no_preset_reaches_the_tiny_case(command):
    told = {str(word).partition("=")[0] for word in command.tiny(Path("out"))}
    groups = {"base": BaseRecipe, "attack": BlackWhiteAttack, "retrain": FineTune}
    for group, options in groups.items():
        assert {f"{group}.{key}" for key in option_keys(options)} <= told


def test_the_tiny_case_is_a_real_backdoor_that_the_oracle_removes(board):
    after = {row["defense"]: row["asr_after_mean"] for row in board}
    assert after["none"] > 0.9
    assert after["oracle"] < 0.5


@pytest.mark.parametrize("form", ["csv", "markdown", "latex", "table"])
def test_every_form_of_the_leaderboard_names_every_defense(tiny_run, board, form):
    done = tiny_run.command("leaderboard", "--out", tiny_run.out, "--format", form)
    assert (done.returncode, done.stderr) == (0, "")
    text = done.stdout.replace("\\_", "_").replace("\\", "")
    assert all(name in text for name in DEFENSES)
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        assert [float(row["asr_after_mean"]) for row in rows] == [
            r["asr_after_mean"] for r in board
        ]


def test_the_export_has_the_columns_that_scripts_rely_on(exported):
    assert len(exported) == 8
    for row in exported:
        assert row.keys() >= COLUMNS
        rates = [value for key, value in row.items() if RATES.search(key)]
        assert all(value is None or 0 <= value <= 1 for value in rates)
        assert (row["status"], row["error"], row["target"]) == ("done", "", 1)


@pytest.mark.parametrize(("form", "read"), [("csv", pd.read_csv), ("parquet", pd.read_parquet)])
def test_every_export_has_the_same_numbers(tiny_run, exported, tmp_path, form, read):
    file = tmp_path / f"trials.{form}"
    done = tiny_run.command("export", "--out", tiny_run.out, "--format", form, "-o", file)
    assert (done.returncode, done.stdout) == (0, "")
    found = read(file).set_index("trial")
    for row in exported:
        for column in ("asr_after", "clean_accuracy_after", "seconds", "seed", "defense"):
            assert found.loc[row["trial"], column] == row[column]


def test_the_first_four_digits_of_a_trial_are_enough_to_see_it(tiny_run, exported):
    row = next(row for row in exported if row["defense"] == "shake")
    done = tiny_run.command("show", row["trial"][:6], "--out", tiny_run.out)
    assert done.returncode == 0
    assert row["trial"] in done.stdout
    assert "shaken by 0.5" in done.stdout  # the log
    assert f"{row['asr_after']:.4f} after" in done.stdout
    log = tiny_run.command("show", row["trial"][:6], "--log", "--out", tiny_run.out)
    assert (log.returncode, log.stderr) == (0, "")
    assert "shaken by 0.5" in log.stdout.splitlines()


def test_the_undefended_trial_has_the_victims_own_numbers(tiny_run):
    with Store.open(tiny_run.out, write=False) as store:
        for one in store.trials():
            victim = store.model(one.victim)
            assert (one.asr_before, one.clean_accuracy_before) == (
                victim.asr,
                victim.clean_accuracy,
            )
            if one.defense == "none":
                assert one.metrics["asr"] == victim.asr
                assert one.metrics["clean_accuracy"] == victim.clean_accuracy
                assert one.metrics["robust_accuracy"] == one.robust_accuracy_before
                assert one.artifacts == (victim.artifact,)


def test_every_trial_records_what_it_was_measured_with(tiny_run):
    for record in trials(tiny_run.out).values():
        environment = record["environment"]
        assert environment["packages"]["torch"]
        assert environment["device"] == "cpu"
        assert environment["threads"] == 1
        assert environment["processor"]
        assert "git_revision" in environment
        assert record["seconds"] > 0
    assert trials(tiny_run.out)["fine_tuning", "170", 0]["backward_images"] == 8 * 120


def test_the_same_command_again_runs_nothing(tiny_run, board):
    before, command = snapshot(tiny_run.out), tiny_run.command
    done = command(*command.tiny(tiny_run.out, "--defense", "shake", "--workers", 2))
    assert done.returncode == 0
    assert done.stderr.startswith("all 8 trials are there already\n")
    assert jobs(done.stderr) == []
    assert done.stdout == tiny_run.done.stdout
    changed = {path for path, state in snapshot(tiny_run.out).items() if before[path] != state}
    assert {Path(path).name for path in changed} <= {".lock"}
    again = command("leaderboard", "--out", tiny_run.out, "--format", "json")
    assert json.loads(again.stdout) == board


@pytest.fixture(scope="module")
def extended(tiny_run, tmp_path_factory):
    """The results after the same command with another defense and another seed, on one trigger."""
    out = tiny_run.copy(tmp_path_factory.mktemp("extended") / "results")
    command = tiny_run.command
    arguments = ["--defense", "shake", "--defense", "rattle", "--seeds", 2, "--workers", 2]
    return out, command(*command.tiny(out, *arguments, attack__triggers="170"))


def test_a_new_defense_or_seed_leaves_what_is_there_alone(tiny_run, extended):
    out, done = extended
    assert done.returncode == 0, done.stderr
    before, after = trials(tiny_run.out), trials(out)
    assert {key: after[key] for key in before} == before
    assert after.keys() - before.keys() == {
        ("rattle", "170", 0),
        *((name, "170", 1) for name in [*DEFENSES, "rattle"]),
    }


def test_a_cached_victim_is_used_again(tiny_run, extended):
    out, done = extended
    told = jobs(done.stderr)
    assert [label for label in told if not label.endswith("seed 1")] == ["rattle on bw3x3 170"]
    assert victims(out).items() > victims(tiny_run.out).items()
    assert "4 there already" in done.stderr


def test_seeds_are_independent(extended):
    found = trials(extended[0])
    assert found["shake", "170", 0]["artifacts"] != found["shake", "170", 1]["artifacts"]
    assert found["shake", "170", 0]["artifacts"] != found["rattle", "170", 0]["artifacts"]


def test_a_seed_run_by_itself_elsewhere_can_be_merged(tiny_run, extended, tmp_path):
    """As on a second machine: the numbers are those of one run of both seeds."""
    command, there, everything = tiny_run.command, tmp_path / "there", tmp_path / "all"
    arguments = ["--defense", "shake", "--defense", "rattle", "--first-seed", 1, "--workers", 2]
    done = command(*command.tiny(there, *arguments, attack__triggers="170"))
    assert done.returncode == 0, done.stderr
    assert set(trials(there)) == {key for key in trials(extended[0]) if key[2] == 1}
    merged = command("merge", tiny_run.out, there, "--out", everything)
    assert merged.returncode == 0, merged.stderr
    both, one_run = trials(everything), trials(extended[0])
    assert {key: numbers(both[key]) for key in both} == {
        key: numbers(one_run[key]) for key in one_run if key != ("rattle", "170", 0)
    }
    assert victims(everything) == victims(extended[0])


def test_an_attack_that_did_not_take_is_named_and_not_defended(tiny_run, tmp_path):
    command = tiny_run.command
    out = tiny_run.copy(tmp_path / "results")
    for target in (0, 2):  # the clean model may take black squares for one class, not for two
        weak = {"attack__triggers": "0", "attack__lr": 1e-6, "attack__target": target}
        arguments = command.tiny(out, "--defense", "shake", **weak, attack__epochs=1)
        done = command(*arguments)
        if "did not take" in done.stderr:
            break
    assert done.returncode == 0, done.stderr
    assert "shake on bw3x3 0: not run: the attack did not take: ASR 0." in done.stderr
    assert "1 trials done, 3 not run, because the attack did not take" in done.stderr
    board = json.loads(command("leaderboard", "--out", out, "--format", "json").stdout)
    rows = [row for row in board if row["attack_failed"]]
    assert [row["defense"] for row in rows] == ["none"]
    assert rows[0]["attack_failed"][0]["trigger"] == "0"
    assert rows[0]["asr_before_mean"] is None

    planned = command(*arguments, "--dry-run")
    assert planned.returncode == 0
    assert re.search(r"^3 will be skipped: the attack did not take: ASR 0\.", planned.stdout, re.M)
    assert "to do: 0 base models, 0 attacks, 0 trials" in planned.stdout
    assert planned.stdout.endswith("estimated time: 0 s\n")

    # The threshold of the latest run is that of all trials of its leaderboard, old and new.
    done = command(*arguments, "--set", "run.min_asr=0")
    assert done.returncode == 0, done.stderr
    assert "run.min_asr = 0 now holds for 1 trials that had another" in done.stderr
    board = json.loads(command("leaderboard", "--out", out, "--format", "json").stdout)
    rows = [row for row in board if row["group"] == rows[0]["group"]]
    assert {row["defense"]: row["averaged"] for row in rows} == dict.fromkeys(DEFENSES, 1)
    assert not any(row["attack_failed"] or row["incomplete"] for row in rows)
    # Boards of other settings have thresholds of their own.
    assert {trial["min_asr"] for trial in trials(out).values()} == {0, 0.9}
    done = command(*arguments)
    assert "run.min_asr = 0.9 now holds for 4 trials that had another" in done.stderr
    board = json.loads(command("leaderboard", "--out", out, "--format", "json").stdout)
    rows = [row for row in board if row["group"] == rows[0]["group"]]
    assert [(row["averaged"], len(row["attack_failed"])) for row in rows] == [(0, 1)] * 4


def test_a_dry_run_tells_what_a_run_would_do_and_writes_nothing(tiny_run):
    before, command = snapshot(tiny_run.out), tiny_run.command
    arguments = command.tiny(tiny_run.out, "--defense", "shake", attack__triggers="170,0,27")
    done = command(*arguments, "--workers", 1, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "12 trials, 8 there already\n" in done.stdout
    assert "to do: 0 base models, 1 attacks, 4 trials, 1 at a time on cpu\n" in done.stdout
    assert re.search(r"^estimated time: \d+ (s|min)$", done.stdout, re.M)
    assert snapshot(tiny_run.out) == before


def test_a_dry_run_before_any_other_makes_no_folder(tiny_run, tmp_path):
    out = tmp_path / "nothing" / "here"
    done = tiny_run.command(*tiny_run.command.tiny(out, "--defense", "shake", "--dry-run"))
    assert done.returncode == 0
    assert "8 trials, 0 there already\n" in done.stdout
    assert "to do: 1 base models, 2 attacks, 8 trials" in done.stdout
    assert not out.parent.exists()


def test_a_damaged_victim_is_made_again_and_is_the_same(tiny_run, tmp_path):
    command, out = tiny_run.command, tiny_run.copy(tmp_path / "results")
    name = victims(out)["170", 0]
    path = out / "artifacts" / name[:2] / f"{name}.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    done = command(*command.tiny(out, "--defense", "rattle", attack__triggers="170"))
    assert done.returncode == 0, done.stderr
    assert jobs(done.stderr) == ["attack bw3x3 170", "rattle on bw3x3 170"]
    assert victims(out) == victims(tiny_run.out)
    assert path.read_bytes() == content


# What is imported: quick answers, and a driver that leaves the memory to its workers

PROBE = """
import sys
from benchmark.cli import main
sys.argv[0] = "bench"
try:
    main()
finally:
    print("imported", *[name for name in {names} if name in sys.modules], file=sys.stderr)
"""
HEAVY = ("torch", "torchvision", "sklearn")
NEVER_FOR_HELP = (*HEAVY, "pandas", "numpy", "sqlite3", "pyarrow", "benchmark.config")


def imported(command, names, *arguments):
    """Run `bench` and return its status and which of the modules it had imported at its end."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(names=names), *map(str, arguments)],
        env=command.environment(),
        cwd=command.home,
        capture_output=True,
        text=True,
        check=False,
    )
    last = done.stderr.splitlines()[-1].split()
    assert last[0] == "imported", done.stderr
    return done.returncode, last[1:]


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(command, arguments):
    assert imported(command, NEVER_FOR_HELP, *arguments) == (0, [])


def test_the_first_help_imports_no_pydantic(command):
    assert imported(command, ("pydantic",), "--help") == (0, [])


@pytest.mark.parametrize("what", ["plugins", "presets"])
def test_lists_import_no_torch(command, what):
    assert imported(command, (*HEAVY, "pandas"), what) == (0, [])


def test_presets_tell_what_installed_plugins_change_in_them(command, tmp_path, write_plugin):
    spec = '"mine", "1", "mine", lazy("nowhere:Mine"), presets={"quick": {"retrain.epochs": 2}}'
    hook = f"@hookimpl\ndef bench_defenses():\n    return [DefenseSpec({spec})]\n"
    write_plugin(hook, "site/bench_mine.py")
    info = tmp_path / "site" / "bench_mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-mine\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[backdoor_bench]\nmine = bench_mine\n")
    path = os.pathsep.join([str(info.parent), command.environment()["PYTHONPATH"]])
    done = replace(command, extra={"PYTHONPATH": path})("presets")
    assert (done.returncode, done.stderr) == (0, "")
    quick, others = done.stdout.split("\ncifar10-bw: ")
    assert "  retrain.epochs = 3\n" in quick
    assert quick.index("  mine.retrain.epochs = 2\n") > quick.index("  retrain.epochs = 3\n")
    assert "mine." not in others


def test_looking_planning_and_driving_import_no_torch(tiny_run):
    command, out = tiny_run.command, tiny_run.out
    for status, arguments in (
        (0, ["leaderboard", "--out", out]),
        (0, command.tiny(out, "--defense", "shake", "--dry-run", attack__triggers="27")),
        (0, command.tiny(out, "--defense", "shake")),
        (2, command.tiny(out, "--defense", "shaek")),
    ):
        assert imported(command, HEAVY, *arguments) == (status, [])


def test_a_driver_that_prepares_data_imports_no_torch(command, tmp_path):
    cold = replace(command, home=tmp_path)
    arguments = cold.tiny(tmp_path / "results", "--defense", "shake", "--dry-run")
    assert imported(cold, HEAVY, *arguments) == (0, [])
    assert len(list(tmp_path.glob("cache/datasets/tiny-*/train.safetensors"))) == 1


def test_a_driver_that_runs_something_imports_no_torch(tiny_run, tmp_path):
    command, out = tiny_run.command, tiny_run.copy(tmp_path / "results")
    arguments = command.tiny(out, "--defense", "rattle", attack__triggers="0")
    assert imported(command, HEAVY, *arguments) == (0, [])
    assert ("rattle", "0", 0) in trials(out)
