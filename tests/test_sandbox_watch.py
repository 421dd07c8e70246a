"""Whom the watch of a sandbox sees."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from benchmark.sandbox import watch

FAMILY = """
import subprocess, sys, threading, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
nest = "import subprocess, sys, time; subprocess.Popen(%r); time.sleep(600)" % sleep
subprocess.Popen([sys.executable, "-c", nest])
# A child hangs under the thread that started it.
thread = threading.Thread(target=lambda: [subprocess.Popen(sleep), time.sleep(600)])
thread.start()
"""


@pytest.fixture
def family() -> Iterator[psutil.Process]:
    """A process with two children, one of a thread of its own, and a grandchild."""
    process = subprocess.Popen([sys.executable, "-c", FAMILY])
    root = psutil.Process(process.pid)
    try:
        while len(root.children(recursive=True)) < 3:
            assert process.poll() is None
        yield root
    finally:
        for one in [*root.children(recursive=True), root]:
            one.kill()
        process.wait()


@pytest.mark.parametrize("listed", [True, False])
def test_all_descendants_are_found_with_and_without_the_lists_of_linux(
    family: psutil.Process, listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if listed and not watch._LISTED:
        pytest.skip("this kernel does not list the children of a thread")
    monkeypatch.setattr(watch, "_LISTED", listed)
    expected = {family.pid, *(one.pid for one in family.children(recursive=True))}
    assert len(expected) == 4
    assert sorted(watch.descent(family.pid)) == sorted(expected)


def test_one_who_has_ended_is_no_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert list(watch.descent(process.pid)) == [process.pid]
