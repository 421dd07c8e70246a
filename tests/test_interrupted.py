"""Ctrl-C at the least convenient moments: what is said to be kept is what is kept."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.store import Store
from benchmark.store.transaction import transaction

CUT = """
import os
import signal

from benchmark.api import hookimpl
from benchmark.store import Store, patience, schema, work_folder

WHERE, OVER = os.environ.get("WHERE", ""), []


def at(moment):
    if moment in WHERE.split():
        os.kill(os.getpid(), getattr(signal, os.environ["SIGN"]))


class Connection(patience.Connection):
    stores_trial = False

    def execute(self, statement, *values):
        done = super().execute(statement, *values)
        self.stores_trial |= statement.startswith("INSERT OR REPLACE INTO trial ")
        if statement == "COMMIT" and self.stores_trial:
            self.stores_trial = False
            at("commit")  # SQLite has done it, and the interrupt is raised
        return done


def before(owner, name, moment, when=OVER):
    real = getattr(owner, name)

    def call(*arguments):
        if when:
            at(moment)
        return real(*arguments)

    setattr(owner, name, call)


if WHERE:
    schema.Connection = Connection
    before(Store, "agree_on_min_asr", "start", [True])
    before(Store, "statuses", "count")
    before(Store, "trials", "answer")
    before(work_folder, "remove", "folder")


@hookimpl
def bench_run_finished(run):
    OVER.append(run)
    at("display")
"""


@pytest.mark.parametrize(
    ("moments", "sign", "kept"),
    [
        ("start", "SIGTERM", 0),
        ("commit", "SIGINT", 1),
        ("display", "SIGINT", 1),
        ("folder", "SIGINT", 1),
        ("count", "SIGTERM", 1),
        ("display folder answer", "SIGINT", 1),
    ],
)
def test_an_interrupted_run_says_how_many_of_its_trials_are_kept(
    tiny_run, tmp_path: Path, monkeypatch, moments: str, sign: str, kept: int
) -> None:
    command, out, file = tiny_run.command, tiny_run.copy(tmp_path / "out"), tmp_path / "cut.py"
    file.write_text(CUT, encoding="utf-8")
    monkeypatch.setenv("WHERE", moments)
    monkeypatch.setenv("SIGN", sign)
    asked = ["--plugin", file, "--defense", "rattle", "--workers", 1]
    done = command(*command.tiny(out, *asked, attack__triggers="170"))
    shutil.rmtree(command.temporary)  # where removing it was cut off, the next run would do it
    assert done.returncode == 130, done.stderr
    told = f"interrupted: {kept} trials of this run are kept; the same command goes on from there"
    assert done.stderr.splitlines().count(told) == 1, done.stderr
    assert "trials done" not in done.stderr
    assert "Traceback" not in done.stderr
    with Store.open(out, write=False) as store:
        stored = [trial for trial in store.trials() if trial.defense == "rattle"]
    assert len(stored) == kept


def test_ctrl_c_while_a_transaction_begins_leaves_none_open() -> None:
    class Connection(sqlite3.Connection):
        def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
            done = super().execute(statement, *values)
            if statement.startswith("BEGIN"):
                raise KeyboardInterrupt
            return done

    connection = sqlite3.connect(":memory:", factory=Connection, isolation_level=None)
    with pytest.raises(KeyboardInterrupt), transaction(connection):
        pass
    assert not connection.in_transaction
    connection.close()


LATE = """
import atexit, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)

class Late:
    def __del__(self, tell=os.write, kill=os.kill, who=os.getpid(), sign=signal.SIGINT):
        tell(1, b"modules go")
        kill(who, sign)

sys.late = Late()
atexit.register(os.kill, os.getpid(), signal.SIGINT)
from benchmark.cli import program
program()
"""


def test_ctrl_c_after_all_is_done_changes_nothing():
    command = [sys.executable, "-c", LATE, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("modules go")
    assert (done.returncode, done.stderr) == (0, "")
