"""Folders in which a plugin did as it liked: they go, and whoever removes them goes on."""

import os
import subprocess
import sys

import pytest

from benchmark.executors import scratch
from benchmark.removal import remove_folder
from benchmark.store.lock import WriterLock

DEEP = 1500
"""More than Python's calls nest."""


@pytest.fixture(autouse=True)
def _nothing_deep_left(tmp_path):
    yield
    subprocess.run(["rm", "-rf", "--", tmp_path], check=True)  # pytest could not


def dig(folder, name):
    """Nest folders; by steps, because their whole path may be longer than a path can be."""
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY)
    for _ in range(DEEP):
        os.mkdir(name, dir_fd=here)
        inner = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


@pytest.mark.parametrize("name", ["d", "a long name"])
def test_a_folder_of_any_depth_is_removed(tmp_path, name):
    dig(tmp_path / "left", name)
    remove_folder(tmp_path / "left")
    assert list(tmp_path.iterdir()) == []


def test_what_was_closed_is_removed_and_what_a_link_names_stays(tmp_path):
    (tmp_path / "left" / "closed" / "deeper").mkdir(parents=True)
    (tmp_path / "kept").mkdir(mode=0o500)
    (tmp_path / "left" / "link").symlink_to(tmp_path / "kept")
    for folder in ("left/closed/deeper", "left/closed", "left"):
        (tmp_path / folder).chmod(0)
    remove_folder(tmp_path / "left")
    assert list(tmp_path.iterdir()) == [tmp_path / "kept"]
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o500


def test_a_folder_that_is_not_there_is_no_error(tmp_path):
    remove_folder(tmp_path / "nothing")
    remove_folder("no\0name")


def test_the_next_writer_gets_in_after_a_run_that_left_deep_folders(tmp_path):
    first = WriterLock(tmp_path)
    with first.work_folder() as left:
        dig(left / "job", "d")
    assert not left.exists()
    dig(left, "d")  # as if it had been killed: its note is still there
    first.release()
    WriterLock(tmp_path).release()
    assert not left.exists()


def test_what_a_dead_process_left_is_removed_however_deep(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    own = scratch.make("bench-test-").rename(tmp_path / "own")
    dig(left_by_the_dead(tmp_path), "d")
    made = scratch.make("bench-test-")
    assert {*tmp_path.iterdir()} == {made, own}


def left_by_the_dead(folder):
    """Return where a process of this host would have put a folder that is dead now."""
    name = scratch.make("bench-test-")
    name.rmdir()
    # No process has so high a number.
    return folder / name.name.replace(f"{os.getpid()}-", f"{2**22 + 1}-")


def test_what_another_host_left_in_a_shared_folder_stays(tmp_path, monkeypatch):
    """Its processes are not known here, so all of them would be taken for dead."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("socket.gethostname", lambda: "elsewhere")
        theirs = left_by_the_dead(tmp_path)
        theirs.mkdir()
    made = scratch.make("bench-test-")
    with scratch.temporary("bench-test-") as another:
        assert {*tmp_path.iterdir()} == {theirs, made, tmp_path / another}


def test_a_path_for_sockets_stays_short(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("socket.gethostname", lambda: "a-node-" * 9)
    made = scratch.make("bench-ray-", longest=40)
    made.rmdir()
    assert len(str(made).replace(str(os.getpid()), str(2**22))) <= 40


def test_a_folder_of_a_dead_process_goes_with_the_next_of_its_kind(tmp_path, monkeypatch):
    """As of a check whose process the checked plugin ended."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    words = "from benchmark.executors.scratch import temporary; import os"
    ended = f"{words}; made = temporary('bench-test-'); os._exit(0)"
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", ended], env=environment, check=True)
    assert len(list(tmp_path.iterdir())) == 1
    with scratch.temporary("bench-test-") as made:
        assert list(tmp_path.iterdir()) == [tmp_path / made]
    assert list(tmp_path.iterdir()) == []
