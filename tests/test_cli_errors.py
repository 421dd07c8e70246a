"""Wrong requests: one clear line on standard error, status 2, and nothing touched."""

import contextlib
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.store import Store

FILES = Path(__file__).parent / "plugin_files"


@pytest.fixture
def bench(command, monkeypatch, capsys):
    """Call `bench` in this process, which is quicker; returns status, output and error output."""
    monkeypatch.setenv("BENCH_CACHE_DIR", str(command.home / "cache"))

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return end.value.code or 0, printed.out, printed.err

    return call


@pytest.fixture
def refused(bench, command, tmp_path):
    """Expect that a run is refused and leaves no folder; returns the one line."""

    def call(*arguments, out=None, **sets):
        folder = out or tmp_path / "results"
        before = sorted(folder.rglob("*")) if folder.exists() else None
        status, printed, said = bench(*command.tiny(folder, *arguments, **sets))
        assert (status, printed) == (2, ""), said
        assert said.startswith("bench: ")
        assert said.count("\n") == 1
        assert said.endswith("\n")
        assert (sorted(folder.rglob("*")) if folder.exists() else None) == before
        return said

    return call


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--defense", "shaek"], "unknown defense 'shaek' (did you mean shake"),
        (["--attack", "bw3x4"], "unknown attack 'bw3x4' (did you mean bw3x3"),
        (["--dataset", "cifar"], "unknown dataset 'cifar' (did you mean cifar10"),
        (["--model", "resnet"], "unknown model 'resnet' (did you mean "),
        (["--preset", "quik"], "unknown preset 'quik' (did you mean quick?)"),
        (["--preset", "../quick"], "unknown preset '../quick'"),
        (["--preset", "zzz"], "unknown preset 'zzz' (known: cifar10-bw, "),
        (["--defense", ""], "unknown defense ''"),
        (["--defense", "a\nb"], r"unknown defense 'a\nb'"),
        (["--set", "epochs"], "--set 'epochs' is not of the form namespace.option=value"),
        (["--set", "epochs=3"], "--set 'epochs=3' is not of the form namespace.option=value"),
        (["--set", "base.epochs"], "--set 'base.epochs' is not of the form"),
        (["--set", ""], "--set '' is not of the form"),
        (["--set", ".epochs=3"], "nothing in this run is called ''"),
        (["--set", "shaek.scale=1"], "nothing in this run is called 'shaek' (did you mean shake"),
        (["--set", "mesa.epochs=1"], "nothing in this run is called 'mesa'"),
        (["--set", "base.epcohs=3"], "unknown option 'base.epcohs' (did you mean base.epochs"),
        (["--set", "base.=3"], "unknown option 'base.'"),
        (["--set", "shake.sclae=3"], "unknown option 'shake.sclae' (did you mean shake.scale"),
        (["--set", "retrain.epcohs=3"], "unknown option 'retrain.epcohs' (did you mean retrain.ep"),
        (["--set", "oracle.retrain=3"], "unknown option 'oracle.retrain'"),
        (["--set", "base.epochs=-1"], "base.epochs = '-1': input should be greater than or equal"),
        (["--set", "base.epochs=0"], "base.epochs = '0': input should be greater than or equal to"),
        (["--set", "base.epochs=many"], "base.epochs = 'many': input should be a valid integer"),
        (["--set", "base.epochs=1.5"], "base.epochs = '1.5': input should be a valid integer"),
        (["--set", "base.epochs="], "base.epochs = '': input should be a valid integer"),
        (["--set", "base.lr=nan"], "base.lr = 'nan': "),
        (["--set", "base.lr=inf"], "base.lr = 'inf': "),
        (["--set", "base.flip=maybe"], "base.flip = 'maybe': input should be a valid boolean"),
        (["--set", "attack.epochs=-5"], "attack.epochs = '-5': "),
        (
            ["--set", "attack.placement=pixel"],
            "attack.placement = 'pixel': input should be 'batch'",
        ),
        (["--set", "retrain.epochs=0"], "retrain.epochs = '0': "),
        (["--set", "oracle.retrain.lr=0"], "oracle.retrain.lr = '0': "),
        (["--set", "shake.scale=-1"], "shake.scale = '-1': "),
        (["--set", "run.min_asr=2"], "run.min_asr = '2': input should be less than or equal to 1"),
        (["--set", "run.threads=0"], "run.threads = '0': "),
        (["--set", "run.readable=~nosuchuser/x"], "~nosuchuser/x is not there: there is no such"),
        (["--set", f"run.readable={'x' * 300}"], "file name too long"),
        (["--set", "run.readable=/nowhere"], "run.readable = ['/nowhere']: /nowhere is not there"),
        (["--set", "split.defense_fraction=1"], "split.defense_fraction = '1': "),
        (
            ["--set", "split.defense_fraction=0.001"],
            "split.defense_fraction = 0.001 leaves no test image",
        ),
        (["--set", "attack.triggers=170,nope"], "unknown trigger 'nope'"),
        (["--set", "attack.triggers=511"], "trigger '511' is 0 turned, mirrored or inverted"),
        (["--set", "attack.triggers=0,0"], "trigger '0' is named twice"),
        (["--set", "attack.triggers="], "no trigger is named"),
        (["--set", "attack.target=3"], "attack target 3 is no class (classes: 0 to 2)"),
        (["--set", "attack.target=-1"], "attack.target"),
        (["--plugin", "nowhere.py"], "plugin file nowhere.py is not there"),
        (["--plugin", "/"], "plugin file / is a folder"),
        (["--dataset", "cifar10", "--data-dir", "/nowhere"], "/nowhere"),
        (["--dataset", "cifar10", "--data-dir", __file__], "test_cli_errors.py"),
        (["--dataset", "cifar100", "--data-dir", str(FILES)], "plugin_files"),
    ],
)
def test_a_wrong_request_is_one_line_and_status_2(refused, arguments, line, dry):
    asked = [] if "--defense" in arguments else ["--defense", "shake"]
    assert line in refused(*asked, *arguments, *dry)


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--seeds", "0"], ["--seeds", "two"], ["--workers", "0"], ["--timeout", "0"]),
        *(["--timeout", "31536001"], ["--timeout", "1e10"]),
        *(["--device", "tpu"], ["--rerun", "sometimes"], ["--nonsense"], ["--defense"], ["extra"]),
    ],
)
def test_a_wrong_option_is_status_2_and_names_the_option(bench, command, tmp_path, arguments):
    status, printed, said = bench(*command.tiny(tmp_path / "results", *arguments))
    assert (status, printed) == (2, "")
    assert arguments[0] in said
    assert "Traceback" not in said
    assert not (tmp_path / "results").exists()


def test_no_gpu_is_one_line(refused):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    line = refused("--defense", "shake", "--device", "cuda")
    assert line == "bench: --device cuda: torch finds no CUDA device (try --device cpu)\n"


def test_a_plugin_file_with_a_syntax_error_is_named_with_its_line(refused, tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("import os\n\ndef repair(:\n")
    line = refused("--plugin", file)
    assert f"plugin file {file}: line 3: SyntaxError: " in line


def test_two_plugins_of_one_name_are_both_named(refused, tmp_path):
    copy = tmp_path / "another.py"
    shutil.copy(FILES / "tiny_case.py", copy)
    line = refused("--plugin", copy)
    assert "two plugins offer the " in line
    assert f"{copy}:" in line
    assert f"{FILES / 'tiny_case.py'}:" in line


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.parametrize("below", ["", "results"])
def test_an_out_that_is_a_file_is_named(bench, command, tmp_path, below, dry):
    file = tmp_path / "thesis.txt"
    file.write_text("three years of work")
    status, _, said = bench(*command.tiny(file / below, "--defense", "shake", *dry))
    assert status == 2
    assert said.startswith(f"bench: {file} is a file, not a folder")
    assert said.count("\n") == 1
    assert file.read_text() == "three years of work"


def with_schema(out, schema):
    with sqlite3.connect(out / "results.sqlite") as connection:
        connection.execute("UPDATE meta SET value = ? WHERE name = 'schema'", (schema,))
        connection.execute(f"PRAGMA user_version = {schema}")
    connection.close()
    return out


# There was no version before 1: such a file was not written, it was damaged.
@pytest.mark.parametrize(
    ("schema", "which"),
    [(0, "is damaged: its schema is not known"), (99, "was written by a newer version (schema 99")],
)
@pytest.mark.parametrize("verb", ["run", "dry-run", "leaderboard", "export", "show"])
def test_results_of_another_schema_are_refused(
    tiny_run, bench, command, tmp_path, schema, which, verb
):
    out = with_schema(tiny_run.copy(tmp_path / "results"), schema)
    before = (out / "results.sqlite").read_bytes()
    asked = {
        "run": command.tiny(out, "--defense", "shake"),
        "dry-run": command.tiny(out, "--defense", "shake", "--dry-run"),
        "leaderboard": ["leaderboard", "--out", out],
        "export": ["export", "--out", out, "--format", "csv", "-o", tmp_path / "x.csv"],
        "show": ["show", "ab", "--out", out],
    }[verb]
    status, printed, said = bench(*asked)
    assert (status, printed) == (2, "")
    assert which in said
    assert said.count("\n") == 1
    assert (out / "results.sqlite").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["leaderboard"], "no results in"),
        (["show", "ab12"], "no results in"),
        (["export", "--format", "csv", "-o", "x.csv"], "no results in"),
    ],
)
def test_no_results_yet_is_one_line_that_says_how_to_start(bench, tmp_path, arguments, line):
    status, printed, said = bench(*arguments, "--out", tmp_path / "empty")
    assert (status, printed) == (2, "")
    assert line in said
    assert "bench run --defense mesa" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["leaderboard", "--format", "jsno"], "unknown format 'jsno' (did you mean json?)"),
        (["export", "--format", "xlsx", "-o", "x"], "unknown format 'xlsx'"),
        (["export", "--format", "csv", "-o", "/nowhere/x.csv"], "there is no folder /nowhere"),
        (["show", "zzzz"], "no trial 'zzzz' in"),
        (["show", ""], "8 trials start with ''"),
        (["show", os.fsdecode(b"\xff")], "no trial '\\udcff' in"),
    ],
)
def test_a_wrong_look_at_results_is_one_line(tiny_run, bench, arguments, line):
    status, printed, said = bench(*arguments, "--out", tiny_run.out)
    assert (status, printed) == (2, "")
    assert line in said
    assert said.count("\n") == 1


def test_a_cache_that_cannot_be_written_is_named(bench, command, tmp_path, monkeypatch):
    file = tmp_path / "cache"
    file.write_text("")
    monkeypatch.setenv("BENCH_CACHE_DIR", str(file))
    status, _, said = bench(*command.tiny(tmp_path / "results", "--defense", "shake"))
    assert status == 2
    assert str(file) in said
    assert said.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error(tiny_run):
    process = tiny_run.command.start("leaderboard", "--out", tiny_run.out, "--format", "json")
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 0
    assert said == ""


# A full disk


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all the space that is left."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):  # at the end
        while file.write(b"x" * 4096):
            pass
    return filler


def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_space(tiny_run, small_disk):
    command, out = tiny_run.command, tiny_run.copy(small_disk / "results")
    filler = fill(small_disk)
    done = command(*command.tiny(out, "--defense", "shake", attack__triggers="170,27"))
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("bench: the disk is full: ")
    assert "Traceback" not in done.stderr
    assert command.nothing_left()

    filler.unlink()
    with Store.open(out, write=False) as store:
        assert len(list(store.trials())) == 8
    done = command(*command.tiny(out, "--defense", "rattle", attack__triggers="170"))
    assert done.returncode == 0, done.stderr
    assert "1 trials done, 3 there already" in done.stderr


def test_a_full_temporary_disk_ends_the_run_and_fails_no_trial(tiny_run, small_disk, tmp_path):
    command = replace(tiny_run.command, extra={"TMPDIR": str(small_disk)})
    filler, out = fill(small_disk), tiny_run.copy(tmp_path / "results")
    os.truncate(filler, filler.stat().st_size - 2 * 4096)  # for a file or two of a job
    words = command.tiny(out, "--defense", "rattle", attack__triggers="170")
    done = command(*words)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("bench: the disk is full: ")
    filler.unlink()
    done = command(*words)
    assert done.returncode == 0, done.stderr
    assert "1 trials done, 3 there already" in done.stderr


def test_a_limit_on_file_sizes_is_one_line(command, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    out = tmp_path / "results"
    done = command(*command.tiny(out, "--defense", "shake"), preexec_fn=limit)
    assert done.returncode == 2, done.stderr
    assert f"{out / 'results.sqlite'} cannot be" in done.stderr
    assert done.stderr.count("\n") == 1
    again = command(*command.tiny(out, "--defense", "shake", "--dry-run"))
    assert "8 trials, 0 there already" in again.stdout or "no results" in again.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(bench, command, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    status, _, said = bench(*command.tiny(folder / "results", "--defense", "shake"))
    assert status == 2
    assert str(folder) in said


@pytest.mark.parametrize("words", [("--verbose", "show", "x"), ("show", "x", "--verbose")])
def test_verbose_shows_where_a_refusal_arose(bench, tmp_path, words):
    status, _, said = bench(*words, "--out", tmp_path / "nowhere")
    quiet = bench(*[word for word in words if word != "--verbose"], "--out", tmp_path / "nowhere")
    assert (status, quiet[0]) == (2, 2)
    assert said.startswith("Traceback (most recent call last):")
    assert said.endswith(quiet[2])
    assert quiet[2].count("\n") == 1


def test_what_nobody_foresaw_is_one_line_and_verbose_shows_where(command, tmp_path):
    """A plugin that changes the harness under our feet: no check of ours can foresee it."""
    file = tmp_path / "meddler.py"
    change = "import benchmark.session\nbenchmark.session.plan_for = None\n"
    file.write_text(change + (FILES / "tiny_case.py").read_text().replace("from __f", "# "))
    done = command("run", "--plugin", file, "--dry-run")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("bench: unexpected error: TypeError: 'NoneType' object is not")
    assert done.stderr.endswith("; --verbose shows where\n")
    said = command("run", "--plugin", file, "--dry-run", "--verbose").stderr
    assert "Traceback (most recent call last):" in said
    assert "in start" in said


def test_records_and_report_show_the_command_without_folders(bench, tiny_run, tmp_path):
    out = tiny_run.copy(tmp_path / "out")
    with Store.open(out, write=False) as store:
        [command] = {trial.environment["command"] for trial in store.trials()}
        assert {model.environment["command"] for model in store.models()} == {command}
    assert command.startswith("bench run --plugin tiny_case.py --dataset tiny --model one-conv ")
    assert command.endswith("--defense shake --workers 2")
    assert str(tiny_run.out.parent) not in command
    assert bench("report", "--out", out, f"-o{tmp_path / 'r.html'}")[0] == 0
    page = (tmp_path / "r.html").read_text()
    assert "bench run --plugin tiny_case.py --dataset tiny" in page
    assert "bench report --out out -or.html" in page
    assert str(tmp_path) not in page


def test_the_command_in_the_records_says_which_preset_the_environment_named(
    command, tiny_run, tmp_path
):
    out, preset = tiny_run.copy(tmp_path / "out"), tmp_path / "a=b" / "my study.toml"
    preset.parent.mkdir()
    preset.write_text("controls = []\n", encoding="utf-8")
    other = type(command)(command.home, extra={"BENCH_PRESET": str(preset)})
    found = {}
    for scale, more in (("0.1", ()), ("0.2", ("--preset", "quick"))):
        sets = {"attack__triggers": "170", "shake__scale": scale}
        assert other(*command.tiny(out, "--defense", "shake", *more, **sets)).returncode == 0
        with Store.open(out, write=False) as store:
            told = {one.variant: one.environment["command"] for one in store.trials()}
        found[scale] = told[f"scale={scale}"]
    assert found["0.1"].startswith("BENCH_PRESET='my study.toml' bench run --plugin tiny_case.py ")
    # What is typed counts more, and the variable was not asked.
    assert found["0.2"].startswith("bench run --plugin tiny_case.py ")
    assert "BENCH_PRESET" not in found["0.2"]
