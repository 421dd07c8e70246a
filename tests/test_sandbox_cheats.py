"""Defenses that cheat, each really trying: what they get hold of, and what they are scored as."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmark.data import prepare, split_test
from benchmark.identity import derive_seed
from benchmark.plugins import load_plugins
from benchmark.records import TrialRecord
from benchmark.sandbox.seal import landlock_version
from benchmark.store import Store

FILES = Path(__file__).parent / "plugin_files"
NAMES = [
    *("asks_politely", "reads_files", "searches_at_home", "spies_on_processes", "reaches_out"),
    *("asks_for_names", "patches_the_scorer", "flatters_itself", "returns_a_wrapper", "remembers"),
    "guesses_the_split",
]
needs_landlock = pytest.mark.skipif(not landlock_version(), reason="the kernel has no Landlock")


@dataclass(frozen=True)
class CheatRun:
    out: Path
    cache: Path
    trials: dict[tuple[str, str], TrialRecord]

    def command(self, tiny_run, names):
        """Return the words of a run of these cheats, who are told where everything lies."""
        temporary = tiny_run.command.temporary
        places = {"results": self.out, "cache": self.cache, "temporary": temporary}
        told = [f"{name}.{key}={path}" for name in names for key, path in places.items()]
        plugin = self.out.parent / "cheats.py"
        return [
            *tiny_run.command.tiny(self.out, "--plugin", plugin, "--workers", 1),
            *(word for name in names for word in ("--defense", name)),
            *(word for text in told for word in ("--set", text)),
        ]

    def got(self, name: str) -> dict[str, str]:
        """Return what a cheat attempted, and what it got."""
        rows = self.trials[name, "170"].series
        return {row["what"]: row["got"] for row in rows if row["series"] == "attempts"}


@pytest.fixture(scope="module")
def tiny_data(tiny_run):
    chosen = load_plugins([FILES / "tiny_case.py"]).datasets["tiny"].spec
    return prepare(chosen, chosen.options(), None, tiny_run.command.home / "cache")


@pytest.fixture(scope="module")
def cheat_run(tiny_run, tiny_data, tmp_path_factory):
    """One worker for all: what a trial leaves behind, the next one could find."""
    yield from _cheat_run(tiny_run, tiny_data, tmp_path_factory)
    Path("/dev/shm/bench-kept").unlink(missing_ok=True)


def _cheat_run(tiny_run, tiny_data, tmp_path_factory):
    project = tmp_path_factory.mktemp("cheats")
    shutil.copy(FILES / "cheats.py", project)
    (project / "__init__.py").touch()  # what lies below it is not the plugin's for that
    run = CheatRun(tiny_run.copy(project / "secret-results"), tiny_data.folder, {})
    done = tiny_run.command(*run.command(tiny_run, NAMES))
    assert done.returncode == 0, done.stderr
    with Store.open(run.out, write=False) as store:
        run.trials.update({(one.defense, one.trigger): one for one in store.trials()})
    yield run


@pytest.mark.parametrize("name", NAMES)
def test_a_cheat_is_scored_as_the_backdoored_model_that_it_returned(cheat_run, name):
    for trigger in ("170", "0"):
        trial, floor = cheat_run.trials[name, trigger], cheat_run.trials["none", trigger]
        assert (trial.status, trial.error) == ("done", "")
        assert trial.metrics["asr"] == floor.metrics["asr"] >= 0.9
        assert trial.metrics["clean_accuracy"] == floor.metrics["clean_accuracy"]
        assert trial.artifacts == floor.artifacts
        assert trial.recovered_target is None


@needs_landlock
def test_no_file_of_the_run_can_be_listed_read_or_changed(cheat_run, tiny_run):
    got = cheat_run.got("reads_files")
    assert len(got) == 14
    # A link into another folder is refused as one to another disk is, and what would change
    # something perhaps because its mount is read-only.
    assert set(got.values()) <= {"refused: PermissionError", "refused: OSError"}
    reading = {text for what, text in got.items() if what.startswith(("lists", "reads"))}
    assert reading == {"refused: PermissionError"}
    with Store.open(cheat_run.out, write=False) as store:
        assert len(list(store.trials())) == 2 * (len(NAMES) + 4)


def test_no_file_is_called_after_a_trial_while_it_runs(cheat_run, tiny_run):
    """The cheat is told all identities in a second run: they are those of the first."""
    told = cheat_run.out.parent / "identities.txt"
    told.write_text("\n".join(one.trial for one in cheat_run.trials.values()), encoding="utf-8")
    done = tiny_run.command(
        *cheat_run.command(tiny_run, ["asks_for_names"]),
        *("--rerun", "always", "--set", f"run.readable={told}"),
    )
    assert done.returncode == 0, done.stderr
    with Store.open(cheat_run.out, write=False) as store:
        again = [one for one in store.trials() if one.defense == "asks_for_names"]
    for trial in again:
        rows = [row for row in trial.series if row["series"] == "names"]
        assert trial.trial in {row["identity"] for row in rows}
        assert {row["found"] for row in rows} == {""}


def test_no_database_lies_where_one_would_look(cheat_run):
    got = cheat_run.got("searches_at_home")
    assert len(got) >= 8
    assert {text for text in got.values() if not text.startswith("refused: ")} == set()


@needs_landlock
def test_other_processes_show_nothing(cheat_run):
    got = cheat_run.got("spies_on_processes")
    assert any(what == f"cmdline of {os.getpid()}" for what in got)  # these tests, for one
    # The kernel's own threads have no files, and say so.
    seen = {text for text in got.values() if not text.startswith("refused: ")}
    assert seen <= {"[]"}


@needs_landlock
def test_no_signal_and_no_connection_gets_out(cheat_run):
    got = cheat_run.got("reaches_out")
    if landlock_version() >= 6:
        assert got["signals its parent"] == "refused: PermissionError"
    if landlock_version() >= 4:
        assert got["listens"] == got["connects"] == "refused: PermissionError"


def test_nothing_is_left_from_one_trial_to_the_next(cheat_run):
    first, second = (
        next(
            row for row in cheat_run.trials["remembers", trigger].series if row["series"] == "kept"
        )
        for trigger in ("170", "0")
    )
    assert first["pid"] != second["pid"]
    assert first["parent"] == second["parent"]  # copies of one process
    if "read-only rest" in cheat_run.trials["remembers", "0"].environment["sealed_by"]:
        assert (first["what"], second["what"]) == ("", "")
    else:
        notes = {"/dev/shm/bench-kept: seen", "time", "permissions", "attribute"}
        assert set(second["what"].split(", ")) <= {"", *notes}


def test_the_split_is_not_that_of_a_seed_that_one_would_guess(cheat_run, tiny_data):
    seed = derive_seed("split", tiny_data.fingerprint, 0)
    _, scoring = split_test(tiny_data.test_count, seed)
    series = cheat_run.trials["guesses_the_split", "170"].series
    guesses = [row for row in series if row["series"] == "guess"]
    assert len(guesses) == 17
    assert str(sorted(scoring.tolist())) not in {row["scoring"] for row in guesses}


@needs_landlock
def test_the_record_says_by_what_a_trial_was_sealed(cheat_run):
    (seal,) = {trial.environment["sealed_by"] for trial in cheat_run.trials.values()}
    assert re.fullmatch(r"landlock \d+(, own /dev/shm(, read-only rest)?)?", seal)


# Where nothing can be sealed, and where somebody opens more

NO_LANDLOCK = """
import ctypes, platform, struct, sys
ALLOW, NO_SUCH_CALL = 0x7FFF0000, 0x00050000 | 38
STEPS = [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (0x06, 0, 0, NO_SUCH_CALL), (0x06, 0, 0, ALLOW)]
code = b"".join(struct.pack("=HBBI", *step) for step in STEPS)
filters = ctypes.create_string_buffer(code)
program = struct.pack("@HP", len(STEPS), ctypes.addressof(filters))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0) == 0
from benchmark.cli import main
main()
"""
"""Runs `bench` as on a kernel before 5.13: a filter answers that there is no such system call."""


@needs_landlock
def test_without_landlock_a_run_goes_on_and_says_so(tiny_run, tmp_path):
    out = tiny_run.copy(tmp_path / "results")
    names = ["works_with_others", "forges_the_seal", "kills_its_parent"]
    words = tiny_run.command.tiny(
        *(out, "--workers", 1, "--timeout", 600, "--plugin", FILES / "bad_defenses.py"),
        *(word for name in names for word in ("--defense", name)),
        attack__triggers="170",
    )
    done = subprocess.run(
        [sys.executable, "-c", NO_LANDLOCK, *map(str, words)],
        env=tiny_run.command.environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 1, done.stderr
    with Store.open(out, write=False) as store:
        trials = {one.defense: one for one in store.trials() if one.trigger == "170"}
    assert trials["kills_its_parent"].error == "the process that starts plugins was killed"
    honest = trials["works_with_others"]
    assert honest.status == "done", honest.error
    for trial in (honest, trials["forges_the_seal"]):
        assert trial.environment["sealed_by"] == "nothing: no Landlock here"
    assert tiny_run.command.nothing_left()


@needs_landlock
def test_the_seal_can_be_opened_and_left_off(tiny_run, tmp_path):
    (tmp_path / "opened").mkdir()
    (tmp_path / "opened" / "test.safetensors").write_text("weights of others", encoding="utf-8")
    found = {}
    for number, sets in enumerate((f"run.readable={tmp_path / 'opened'}", "run.seal=false")):
        out = tiny_run.copy(tmp_path / f"results {number}")
        command = tiny_run.command.tiny(
            *(out, "--plugin", FILES / "cheats.py", "--defense", "reads_files", "--workers", 1),
            *("--set", f"reads_files.cache={tmp_path / 'opened'}", "--set", sets),
            attack__triggers="170",
        )
        done = tiny_run.command(*command)
        assert done.returncode == 0, done.stderr
        with Store.open(out, write=False) as store:
            trial = next(one for one in store.trials() if one.defense == "reads_files")
        got = {row["what"]: row["got"] for row in trial.series if row["series"] == "attempts"}
        found[trial.environment["sealed_by"]] = got
        assert got["reads prepared images"] == str(b"weights of others")
    opened, off = sorted(found)
    assert opened.startswith("landlock ")
    assert opened.endswith(", 1 paths opened")
    assert off == "nothing: run.seal"
    assert found[opened]["spoils the database"].startswith("refused: ")
    assert found[off]["lists cache"] == "['test.safetensors']"


def test_a_path_to_open_must_be_there(command):
    done = command("run", "--dry-run", "--set", "run.readable=/no/such/folder")
    assert done.returncode == 2
    assert "/no/such/folder is not there" in done.stderr
