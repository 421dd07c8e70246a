"""Kills, second writers, damage, other schemas, full disks: one clear line, and nothing lost."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.records import TrialRecord
from benchmark.store import Store

ROOT = Path(__file__).parents[1]


def trial(identity: str, **fields) -> TrialRecord:
    settings = {
        **{"trial": identity, "group": "g", "variant_id": "v", "status": "done", "error": ""},
        **{"dataset": "digits", "model": "small", "attack": "bw3x3", "trigger": "0", "target": 0},
        **{"defense": "mesa", "version": "1", "variant": "", "setting": "quick", "seed": 0},
        **{"knowledge": ("weights",), "role": "ranked", "victim": "m", "min_asr": 0.9},
    }
    return TrialRecord(**settings | fields)


WRITER = """
import sys
from pathlib import Path
from benchmark.records import TrialRecord
from benchmark.store import Store
out = Path(sys.argv[1])
with Store.open(out, write=True, create=True) as store:
    print("open", flush=True)
    for n in range(int(sys.argv[2]), 10**6):
        weights = store.artifacts.add(b"weights %d" % n * 1000)
        store.put_trial(TrialRecord(
            trial=f"{n:06d}", group="g", variant_id="v", status="done", error="", dataset="d",
            model="m", attack="a", trigger="0", target=0, defense="x", version="1", variant="",
            setting="s", knowledge=(), role="ranked", seed=n, victim="v", min_asr=0.9,
            metrics={"asr": n / 7}, artifacts=(weights,), log="x" * 20000))
        print(n, flush=True)
"""


def writer(out: Path, start: int = 0) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(out), str(start)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_after(process: subprocess.Popen, seconds: float) -> int:
    """Kill it that long after its first trial; return the last that it said was stored."""
    assert process.stdout.readline() == "open\n"
    first = process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    last = int([first, *process.stdout][-1])  # what was read ahead is known to no other way
    process.communicate()
    return last


def test_every_trial_said_to_be_stored_outlives_kills(tmp_path):
    draw = random.Random(0)
    last = -1
    for _ in range(12):
        last = max(last, kill_after(writer(tmp_path, last + 1), draw.uniform(0, 0.1)))
        with Store.open(tmp_path, write=False) as store:
            kept = list(store.trials())
        # One more than it said: killed between the commit and the print.
        assert len(kept) in (last + 1, last + 2)
        last = len(kept) - 1
        assert [t.trial for t in kept] == [f"{n:06d}" for n in range(len(kept))]
        assert all(t.metrics["asr"] == n / 7 for n, t in enumerate(kept))
        assert all(store.artifacts.verify(name) for t in kept for name in t.artifacts)
    assert last >= 11


def test_a_second_writer_is_told_who_holds_the_folder(tmp_path):
    process = writer(tmp_path)
    try:
        assert process.stdout.readline() == "open\n"
        holder = rf"being written by another run \(pid {process.pid} on \S+ since 2\d{{3}}-.* UTC\)"
        with pytest.raises(UserError, match=holder + "; wait for it or use another --out"):
            Store.open(tmp_path, write=True)
        assert process.stdout.readline() == "0\n"
        with Store.open(tmp_path, write=False) as store:  # readers need not wait
            assert store.trial("000000") is not None
    finally:
        process.kill()
        process.communicate()
    Store.open(tmp_path, write=True).close()


# The thread is that of pytest-xdist; the child only sleeps.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork")
def test_a_forked_child_does_not_keep_the_lock(tmp_path):
    store = Store.open(tmp_path, write=True, create=True)
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(tell, b"x")
        time.sleep(60)
        os._exit(0)
    os.close(tell)
    try:
        store.close()
        assert os.read(told, 1) == b"x"  # until then the child may not have let go
        Store.open(tmp_path, write=True).close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(told)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_a_file_cut_short_is_named(tmp_path, keep):
    with Store.open(tmp_path, write=True, create=True) as store:
        for n in range(30):
            store.put_trial(trial(str(n), log="z" * 3000))
    file = tmp_path / "results.sqlite"
    os.truncate(file, int(file.stat().st_size * keep))
    with (
        pytest.raises(UserError, match=r"results.sqlite is (damaged|not a results file)"),
        Store.open(tmp_path, write=False) as store,
    ):
        list(store.trials())


def _change(out: Path, statement: str) -> None:
    connection = sqlite3.connect(out / "results.sqlite")
    connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DELETE FROM trial WHERE trial = 'a'", "rows of its table `trial` are missing"),
        ("DELETE FROM trial_detail", "details of trial a do not fit"),
        ("UPDATE trial SET asr_after = 0.0 WHERE trial = 'a'", "trial 'a' does not fit"),
        ("UPDATE trial SET asr_after = NULL WHERE trial = 'a'", "trial 'a' does not fit"),
        ("UPDATE trial SET seed = 'x' WHERE trial = 'a'", "trial 'a' does not fit"),
        ("UPDATE trial_detail SET body = '{}'", "details of trial a do not fit"),
        ("UPDATE trial SET error = CAST(x'ff' AS TEXT)", "Could not decode"),
        (
            "UPDATE trial_shared SET defense = 'other'",
            "a row of trial_shared does not fit its hash",
        ),
        ("UPDATE trial_shared SET knowledge = NULL", "a row of trial_shared does not fit its hash"),
        ("DELETE FROM trial_shared", "a row of trial_shared"),
        ("DELETE FROM ledger", "row count of its table `trial` is lost"),
        ("DROP TABLE trial", "no such table"),
        ("UPDATE meta SET value = 0", "its schema is not known"),
        ("UPDATE meta SET value = 99", "its schema is not known"),
        ("UPDATE meta SET value = 'x'", "its schema is not known"),
        ("DROP TABLE meta", "is not a results file of bench"),
    ],
)
def test_what_is_not_as_it_was_written_is_said(tmp_path, statement, message):
    with Store.open(tmp_path, write=True, create=True) as store:
        store.put_trial(trial("a", metrics={"asr": 0.5}))
        store.put_trial(trial("b", metrics={"asr": 0.5}))
    _change(tmp_path, statement)
    with pytest.raises(UserError, match=message) as raised, Store.open(tmp_path, write=False) as s:
        list(s.trials())
    if "detail" not in statement:
        with pytest.raises(UserError), Store.open(tmp_path, write=False) as s:
            s.trials_frame()
    assert "\n" not in str(raised.value)
    assert "results.sqlite" in str(raised.value)


def test_a_file_that_is_no_database_is_named_and_kept(tmp_path):
    file = tmp_path / "results.sqlite"
    file.write_text("my notes, " * 1000)
    for write in (True, False):
        with pytest.raises(UserError, match=r"results.sqlite is not a results file"):
            Store.open(tmp_path, write=write, create=write)
    assert file.read_text() == "my notes, " * 1000


def test_no_results_yet(tmp_path):
    for make in (lambda: None, (tmp_path / "results.sqlite").touch):  # empty: killed at once
        make()
        with pytest.raises(UserError, match=r"no results in .*; start with: bench run --defense m"):
            Store.open(tmp_path, write=False)
    with Store.open(tmp_path, write=True, create=True) as store:
        assert store.trials_frame().empty


def test_a_folder_whose_results_file_is_gone_starts_anew(tmp_path):
    """As the refusal of a file in which nothing is whole says: move it away."""
    with Store.open(tmp_path, write=True, create=True) as store:
        name = store.artifacts.add(b"weights")
        store.put_trial(trial("a"))
    file = tmp_path / "results.sqlite"
    file.unlink()
    with Store.open(tmp_path, write=True, create=True) as store:
        assert store.trials_frame().empty
        assert store.artifacts.verify(name)
    # A file that lost all that it held is still a damaged one.
    os.truncate(file, 0)
    with pytest.raises(UserError, match="it is empty, and there are artifacts"):
        Store.open(tmp_path, write=True, create=True)


def test_an_out_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file, not a folder of results"):
        Store.open(tmp_path / "file", write=True, create=True)
    with pytest.raises(UserError, match="not a directory"):
        Store.open(tmp_path / "file" / "below", write=True, create=True)
    with pytest.raises(UserError, match="cannot use /proc/nowhere"):
        Store.open(Path("/proc/nowhere"), write=True, create=True)


def test_a_full_disk_loses_nothing(tmp_path):
    with Store.open(tmp_path, write=True, create=True) as store:
        store.put_trial(trial("a"))
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(UserError, match=r"the disk is full: .*results.sqlite was left as it"):
            store.put_trial(trial("b", log="x" * 10**6))
        assert [t.trial for t in store.trials()] == ["a"]
        store._connection.execute("PRAGMA max_page_count = 100000")
        store.put_trial(trial("b", log="x" * 10**6))
    with Store.open(tmp_path, write=False) as store:
        assert store.statuses(["a", "b"]) == {"a": "done", "b": "done"}


WORKER = """
import sys, time
from pathlib import Path
from benchmark.store import Store
with Store.open(Path(sys.argv[1]), write=True, create=True) as store, store.work_folder() as work:
    (work / "job").mkdir()
    (work / "job" / "model").write_bytes(b"weights")
    print(work, flush=True)
    time.sleep(60)
"""


def test_the_next_writer_removes_the_temporary_folder_of_a_killed_run(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    work = Path(process.stdout.readline().strip())
    process.kill()
    process.communicate()
    assert (work / "job" / "model").exists()
    assert work.parent == tmp_path
    with Store.open(tmp_path / "out", write=True) as store:
        assert not work.exists()
        with store.work_folder() as mine:
            assert mine.is_dir()
        assert not mine.exists()


@pytest.mark.parametrize("noted", ["{}", "/", "{}/bench-run-0", "{}/bench-run-0123456789abcde/", 7])
def test_a_damaged_note_removes_no_other_folder(tmp_path, noted):
    Store.open(tmp_path, write=True, create=True).close()
    other = tmp_path / "bench-run-0"
    other.mkdir()
    noted = noted.format(tmp_path) if isinstance(noted, str) else noted
    (tmp_path / ".lock").write_text(json.dumps({"work": noted}))
    Store.open(tmp_path, write=True).close()
    assert other.is_dir()
