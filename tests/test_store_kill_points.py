"""A machine that goes down at each step of a write: before and after every statement and file."""

import contextlib
import os
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from benchmark.records import ModelRecord, TrialRecord
from benchmark.store import Store
from benchmark.store.merge import merge
from benchmark.store.repair import repair

# The thread by which pytest-xdist hears of the next test holds nothing that a child here needs.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork")


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder in memory, where there is one: each step waits for the disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def dies_at(point: int, work: Callable[[], None]) -> bool:
    """Do `work` in a process that is killed at its n-th step; False if it ended before that.

    A step is a statement of SQLite, a file that takes its name, or bytes sent to the disk.
    """
    child = os.fork()
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, -signal.SIGKILL), status
        return status != 0
    with contextlib.suppress(BaseException):
        steps = count(1)

        def step(*_: object) -> None:
            if next(steps) == point:
                os.kill(os.getpid(), signal.SIGKILL)

        def stepping(real):
            def call(*arguments, **options):
                step()
                done = real(*arguments, **options)
                step()
                return done

            return call

        real_connect = sqlite3.connect

        def connect(*arguments, **options):
            connection = real_connect(*arguments, **options)
            connection.set_trace_callback(step)
            return connection

        sqlite3.connect = connect
        for name in ("replace", "rename", "link", "unlink", "mkdir", "fsync", "pwrite"):
            setattr(os, name, stepping(getattr(os, name)))
        work()
        os._exit(0)
    os._exit(1)


def trial(number: int, triggers: str, **fields) -> TrialRecord:
    settings = {
        **{"trial": f"t{number}", "group": "g", "variant_id": "v", "status": "done", "error": ""},
        **{"dataset": "digits", "model": "small", "attack": "bw3x3", "trigger": "0", "target": 0},
        **{"defense": "mesa", "version": "1", "variant": "", "setting": "quick", "seed": number},
        **{"knowledge": ("weights",), "role": "ranked", "victim": "m", "min_asr": 0.9},
        **{"metrics": {"asr": number / 7}, "triggers_artifact": triggers, "log": "x" * 6000},
    }
    return TrialRecord(**settings | fields)


def run(out: Path) -> None:
    """Do what is missing, as a run does: artifact, then row; a failed trial is done again."""
    with Store.open(out, write=True, create=True) as store, store.work_folder() as work:
        (work / "progress").touch()
        model = store.model("m")
        if model is None or not store.artifacts.verify(model.artifact):
            weights = store.artifacts.add(b"weights" * 500)
            store.put_model(ModelRecord("m", "victim", "done", "", "d", "s", 0, artifact=weights))
        for number in range(2):
            status = store.statuses([f"t{number}"]).get(f"t{number}")
            if status is None:
                store.put_trial(trial(number, "", status="failed", metrics={}))
            if status != "done":
                store.put_trial(trial(number, store.artifacts.add(b"triggers %d" % number)))


def stored(out: Path):
    with Store.open(out, write=False) as store:
        return list(store.trials()), store.models()


def files(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.glob("artifacts/**/*.*")}


def test_a_run_killed_at_any_step_goes_on_to_the_same_results(home, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(home / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (home / "temporary").mkdir()
    run(home / "whole")
    right = stored(home / "whole")
    out = home / "out"
    for point in count(1):
        killed = dies_at(point, lambda: run(out))
        if not killed:
            break
        if (out / "results.sqlite").exists() and (out / "results.sqlite").stat().st_size:
            with Store.open(out, write=False) as store:
                for name in [t.triggers_artifact for t in store.trials()]:
                    assert not name or store.artifacts.verify(name), (
                        f"a row without its file: {point}"
                    )
        run(out)
        assert stored(out) == right, point
        assert files(out) == files(home / "whole"), point
        assert list((home / "temporary").iterdir()) == [], point
        shutil.rmtree(out)
    assert point > 80


def test_a_repair_killed_at_any_step_can_be_given_again(home):
    damaged, out = home / "damaged", home / "out"
    run(damaged)
    content = bytearray((damaged / "results.sqlite").read_bytes())
    content[content.index(b"x" * 6) + 1] ^= 1
    (damaged / "results.sqlite").write_bytes(content)
    shutil.copytree(damaged, home / "once")
    repair(home / "once")
    right = stored(home / "once")
    assert len(right[0]) == 1
    for point in count(1):
        shutil.copytree(damaged, out)
        killed = dies_at(point, lambda: repair(out))
        repair(out)
        assert stored(out) == right, point
        kept = {path.read_bytes() for path in out.glob("results.damaged-*.sqlite")}
        assert kept == {bytes(content)}, point
        left = [path.name for path in out.iterdir() if path.name.startswith(".unfinished")]
        assert left == [], point
        shutil.rmtree(out)
        if not killed:
            break
    assert point > 40


def test_a_merge_killed_at_any_step_can_be_given_again(home):
    one, other, out = home / "one", home / "other", home / "out"
    run(one)
    with Store.open(other, write=True, create=True) as store:
        store.put_trial(trial(7, store.artifacts.add(b"triggers 7")))
    merge([one, other], home / "once")
    right = stored(home / "once")
    for point in count(1):
        killed = dies_at(point, lambda: merge([one, other], out))
        if (out / "results.sqlite").exists() and (out / "results.sqlite").stat().st_size:
            assert len(stored(out)[0]) in (0, 3), f"half of the records: {point}"
        merge([one, other], out)
        assert stored(out) == right, point
        assert files(out) == files(home / "once"), point
        shutil.rmtree(out)
        if not killed:
            break
    assert point > 80
