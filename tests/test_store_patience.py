"""A run and a program that holds its results file: what was found is not lost, and nobody hangs."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmark.records import ModelRecord
from benchmark.store import Store

MODEL = ModelRecord("m", "base", "done", "", "digits", "small", seed=0, artifact="a" * 64)


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path, write=True, create=True) as store:
        yield store


@contextmanager
def held(file: Path, begin: str) -> Iterator[threading.Event]:
    """Let another connection hold the file until the event that is yielded."""
    holds, release = threading.Event(), threading.Event()

    def hold() -> None:
        connection = sqlite3.connect(file, isolation_level=None)
        connection.execute(begin)
        connection.execute("SELECT count(*) FROM model").fetchall()
        holds.set()
        release.wait(60)
        connection.execute("COMMIT")
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert holds.wait(60)
        yield release
    finally:
        release.set()
        thread.join()


@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN EXCLUSIVE"], ids=["reader", "writer"])
def test_a_result_waits_for_who_holds_the_file_and_says_so_once(store, begin):
    said: list[str] = []
    with held(store.file, begin) as release:

        def say(text: str) -> None:
            said.append(text)
            # Longer than SQLite waits by itself: it has to be asked again, silently.
            threading.Timer(3, release.set).start()

        with store.patient(say):
            store.put_model(MODEL)
        assert release.is_set()
    assert said == [f"{store.file} is held by another program: this run waits until that is done"]
    assert store.model("m") == MODEL


def test_who_interrupts_the_waiting_gets_away(store):
    def say(text: str) -> None:
        raise KeyboardInterrupt

    with held(store.file, "BEGIN"):
        with pytest.raises(KeyboardInterrupt), store.patient(say):
            store.put_model(MODEL)
        assert store.model("m") is None
    store.put_model(MODEL)
    assert store.model("m") == MODEL
