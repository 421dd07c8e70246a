"""A user's own images as a data set: class folders, an `.npz` file, parquet files; no code."""

from __future__ import annotations

import io
import json
import sys
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import ExifTags, Image

from benchmark.builtin.datasets.own.options import FilesOptions
from benchmark.cli import main
from benchmark.data import load_split, prepare
from benchmark.errors import UserError
from benchmark.kit import check
from benchmark.plugins import load_plugins

COLOURS = {"blue": (0, 0, 200), "green": (0, 200, 0), "red": (200, 0, 0)}
SPEC = load_plugins().get("dataset", "files").spec


def picture(name: str, seed: int, size: int = 16) -> np.ndarray:
    """A noisy plain picture in the colour of its class."""
    noise = np.random.default_rng(seed).integers(-40, 40, (size, size, 3))
    return np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8)


def folders(root: Path, count: int, size: int = 16) -> Path:
    for name in COLOURS:
        (root / name).mkdir(parents=True)
        for number in range(count):
            seed = zlib.crc32(f"{name} {number} {count}".encode())
            Image.fromarray(picture(name, seed, size)).save(root / name / f"{number}.png")
    return root


def prepared(data_dir: Path | None, cache: Path, **options: object):
    chosen = FilesOptions(**options)
    return prepare(SPEC.under(chosen, data_dir), chosen, data_dir, cache)


def splits(data_dir: Path, cache: Path, **options: object):
    found = prepared(data_dir, cache, **options)
    return found, load_split(found, "train"), load_split(found, "test")


def is_the_colour_of_its_class(images: torch.Tensor, labels: torch.Tensor) -> bool:
    """Blue, green, red in this order: the brightest channel is the last, the middle, the first."""
    return bool((images.float().mean((2, 3)).argmax(1) == 2 - labels).all())


def test_class_folders_are_split_class_by_class(tmp_path: Path) -> None:
    folder = folders(tmp_path / "pictures", 10)
    (folder / "red" / "notes.txt").write_text("not an image")
    (folder / ".hidden").mkdir()
    found, train, test = splits(folder, tmp_path / "cache")
    assert (found.class_names, found.info.image_size) == (("blue", "green", "red"), (16, 16))
    assert torch.bincount(train.labels).tolist() == [8, 8, 8]
    assert torch.bincount(test.labels).tolist() == [2, 2, 2]
    assert is_the_colour_of_its_class(train.images, train.labels)
    assert is_the_colour_of_its_class(test.images, test.labels)
    # Another seed holds other images back; the same one the same.
    other = prepared(folder, tmp_path / "cache", seed=1)
    again = prepared(folder, tmp_path / "elsewhere")
    assert other.fingerprint != found.fingerprint == again.fingerprint


def test_train_and_validation_folders_of_any_size_and_colour_mode(tmp_path: Path) -> None:
    folders(tmp_path / "own" / "train", 4, 24)
    folders(tmp_path / "own" / "val", 2, 40)
    grey = Image.fromarray(picture("green", 1, 30)).getchannel(1)
    grey.save(tmp_path / "own" / "train" / "green" / "grey.jpg")
    with pytest.raises(UserError, match=r"is 30 x 30, the first image 24 x 24 \(--set dataset.siz"):
        prepared(tmp_path / "own", tmp_path / "cache")
    found, train, test = splits(tmp_path / "own", tmp_path / "cache", size=16)
    assert (len(train.labels), len(test.labels)) == (13, 6)
    assert found.info.image_size == tuple(train.images.shape[2:]) == (16, 16)
    assert is_the_colour_of_its_class(test.images, test.labels)


def test_sixteen_bits_of_grey_are_read_as_the_upper_eight(tmp_path: Path) -> None:
    """Pillow alone would make everything above 255 of 65,535 white."""
    for name, level in (("bright", 0xC800), ("dark", 0x1400)):
        (tmp_path / "own" / name).mkdir(parents=True)
        for number in range(10):
            deep = np.full((16, 16), level + number, dtype=np.uint16)
            Image.fromarray(deep).save(tmp_path / "own" / name / f"{number}.png")
    _, train, _ = splits(tmp_path / "own", tmp_path / "cache")
    assert {int(image[0, 0, 0]) for image in train.images[train.labels == 0]} == {0xC8}
    assert {int(image[0, 0, 0]) for image in train.images[train.labels == 1]} == {0x14}


def test_photographs_that_lie_on_their_side_are_turned_upright(tmp_path: Path) -> None:
    """A camera may note the orientation and not turn the pixels; then size follows the note."""
    for name in COLOURS:
        (tmp_path / "own" / name).mkdir(parents=True)
        for number in range(5):
            wide = np.concatenate([picture(name, number), picture(name, number + 9)], axis=1)
            noted = Image.Exif()
            noted[ExifTags.Base.Orientation] = 6
            path = tmp_path / "own" / name / f"{number}.jpg"
            Image.fromarray(wide).save(path, exif=noted)
    found, train, _ = splits(tmp_path / "own", tmp_path / "cache")
    assert found.info.image_size == tuple(train.images.shape[2:]) == (32, 16)


def arrays(count: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(count) % 3
    return np.stack([picture([*COLOURS][label], at) for at, label in enumerate(labels)]), labels


@pytest.mark.parametrize("form", ["keras", "medmnist", "channels first, one part"])
def test_npz_files_with_the_usual_names(tmp_path: Path, form: str) -> None:
    (x, y), (v, w) = arrays(12), arrays(6)
    path = tmp_path / "own.npz"
    match form:
        case "keras":
            np.savez(path, x_train=x, y_train=y, x_test=v, y_test=w)
        case "medmnist":
            labels = {"train_labels": y[:, None].astype(np.uint8), "test_labels": w[:, None]}
            np.savez_compressed(path, train_images=x, test_images=v, **labels)
        case _:
            both = np.concatenate([x, v]).transpose(0, 3, 1, 2) / np.float32(255)
            np.savez(path, images=both, labels=np.concatenate([y, w]))
    found, train, test = splits(path, tmp_path / "cache", test_fraction=1 / 3)
    assert found.class_names == ("0", "1", "2")
    assert (len(train.labels), len(test.labels)) == (12, 6)
    assert is_the_colour_of_its_class(train.images, train.labels)
    assert is_the_colour_of_its_class(test.images, test.labels)
    if form == "keras":
        assert torch.equal(train.images, torch.from_numpy(x.transpose(0, 3, 1, 2)))


def parquet(path: Path, count: int, labels: str = "names", told: bool = False) -> Path:
    x, y = arrays(count)
    cells = []
    for one in x:
        content = io.BytesIO()
        Image.fromarray(one).save(content, "PNG")
        cells.append({"bytes": content.getvalue(), "path": None})
    column = [[*COLOURS][label] for label in y] if labels == "names" else y
    table = pa.table({"image": cells, "label": column})
    if told:
        features = {"label": {"names": ["bleu", "vert", "rouge"], "_type": "ClassLabel"}}
        text = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": text})
    pq.write_table(table, path)
    return path


def test_parquet_files_alone_or_as_two_splits(tmp_path: Path) -> None:
    alone, train, test = splits(parquet(tmp_path / "own.parquet", 15), tmp_path / "cache")
    assert alone.class_names == ("blue", "green", "red")
    assert (len(train.labels), len(test.labels)) == (12, 3)
    assert is_the_colour_of_its_class(test.images, test.labels)
    (tmp_path / "hub").mkdir()
    parquet(tmp_path / "hub" / "train-00000-of-00001.parquet", 9, "numbers", told=True)
    parquet(tmp_path / "hub" / "validation-00000-of-00001.parquet", 6, "numbers", told=True)
    found, train, test = splits(tmp_path / "hub", tmp_path / "cache")
    assert found.class_names == ("bleu", "vert", "rouge")
    assert (len(train.labels), len(test.labels)) == (9, 6)
    assert is_the_colour_of_its_class(train.images, train.labels)
    parquet(tmp_path / "hub" / "test-00000-of-00001.parquet", 4, "numbers", told=True)
    _, train, test = splits(tmp_path / "hub", tmp_path / "cache")
    assert (len(train.labels), len(test.labels)) == (9, 4)  # held back for validation: neither


def test_they_keep_every_rule_that_data_sets_have(tmp_path: Path) -> None:
    x, y = arrays(12)
    np.savez(tmp_path / "own.npz", images=x, labels=y)
    found = check("files", data_dir=tmp_path / "own.npz")
    assert found.passed, found


def broken(case: str, root: Path) -> Path | None:
    """Make what is wrong in one way."""
    x, y = arrays(6)
    path = root / "own.npz"
    match case:
        case "nothing":
            return None
        case "no folder":
            return root / "nowhere"
        case "one class":
            folders(root / "own", 2)
            for name in ("blue", "green"):
                (root / "own" / name).rename(root / name)
        case "one image":
            folders(root / "own", 1)
        case "no test":
            folders(root / "own" / "train", 2)
        case "class not in test":
            folders(root / "own" / "train", 2)
            folders(root / "own" / "test", 2)
            (root / "own" / "test" / "red").rename(root / "red")
        case "damaged image":
            (folders(root / "own", 3) / "red" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
        case "text file":
            (root / "own.txt").write_text("hello")
            return root / "own.txt"
        case "damaged npz":
            path.write_bytes(b"PK hello")
        case "objects":
            np.savez(path, images=x.astype(object), labels=y)
        case "names":
            np.savez(path, pixels=x, labels=y)
        case "counts":
            np.savez(path, images=x[:5], labels=y)
        case "float labels":
            np.savez(path, images=x, labels=y + 0.5)
        case "from one":
            np.savez(path, images=x, labels=y + 1)
        case "huge label":
            np.savez(path, images=x, labels=np.where(y == 2, 10**12, y))
        case "16 bit":
            np.savez(path, images=x.astype(np.uint16) * 255, labels=y)
        case "shape":
            np.savez(path, images=x.reshape(6, -1), labels=y)
        case "damaged parquet":
            content = parquet(root / "whole.parquet", 9).read_bytes()
            (root / "own.parquet").write_bytes(content[: len(content) // 2])
            return root / "own.parquet"
        case "columns":
            pq.write_table(pa.table({"picture": [1], "label": [2]}), root / "own.parquet")
            return root / "own.parquet"
    return path if path.exists() else root / "own"


@pytest.mark.parametrize(
    ("case", "line"),
    [
        ("nothing", "the data set 'files' needs --data-dir"),
        ("no folder", "there is no folder or file"),
        ("one class", "no two folders of images, one for each class"),
        ("one image", "class blue has one image"),
        ("no test", "has a folder of train images and none of test images"),
        ("class not in test", "no image of class red"),
        ("damaged image", "1.png is damaged, or no PNG, JPEG, WEBP or BMP image"),
        ("text file", "is neither an .npz nor a .parquet file"),
        ("damaged npz", "is no readable .npz file"),
        ("objects", "is no readable .npz file: Object arrays cannot be loaded"),
        ("names", "holds pixels, labels (wanted: x_train"),
        ("counts", "5 all images and 6 labels"),
        ("float labels", "labels is float64 of shape (6,), not one class number an image"),
        ("from one", "no image of class 0"),
        ("huge label", "1000000000000 is no class number (they count from 0)"),
        ("16 bit", "images is uint16 from"),
        ("shape", "images has shape (6, 768)"),
        ("damaged parquet", "is no readable parquet file"),
        ("columns", "has the columns picture, label (wanted: image"),
    ],
)
def test_what_is_wrong_with_the_files_is_one_line(
    tmp_path: Path, monkeypatch, capsys, case: str, line: str
) -> None:
    data_dir = broken(case, tmp_path)
    words = ["run", "--dataset", "files", "--out", str(tmp_path / "out"), "--device", "cpu"]
    words += ["--data-dir", str(data_dir)] if data_dir else []
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr().err
    assert (end.value.code, said.count("\n")) == (2, 1), said
    assert line in said


def test_a_folder_of_images_is_attacked_and_defended_in_one_command(
    command, tmp_path: Path
) -> None:
    folder = folders(tmp_path / "my flags", 60)
    words = command.tiny(tmp_path / "out", "--data-dir", folder, attack__triggers="170")
    words[words.index("tiny")] = "files"
    done = command(*words, "--defense", "fine_tuning")
    assert done.returncode == 0, done.stderr
    assert "dataset.title=my flags" in done.stdout
    said = command("leaderboard", "--out", tmp_path / "out", "--format", "json").stdout
    rows = {row["defense"]: row for row in json.loads(said)}
    assert rows["fine_tuning"]["dataset"] == "files"
    assert rows["none"]["asr_before_mean"] > 0.9
    assert rows["fine_tuning"]["clean_accuracy_after_mean"] > 0.9
