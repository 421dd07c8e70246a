"""Whatever a file of images holds: it is read or named, without a traceback."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzzing import MUTATION, PATIENT, mutated, tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmark.data import prepare
from benchmark.errors import UserError
from benchmark.plugins import load_plugins


@pytest.fixture(scope="module")
def shard() -> bytes:
    """Eleven images as a hub's parquet shard."""
    files = []
    for image in np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3), dtype=np.uint8):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        files.append({"bytes": buffer.getvalue(), "path": None})
    sink = io.BytesIO()
    labels = [3, 1, 4, 1, 5, 9, 2, 6, 8, 7, 0]
    pq.write_table(pa.table({"img": files, "label": labels}), sink)
    return sink.getvalue()


def on_data(bench, folder: Path) -> list[object]:
    return tiny(bench, "--dataset", "cifar10", "--data-dir", folder, "--dry-run")


def hub(folder: Path, train: bytes, test: bytes) -> Path:
    folder.mkdir()
    (folder / "train-00000-of-00001.parquet").write_bytes(train)
    (folder / "test-00000-of-00001.parquet").write_bytes(test)
    return folder


def new(folder: Path) -> Path:
    return folder / str(len(list(folder.iterdir())))


@settings(PATIENT, max_examples=100)
@given(mutations=st.lists(MUTATION, min_size=1, max_size=3))
def test_a_damaged_data_file_is_read_or_named(tmp_path, shard, mutations):
    folder = hub(new(tmp_path), mutated(shard, mutations), shard)
    spec = load_plugins().datasets["cifar10"].spec
    try:
        prepared = prepare(spec, spec.options(), folder, tmp_path / "cache")
    except UserError as error:
        said = str(error)
        assert str(folder) in said
        assert "\n" not in said
    else:
        assert (prepared.train_count, prepared.test_count) == (11, 11)


# Each time a process of its own reads it, as in every run: seconds.
@settings(PATIENT, max_examples=5)
@given(mutations=st.lists(MUTATION, min_size=1, max_size=3))
def test_the_command_answers_or_refuses_a_damaged_data_file(bench, tmp_path, shard, mutations):
    folder = hub(new(tmp_path), mutated(shard, mutations), shard)
    bench.answered(*on_data(bench, folder))


@settings(PATIENT, max_examples=15)
@given(keep=st.floats(0, 1, exclude_max=True))
def test_a_data_file_cut_short_is_named(bench, tmp_path, shard, keep):
    short = shard[: int(keep * len(shard))]
    folder = hub(new(tmp_path), shard, short)
    assert str(folder) in bench.refused(*on_data(bench, folder))


@settings(PATIENT, max_examples=15)
@given(
    name=st.sampled_from(["cifar-10-python.tar.gz", "data_batch_1", "train.parquet", "x.zip"]),
    content=st.binary(max_size=200),
)
def test_a_file_that_is_no_data_is_named(bench, tmp_path, name, content):
    folder = new(tmp_path)
    folder.mkdir()
    (folder / name).write_bytes(content)
    assert str(folder) in bench.refused(*on_data(bench, folder))
