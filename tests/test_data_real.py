"""The real CIFAR images, where the machine has them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmark.builtin.datasets import DATASETS
from benchmark.data import load_split, prepare

ROOT = os.environ.get("BENCH_TEST_DATA")
pytestmark = pytest.mark.skipif(not ROOT, reason="BENCH_TEST_DATA names no folder of real images")
SPECS = {spec.name: spec for spec in DATASETS}


def folder(name: str) -> Path:
    path = Path(ROOT or "") / name
    if not path.is_dir():
        pytest.skip(f"BENCH_TEST_DATA has no {name}")
    return path


def test_cifar10(tmp_path):
    spec = SPECS["cifar10"]
    prepared = prepare(spec, spec.options(), folder("cifar10"), tmp_path)
    assert (prepared.train_count, prepared.test_count) == (50_000, 10_000)
    assert prepared.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=1e-3)
    assert prepared.std == pytest.approx((0.2470, 0.2435, 0.2616), abs=1e-3)
    test = load_split(prepared, "test")
    assert test.labels.bincount().tolist() == [1000] * 10
    assert test.labels[:8].tolist() == [3, 8, 8, 0, 6, 6, 1, 6]


def test_binary_records_of_the_same_images_have_the_same_fingerprint(tmp_path):
    spec = SPECS["cifar100"]
    parquet = prepare(spec, spec.options(), folder("cifar100"), tmp_path / "cache")
    binary = tmp_path / "cifar-100-binary"
    binary.mkdir()
    for split in ("train", "test"):
        loaded = load_split(parquet, split)
        labels = loaded.labels.numpy().astype(np.uint8)[:, None]
        pixels = loaded.images.flatten(1).numpy()
        records = np.hstack([np.zeros_like(labels), labels, pixels])
        (binary / f"{split}.bin").write_bytes(records.tobytes())
    again = prepare(spec, spec.options(), tmp_path, tmp_path / "cache")
    assert again.folder != parquet.folder
    assert again.fingerprint == parquet.fingerprint


def test_the_folder_above_both_data_sets_will_do(tmp_path):
    above = folder("cifar100").parent
    spec = SPECS["cifar100"]
    source = spec.factory(spec.options())
    direct = source.fingerprint_inputs(above / "cifar100", tmp_path)
    assert source.fingerprint_inputs(above, tmp_path) == direct
