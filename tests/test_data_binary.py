"""CIFAR's official binary version, on tiny files of the same layout."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from benchmark.builtin.datasets import DATASETS
from benchmark.builtin.datasets.cifar import Cifar
from benchmark.builtin.datasets.cifar_layout import CIFAR10, CIFAR100
from benchmark.data import prepare
from benchmark.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 3072), dtype=np.uint8)
LABELS = [*range(10), 4, 2]


def binary_files() -> dict[str, bytes]:
    records = np.hstack([np.array(LABELS, dtype=np.uint8)[:, None], PIXELS])
    parts = np.array_split(records, 5)
    files = {name: part.tobytes() for name, part in zip(CIFAR10.binary_train, parts, strict=True)}
    return {**files, "test_batch.bin": records.tobytes(), "batches.meta.txt": b"airplane\n"}


def unpack(root: Path, folder: str, files: dict[str, bytes]) -> Path:
    (root / folder).mkdir(parents=True)
    for name, content in files.items():
        (root / folder / name).write_bytes(content)
    return root


def write_archive(path: Path, folder: str, files: dict[str, bytes]):
    """Return the layout that takes this archive for the official one."""
    with tarfile.open(path, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return dataclasses.replace(CIFAR10, binary_md5=hashlib.md5(path.read_bytes()).hexdigest())


def write_parquet(folder: Path) -> Path:
    files = []
    for image in PIXELS.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        files.append({"bytes": buffer.getvalue(), "path": None})
    folder.mkdir()
    for split in ("train", "test"):
        path = folder / f"{split}-00000-of-00001.parquet"
        pq.write_table(pa.table({"img": files, "label": LABELS}), path)
    return folder


def right(data) -> bool:
    return all(
        np.array_equal(split.images.numpy().reshape(-1, 3072), PIXELS)
        and split.labels.tolist() == LABELS
        for split in (data.train, data.test)
    )


def test_archive_and_folder(tmp_path):
    files, folder = binary_files(), CIFAR10.binary_folder
    layout = write_archive(tmp_path / CIFAR10.binary_archive, folder, files)
    assert right(Cifar(layout).load(tmp_path, tmp_path / "cache"))
    root = unpack(tmp_path / "unpacked", folder, files)
    assert right(Cifar(CIFAR10).load(root, tmp_path / "cache"))
    assert right(Cifar(CIFAR10).load(root / folder, tmp_path / "cache"))


def test_an_archive_without_one_of_its_files(tmp_path):
    files = binary_files()
    del files["data_batch_4.bin"]
    layout = write_archive(tmp_path / CIFAR10.binary_archive, CIFAR10.binary_folder, files)
    with pytest.raises(UserError, match=r"binary\.tar\.gz has no data_batch_4\.bin"):
        Cifar(layout).load(tmp_path, tmp_path / "cache")


def test_the_same_images_in_parquet_have_the_same_fingerprint(tmp_path):
    spec = DATASETS[1]
    binary = unpack(tmp_path / "binary", CIFAR10.binary_folder, binary_files())
    parquet = write_parquet(tmp_path / "parquet")
    one, other = (
        prepare(spec, spec.options(), data_dir, tmp_path / "cache")
        for data_dir in (binary, parquet)
    )
    assert one.folder != other.folder
    assert one.fingerprint == other.fingerprint
    assert one.class_names == other.class_names


def test_cifar100_has_two_label_bytes(tmp_path):
    fine = np.arange(100, dtype=np.uint8)[:, None]
    images = np.random.default_rng(1).integers(0, 256, (100, 3072), dtype=np.uint8)
    content = np.hstack([np.zeros_like(fine), fine, images]).tobytes()
    root = unpack(tmp_path, "cifar-100-binary", {"train.bin": content, "test.bin": content})
    data = Cifar(CIFAR100).load(root, tmp_path / "cache")
    assert data.train.labels.tolist() == list(range(100))
    assert np.array_equal(data.test.images.numpy().reshape(100, -1), images)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda content: content[:-5], "test_batch.bin in .* is damaged: .* no whole number"),
        (lambda content: b"", "is damaged: 0 bytes"),
        (lambda content: b"\xff" + content[1:], "class 255 is not one of 10"),
        (lambda content: content[: 3 * 3073], "test split .* has no image of class cat, deer"),
    ],
)
def test_damaged_files(tmp_path, change, match):
    files = binary_files()
    files["test_batch.bin"] = change(files["test_batch.bin"])
    root = unpack(tmp_path, CIFAR10.binary_folder, files)
    with pytest.raises(UserError, match=match):
        Cifar(CIFAR10).load(root, tmp_path / "cache")


def test_a_missing_file_of_a_folder(tmp_path):
    root = unpack(tmp_path, CIFAR10.binary_folder, binary_files())
    (root / CIFAR10.binary_folder / "data_batch_2.bin").unlink()
    with pytest.raises(UserError, match=r"cannot read .*data_batch_2\.bin: No such file"):
        Cifar(CIFAR10).fingerprint_inputs(root, tmp_path / "cache")
