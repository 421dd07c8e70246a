"""Artifacts: there whole under their hash, or not at all; damage is noticed on every read."""

import errno
import hashlib
import os

import pytest

from benchmark.errors import JobFault, UserError
from benchmark.executors.parcel import ARTIFACT
from benchmark.executors.supplies import Supplies
from benchmark.store import ArtifactStore, Store


@pytest.fixture
def artifacts(tmp_path):
    return ArtifactStore(tmp_path)


@pytest.mark.parametrize("size", [0, 1, 3 * 2**20 + 1])
def test_bytes_and_files_get_the_name_of_their_hash(artifacts, tmp_path, size):
    data = os.urandom(size)
    source = tmp_path / "weights"
    source.write_bytes(data)
    name = artifacts.add(data)
    assert name == artifacts.add(source) == hashlib.sha256(data).hexdigest()
    assert artifacts.path(name) == tmp_path / "artifacts" / name[:2] / f"{name}.safetensors"
    assert artifacts.read(name) == data
    assert artifacts.verify(name)


def test_damage_is_noticed_and_adding_again_mends_it(artifacts):
    name = artifacts.add(b"weights")
    artifacts.path(name).write_bytes(b"wEights")
    assert not artifacts.verify(name)
    with pytest.raises(JobFault, match=f"artifact {name} is damaged"):
        artifacts.read(name)
    artifacts.add(b"weights")
    assert artifacts.read(name) == b"weights"


def test_a_missing_artifact_is_named(artifacts):
    name = "0" * 64
    assert not artifacts.verify(name)
    with pytest.raises(JobFault, match=f"artifact {name} is missing"):
        artifacts.read(name)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63])
def test_only_hashes_are_names(artifacts, name):
    with pytest.raises(JobFault, match="is not the name of an artifact"):
        artifacts.path(name)


def test_a_full_disk_leaves_nothing_half_written(artifacts, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="the disk is full"):
        artifacts.add(b"weights")
    assert list(artifacts.folder.iterdir()) == []


def test_a_node_sweeps_what_was_left_unfinished_and_not_what_others_still_write(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path))
    folder = tmp_path / "cluster" / "artifacts"
    folder.mkdir(parents=True)
    for name in ("left", "written"):
        (folder / f".unfinished-{name}").touch()
    os.utime(folder / ".unfinished-left", (77, 77))
    name = hashlib.sha256(b"weights").hexdigest()
    supplies = Supplies({ARTIFACT + name: lambda: b"weights"})
    supplies.artifact(name)
    assert supplies.wants == []
    assert [path.name for path in folder.glob(".unfinished-*")] == [".unfinished-written"]


def test_what_a_killed_run_left_unfinished_is_swept_by_the_next_writer(tmp_path):
    with Store.open(tmp_path, write=True, create=True) as store:
        name = store.artifacts.add(b"weights")
    left = tmp_path / "artifacts" / ".unfinished-x"
    left.write_bytes(b"half")
    Store.open(tmp_path, write=False).close()
    assert left.exists()
    Store.open(tmp_path, write=True).close()
    assert not left.exists()
    assert store.artifacts.verify(name)
