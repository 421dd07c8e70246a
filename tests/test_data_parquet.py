"""CIFAR from parquet shards: the layouts of hubs, and every way in which they come damaged."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from benchmark.builtin.datasets.cifar import Cifar
from benchmark.builtin.datasets.cifar_layout import CIFAR10, CIFAR100
from benchmark.errors import UserError

LABELS = [3, 1, 4, 1, 5, 9, 2, 6, 8, 7, 0]


def pixels(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def encode(image: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return buffer.getvalue()


def write(path: Path, files: list, labels=LABELS, image="img", label="label", names=None) -> None:
    columns = {image: [{"bytes": file, "path": None} for file in files], label: labels}
    table = pa.table(columns)
    if names:
        told = {"info": {"features": {label: {"names": names}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(told)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def good(folder: Path, **more) -> np.ndarray:
    images = pixels(len(LABELS))
    for split in ("train", "test"):
        write(folder / f"{split}-00000-of-00001.parquet", [encode(i) for i in images], **more)
    return images


def load(folder: Path, tmp_path: Path, layout=CIFAR10):
    Cifar(layout).fingerprint_inputs(folder, tmp_path / "cache")
    return Cifar(layout).load(folder, tmp_path / "cache")


def refuses(folder: Path, tmp_path: Path, match: str, layout=CIFAR10) -> None:
    with pytest.raises(UserError, match=match) as caught:
        load(folder, tmp_path, layout)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["", "data", "plain_text", "cifar10"])
def test_layouts_of_hubs(tmp_path, place):
    images = good(tmp_path / "hub" / place, image="image", names=list(CIFAR10.class_names))
    data = load(tmp_path / "hub", tmp_path)
    assert np.array_equal(data.train.images.numpy().transpose(0, 2, 3, 1), images)
    assert data.test.labels.tolist() == LABELS
    assert data.class_names == CIFAR10.class_names


def test_splits_in_folders_of_their_own(tmp_path):
    images = pixels(11)
    write(tmp_path / "hub/default/train/0000.parquet", [encode(i) for i in images[:5]], LABELS[:5])
    write(tmp_path / "hub/default/train/0001.parquet", [encode(i) for i in images[5:]], LABELS[5:])
    write(tmp_path / "hub/default/test/0000.parquet", [encode(i) for i in images])
    data = load(tmp_path / "hub", tmp_path)
    assert data.train.labels.tolist() == LABELS
    assert np.array_equal(data.train.images.numpy(), data.test.images.numpy())


def test_shards_are_read_in_order_and_any_lossless_format(tmp_path):
    images = pixels(11)
    good(tmp_path / "hub")
    (tmp_path / "hub/train-00000-of-00001.parquet").unlink()
    webp = [encode(i, "WEBP") for i in images]
    write(tmp_path / "hub/train-00001-of-00002.parquet", webp[4:], LABELS[4:])
    write(tmp_path / "hub/train-00000-of-00002.parquet", webp[:4], LABELS[:4])
    data = load(tmp_path / "hub", tmp_path)
    assert data.train.labels.tolist() == LABELS
    assert np.array_equal(data.train.images.numpy().transpose(0, 2, 3, 1), images)


def test_cifar100_has_fine_labels(tmp_path):
    labels = list(range(100))
    for split in ("train", "test"):
        path = tmp_path / "hub" / f"{split}-00000-of-00001.parquet"
        write(path, [encode(i) for i in pixels(100)], labels, label="fine_label")
    assert load(tmp_path / "hub", tmp_path, CIFAR100).test.labels.tolist() == labels
    refuses(tmp_path / "hub", tmp_path, "holds cifar100, not cifar10.*--dataset cifar100")


def test_cifar10_in_place_of_cifar100(tmp_path):
    good(tmp_path / "hub")
    refuses(tmp_path / "hub", tmp_path, "holds cifar10, not cifar100", CIFAR100)


def test_another_data_set_of_the_same_shape(tmp_path):
    good(tmp_path / "hub", names=list("0123456789"))
    refuses(tmp_path / "hub", tmp_path, "is not cifar10: its 10 classes are 0, 1, 2")


def test_places_that_hold_nothing(tmp_path):
    refuses(tmp_path, tmp_path, f"no cifar10 in {tmp_path}.*point --data-dir")
    refuses(tmp_path / "gone", tmp_path, "there is no folder .*gone")
    (tmp_path / "file.parquet").write_text("x")
    refuses(tmp_path / "file.parquet", tmp_path, "file.parquet is a file")
    refuses(tmp_path, tmp_path, "no cifar10 in")


def test_several_folders_with_shards(tmp_path):
    good(tmp_path / "hub/one")
    good(tmp_path / "hub/two")
    refuses(tmp_path / "hub", tmp_path, "holds shards in one, two.*point --data-dir")


def test_missing_split_and_missing_shard(tmp_path):
    good(tmp_path / "hub")
    (tmp_path / "hub/test-00000-of-00001.parquet").rename(
        tmp_path / "hub/test-00000-of-00003.parquet"
    )
    refuses(tmp_path / "hub", tmp_path, "test shard 00001-of-00003 is missing")
    (tmp_path / "hub/test-00000-of-00003.parquet").unlink()
    refuses(tmp_path / "hub", tmp_path, "has no test-.*parquet")


def test_shards_of_two_downloads(tmp_path):
    good(tmp_path / "hub")
    write(tmp_path / "hub/train-00000-of-00002.parquet", [encode(i) for i in pixels(11)])
    refuses(tmp_path / "hub", tmp_path, "mixes train shards of 1 and 2")


def test_text_named_parquet_and_truncated_parquet(tmp_path):
    good(tmp_path / "hub")
    shard = tmp_path / "hub/train-00000-of-00001.parquet"
    whole = shard.read_bytes()
    for content in (b"not parquet at all", b"", whole[: len(whole) // 2], whole[:-20]):
        shard.write_bytes(content)
        refuses(tmp_path / "hub", tmp_path, "train-00000-of-00001.parquet is no readable parquet")


def test_a_column_whose_name_is_no_text(tmp_path):
    good(tmp_path / "here")
    file = tmp_path / "here" / "train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes().replace(b"label", b"l\x80bel"))
    refuses(tmp_path / "here", tmp_path, r"00001\.parquet is no readable parquet file")


def test_bytes_overwritten_in_the_middle(tmp_path):
    good(tmp_path / "hub")
    shard = tmp_path / "hub/train-00000-of-00001.parquet"
    whole = bytearray(shard.read_bytes())
    whole[200:5200] = bytes(5000)
    shard.write_bytes(whole)
    refuses(tmp_path / "hub", tmp_path, "train-00000-of-00001.parquet")


@pytest.mark.parametrize(
    ("image", "match"),
    [
        (b"\x89PNG broken", "row 7 is damaged"),
        (encode(pixels(1)[0])[:900], "row 7 is damaged"),
        (None, "row 7 has no image"),
        (b"", "row 7 has no image"),
        (encode(np.zeros((31, 32, 3), dtype=np.uint8)), "row 7 is 32 x 31 RGB, not 32 x 32 RGB"),
        (encode(np.zeros((32, 32), dtype=np.uint8)), "row 7 is 32 x 32 L, not"),
        (encode(pixels(1)[0], "BMP"), "row 7 is damaged"),
    ],
)
def test_an_image_that_is_none(tmp_path, image, match):
    good(tmp_path / "hub")
    files = [encode(i) for i in pixels(11)]
    files[7] = image
    write(tmp_path / "hub/test-00000-of-00001.parquet", files)
    refuses(tmp_path / "hub", tmp_path, f"test-00000-of-00001.parquet.*{match}")


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        ([*LABELS[:-1], 10], "row 10 has label 10, which is not in 0 to 9"),
        ([-1, *LABELS[1:]], "row 0 has label -1"),
        ([None, *LABELS[1:]], "1 rows without a label"),
        ([str(label) for label in LABELS], "no column 'label' with whole numbers"),
        ([0 if label == 8 else label for label in LABELS], "no image of class ship"),
    ],
)
def test_wrong_labels(tmp_path, labels, match):
    good(tmp_path / "hub")
    write(tmp_path / "hub/test-00000-of-00001.parquet", [encode(i) for i in pixels(11)], labels)
    refuses(tmp_path / "hub", tmp_path, match)


def test_columns_of_something_else(tmp_path):
    good(tmp_path / "hub", image="picture")
    refuses(tmp_path / "hub", tmp_path, "no column 'img' or 'image'")
    good(tmp_path / "hub", label="class")
    refuses(tmp_path / "hub", tmp_path, "no column 'label'")


def test_the_key_follows_the_files(tmp_path):
    good(tmp_path / "hub")
    source = Cifar(CIFAR10)
    first = source.fingerprint_inputs(tmp_path / "hub", tmp_path)
    assert source.fingerprint_inputs(tmp_path / "hub", tmp_path) == first
    write(tmp_path / "hub/test-00000-of-00001.parquet", [encode(i) for i in pixels(11, 1)])
    assert source.fingerprint_inputs(tmp_path / "hub", tmp_path) != first
