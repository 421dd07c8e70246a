"""The cache of prepared data sets: checked, rebuilt when damaged, safe for several processes."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import save_file

from benchmark.builtin.datasets import DATASETS
from benchmark.builtin.datasets.digits import Digits, DigitsOptions
from benchmark.config import Request, resolve
from benchmark.contracts import ImageSet, LoadedDataset
from benchmark.data import load_split, prepare, split_test
from benchmark.data_summary import channel_statistics, fingerprint
from benchmark.errors import UserError
from benchmark.plugins import load_plugins
from benchmark.preparing import prepare_apart
from benchmark.specs import DatasetSpec, Options
from benchmark.types import DatasetInfo

DIGITS = DATASETS[0]
SMALL = DigitsOptions(train_images=150, test_images=100)


@dataclasses.dataclass
class Counting:
    """Digits that note how often they are made."""

    options: DigitsOptions
    made: list[int]

    def fingerprint_inputs(self, data_dir, cache_dir):
        return Digits(self.options).fingerprint_inputs(data_dir, cache_dir)

    def load(self, data_dir, cache_dir):
        self.made.append(1)
        return Digits(self.options).load(data_dir, cache_dir)


def counting():
    made: list[int] = []
    return dataclasses.replace(DIGITS, factory=lambda options: Counting(options, made)), made


def test_prepared_once_and_found_again(tmp_path):
    spec, made = counting()
    first = prepare(spec, SMALL, None, tmp_path)
    assert prepare(spec, SMALL, None, tmp_path) == first
    assert len(made) == 1
    assert (first.train_count, first.test_count) == (150, 100)
    assert first.info == DIGITS.info
    assert first.class_names == tuple("0123456789")
    data = Digits(SMALL).load(None, tmp_path)
    for split in ("train", "test"):
        loaded = load_split(first, split)
        assert torch.equal(loaded.images, getattr(data, split).images)
        assert torch.equal(loaded.labels, getattr(data, split).labels)


def test_only_what_is_not_prepared_yet_is_decoded_and_where_the_caller_wants(tmp_path):
    said: list[str] = []

    def elsewhere(work):
        said.append("decoding")
        work()

    for _ in range(2):
        prepare(DIGITS, SMALL, None, tmp_path, elsewhere)
    assert said == ["decoding"]


def test_options_and_version_have_folders_of_their_own(tmp_path):
    one = prepare(DIGITS, SMALL, None, tmp_path)
    other = prepare(DIGITS, SMALL.model_copy(update={"seed": 1}), None, tmp_path)
    newer = prepare(dataclasses.replace(DIGITS, version="2"), SMALL, None, tmp_path)
    assert len({one.folder, other.folder, newer.folder}) == 3
    assert one.fingerprint == newer.fingerprint != other.fingerprint


GREY = """
from benchmark.api import DatasetInfo, DatasetSpec, ImageSet, LoadedDataset, hookimpl


class Grey:
    def __init__(self, options):
        pass

    def fingerprint_inputs(self, data_dir, cache_dir):
        return "made here"

    def load(self, data_dir, cache_dir):
        import torch

        images = torch.full((4, 3, 8, 8), 10, dtype=torch.uint8)
        split = ImageSet(images, torch.arange(4) % 2)
        return LoadedDataset(split, split, ("a", "b"))


@hookimpl
def bench_datasets():
    return [DatasetSpec("grey", "1", "one level", DatasetInfo(2, (8, 8)), Grey)]
"""


def test_an_edited_plugin_file_and_another_one_have_images_of_their_own(tmp_path):
    decoded: list[str] = []

    def level(name: str, source: str) -> int:
        file = tmp_path / name
        file.write_text(source, encoding="utf-8")
        request = Request(dataset="grey", defenses=("fine_tuning",))
        chosen = resolve(request, load_plugins([file])).dataset
        prepared = prepare_apart(chosen, None, tmp_path / "cache", lambda: decoded.append(name))
        return int(load_split(prepared, "test").images[0, 0, 0, 0])

    brighter = GREY.replace("8), 10,", "8), 200,")
    assert level("grey.py", GREY) == 10
    assert level("grey.py", brighter) == 200
    assert level("other.py", GREY.replace("8), 10,", "8), 77,")) == 77
    # Code that was seen before, wherever it lies now, is not run again.
    assert level("moved.py", brighter) == 200
    assert decoded == ["grey.py", "grey.py", "other.py"]


def test_a_shipped_data_set_lies_under_no_digest_of_code(tmp_path):
    request = Request(dataset="digits", defenses=("fine_tuning",))
    chosen = resolve(request, load_plugins()).dataset
    there = prepare(chosen.spec, chosen.options, None, tmp_path)
    assert prepare_apart(chosen, None, tmp_path, lambda: pytest.fail("decoded again")) == there


def test_changing_the_tensors_leaves_the_cache_alone(tmp_path):
    prepared = prepare(DIGITS, SMALL, None, tmp_path)
    load_split(prepared, "train").images.zero_()
    assert load_split(prepared, "train").images.any()


def test_statistics_are_those_of_the_training_pixels():
    train = Digits(SMALL).load(None, None).train
    mean, std = channel_statistics(train)
    pixels = train.images.double() / 255
    assert mean == pytest.approx(pixels.mean((0, 2, 3)).tolist(), abs=1e-12)
    assert std == pytest.approx(pixels.std((0, 2, 3), unbiased=False).tolist(), abs=1e-12)
    black = torch.zeros_like(train.images)
    assert channel_statistics(ImageSet(black, black)) == ([0, 0, 0], [1 / 255] * 3)


def test_the_fingerprint_sees_pixels_labels_and_order():
    data = Digits(SMALL).load(None, None)
    images, labels = data.test.images, data.test.labels
    touched = images.clone()
    touched[0, 0, 0, 0] ^= 1
    variants = [
        data,
        dataclasses.replace(data, test=ImageSet(touched, labels)),
        dataclasses.replace(data, test=ImageSet(images, labels.roll(1))),
        dataclasses.replace(data, test=ImageSet(images.flip(0), labels.flip(0))),
    ]
    assert len({fingerprint(variant) for variant in variants}) == 4
    assert fingerprint(dataclasses.replace(data, class_names=())) == fingerprint(data)
    strided = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert fingerprint(dataclasses.replace(data, test=ImageSet(strided, labels))) == fingerprint(
        data
    )


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "meta", "foreign meta"])
def test_a_damaged_cache_is_noticed_and_rebuilt(tmp_path, damage):
    spec, made = counting()
    prepared = prepare(spec, SMALL, None, tmp_path)
    path = prepared.folder / "test.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "truncate":
        path.write_bytes(content[:-10])
    elif damage == "remove":
        path.unlink()
    else:
        (prepared.folder / "meta.json").write_text("{" if damage == "meta" else json.dumps([1]))
    with pytest.raises(UserError, match=r"test\.safetensors is gone or damaged"):
        load_split(prepared, "test")
    assert prepare(spec, SMALL, None, tmp_path) == prepared
    assert len(made) == 2
    assert load_split(prepared, "test").labels.shape == (100,)
    assert [entry.name for entry in prepared.folder.parent.iterdir()] == [prepared.folder.name]


def test_sound_files_of_other_images_are_noticed(tmp_path):
    prepared = prepare(DIGITS, SMALL, None, tmp_path)
    split = load_split(prepared, "train")
    save_file(
        {"images": split.images, "labels": split.labels}, prepared.folder / "test.safetensors"
    )
    with pytest.raises(UserError, match="damaged"):
        load_split(prepared, "test")


def test_two_processes_at_once(tmp_path):
    code = (
        "import sys, pathlib; from benchmark.builtin.datasets import DATASETS;"
        "from benchmark.data import prepare, load_split; spec = DATASETS[0];"
        "options = spec.options(train_images=3000, test_images=100);"
        "p = prepare(spec, options, None, pathlib.Path(sys.argv[1]));"
        "assert len(load_split(p, 'train').labels) == 3000; print(p)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert len(set(told)) == 1
    assert len(list((tmp_path / "datasets").iterdir())) == 1


@pytest.mark.parametrize("sound", [True, False])
def test_another_process_is_done_first(tmp_path, sound):
    class Slow(Counting):
        def load(self, data_dir, cache_dir):
            other = prepare(DIGITS, self.options, data_dir, cache_dir)
            if not sound:
                (other.folder / "train.safetensors").write_bytes(b"damaged")
            return super().load(data_dir, cache_dir)

    slow = dataclasses.replace(DIGITS, factory=lambda options: Slow(options, []))
    prepared = prepare(slow, SMALL, None, tmp_path)
    assert load_split(prepared, "train").labels.shape == (150,)
    assert [entry.name for entry in prepared.folder.parent.iterdir()] == [prepared.folder.name]


def test_what_a_killed_process_left_is_swept(tmp_path):
    prepared = prepare(DIGITS, SMALL, None, tmp_path)
    left = prepared.folder.with_name(f".{prepared.folder.name}-abc")
    recent = prepared.folder.with_name(f".{prepared.folder.name}-def")
    for folder in (left, recent):
        folder.mkdir()
    old = time.time() - 2 * 24 * 3600
    os.utime(left, (old, old))
    (prepared.folder / "meta.json").unlink()
    prepare(DIGITS, SMALL, None, tmp_path)
    assert not left.exists()
    assert recent.exists()


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match="cannot write to the cache"):
        prepare(DIGITS, SMALL, None, tmp_path / "cache")


def made_of(images: torch.Tensor, labels: torch.Tensor) -> DatasetSpec:
    class Fixed:
        def fingerprint_inputs(self, data_dir, cache_dir):
            return "fixed"

        def load(self, data_dir, cache_dir):
            return LoadedDataset(ImageSet(images, labels), ImageSet(images, labels))

    info = DatasetInfo(num_classes=3, image_size=(8, 8))
    return DatasetSpec("fixed", "1", "", info, lambda options: Fixed())


GOOD = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("images", "labels", "match"),
    [
        (GOOD.float(), torch.zeros(4, dtype=torch.int64), "training images are torch.float32"),
        (GOOD[..., :4], torch.zeros(4, dtype=torch.int64), r"shape \(4, 3, 8, 4\), not"),
        (GOOD, torch.zeros(4), "labels are not one torch.int64"),
        (GOOD, torch.zeros(3, dtype=torch.int64), "labels are not one torch.int64"),
        (GOOD[:0], torch.zeros(0, dtype=torch.int64), "labels are not one torch.int64"),
        (GOOD, torch.full((4,), 3), "labels go from 3 to 3, not 0 to 2"),
    ],
)
def test_a_source_that_breaks_its_contract(tmp_path, images, labels, match):
    with pytest.raises(UserError, match=f"data set 'fixed': its .*{match}"):
        prepare(made_of(images, labels), Options(), None, tmp_path)


def test_a_source_that_keeps_its_contract(tmp_path):
    prepared = prepare(made_of(GOOD, torch.arange(4) % 3), Options(), None, tmp_path)
    assert load_split(prepared, "test").labels.tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize("count", [10, 2000, 9999])
def test_split_is_disjoint_complete_and_seeded(count):
    defense, scoring = split_test(count, seed=3)
    assert len(defense) == round(count * 0.8)
    assert sorted([*defense.tolist(), *scoring.tolist()]) == list(range(count))
    again = split_test(count, seed=3)
    assert torch.equal(defense, again[0])
    assert torch.equal(scoring, again[1])
    assert not torch.equal(defense, split_test(count, seed=4)[0])
    assert len(split_test(count, seed=3, defense_fraction=0.5)[0]) == round(count / 2)


def test_split_leaves_global_randomness_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    split_test(100, seed=1)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("fraction", [0.0, 1.0, 1.5])
def test_split_with_an_empty_part(fraction):
    with pytest.raises(ValueError, match="one part empty"):
        split_test(100, 0, fraction)
