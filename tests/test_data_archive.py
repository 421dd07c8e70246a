"""CIFAR's archive for Python and its download, on tiny archives with checksums of their own."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import io
import pickle
import socket
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from benchmark.builtin.datasets import download
from benchmark.builtin.datasets.cifar import Cifar
from benchmark.builtin.datasets.cifar_layout import CIFAR10, CIFAR100
from benchmark.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 3072), dtype=np.uint8)
LABELS = [*range(10), 4, 2]


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def tar(folder: str, files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def unpack(root: Path, folder: str, files: dict[str, bytes]) -> Path:
    (root / folder).mkdir(parents=True)
    for name, content in files.items():
        (root / folder / name).write_bytes(content)
    return root


@pytest.fixture
def python_files(monkeypatch) -> dict[str, bytes]:
    """The five batches in pickles, of which torchvision is told the checksums."""
    labels = np.array_split(LABELS, 5)
    files = {
        f"data_batch_{number}": pickle.dumps({"data": data, "labels": label.tolist()})
        for number, (data, label) in enumerate(
            zip(np.array_split(PIXELS, 5), labels, strict=True), 1
        )
    }
    train = [[name, md5(content)] for name, content in files.items()]
    files["test_batch"] = pickle.dumps({"data": PIXELS, "labels": LABELS})
    files["batches.meta"] = pickle.dumps({"label_names": list(CIFAR10.class_names)})
    official = torchvision.datasets.CIFAR10
    monkeypatch.setattr(official, "train_list", train)
    monkeypatch.setattr(official, "test_list", [["test_batch", md5(files["test_batch"])]])
    monkeypatch.setattr(official, "meta", official.meta | {"md5": md5(files["batches.meta"])})
    return files


def python_layout(files: dict[str, bytes], archive: bytes = b""):
    """Return the layout that takes these files, and this archive, for the official ones."""
    checksums = tuple((name, md5(content)) for name, content in files.items())
    return dataclasses.replace(CIFAR10, python_md5=md5(archive), python_files=checksums)


def right(data) -> bool:
    images = torch.from_numpy(PIXELS.reshape(-1, 3, 32, 32))
    return (
        torch.equal(data.train.images, images)
        and torch.equal(data.test.images, images)
        and data.train.labels.tolist() == data.test.labels.tolist() == LABELS
        and data.class_names == CIFAR10.class_names
    )


def read(layout, data_dir, cache_dir) -> None:
    Cifar(layout).fingerprint_inputs(data_dir, cache_dir)
    Cifar(layout).load(data_dir, cache_dir)


def refuses(layout, data_dir, tmp_path, match: str) -> None:
    with pytest.raises(UserError, match=match) as caught:
        read(layout, data_dir, tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_python_folder_and_the_folder_above_it(python_files, tmp_path):
    root = unpack(tmp_path, "cifar-10-batches-py", python_files)
    source = Cifar(python_layout(python_files))
    assert right(source.load(root, tmp_path / "cache"))
    assert right(source.load(root / "cifar-10-batches-py", tmp_path / "cache"))


def test_python_archive_leaves_nothing_unpacked(python_files, tmp_path):
    archive = tar("cifar-10-batches-py", python_files)
    (tmp_path / CIFAR10.python_archive).write_bytes(archive)
    assert right(Cifar(python_layout(python_files, archive)).load(tmp_path, tmp_path / "cache"))
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_pickle_without_the_official_checksum_is_never_opened(python_files, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    layout = python_layout(python_files)
    python_files["test_batch"] = pickle.dumps(Bomb())
    root = unpack(tmp_path, "cifar-10-batches-py", python_files)
    refuses(layout, root, tmp_path, "test_batch is damaged or incomplete.*download it again")
    assert not (tmp_path / "exploded").exists()


def test_damaged_and_missing_files_of_a_folder(python_files, tmp_path):
    root = unpack(tmp_path, "cifar-10-batches-py", python_files)
    batch = root / "cifar-10-batches-py/data_batch_3"
    batch.write_bytes(python_files["data_batch_3"][:-1])
    layout = python_layout(python_files)
    refuses(layout, root, tmp_path, "data_batch_3 is damaged")
    batch.unlink()
    refuses(layout, root, tmp_path, "cannot read .*data_batch_3: No such file")


@pytest.mark.parametrize("name", [CIFAR10.python_archive, CIFAR10.binary_archive])
def test_an_archive_that_is_not_the_official_one(tmp_path, name):
    (tmp_path / name).write_bytes(tar("cifar-10-batches-py", {"x": b"1"}))
    refuses(CIFAR10, tmp_path, tmp_path, f"{name} is damaged or incomplete: its MD5")


@pytest.mark.parametrize("name", ["../evil", "link"])
def test_an_archive_with_strange_members(tmp_path, name):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
        member.type = tarfile.SYMTYPE if name == "link" else tarfile.REGTYPE
        archive.addfile(member)
    (tmp_path / CIFAR10.python_archive).write_bytes(buffer.getvalue())
    layout = python_layout({}, buffer.getvalue())
    refuses(layout, tmp_path, tmp_path, "holds more than cifar-10-batches-py")


@pytest.mark.parametrize("name", ["cifar-10-python.tar.gz", "cifar-10-binary.tar.gz"])
def test_the_archive_of_the_other_data_set(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    refuses(CIFAR100, tmp_path, tmp_path, "holds cifar10, not cifar100.*--dataset cifar10")


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """Serve one body at the place from which torchvision downloads."""
    servers = []

    def start(body: bytes) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()

            def do_GET(self):
                self.do_HEAD()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        url = f"http://127.0.0.1:{server.server_port}/cifar.tar.gz"
        monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", url)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_download(python_files, serve, monkeypatch, tmp_path):
    archive = tar("cifar-10-batches-py", python_files)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "tgz_md5", md5(archive))
    serve(archive)
    assert right(Cifar(python_layout(python_files)).load(None, tmp_path / "cache"))
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_download_of_something_else(serve, tmp_path):
    serve(b"<html>log in to the hotel's network</html>")
    refuses(
        CIFAR10, None, tmp_path, "cannot download cifar10: File not found or corrupted.*--data-dir"
    )


def test_no_internet(monkeypatch, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and nobody listens, nor can anybody else
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/cifar.tar.gz"
        monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", url)
        refuses(CIFAR10, None, tmp_path, "cannot download cifar10: Connection refused.*--data-dir")


def test_a_server_that_never_answers(monkeypatch, tmp_path):
    def tried(_):
        raise AssertionError("a download has a longer limit")

    monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", tried)
    monkeypatch.setattr(download, "_PROBE_SECONDS", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/cifar.tar.gz"
        monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", url)
        refuses(CIFAR10, None, tmp_path, "cannot download cifar10: (no answer|timed out)")


def test_a_download_is_keyed_without_internet(tmp_path):
    assert CIFAR10.python_md5 in Cifar(CIFAR10).fingerprint_inputs(None, tmp_path)


@pytest.mark.parametrize("layout", [CIFAR10, CIFAR100])
def test_files_and_checksums_are_those_of_torchvision(layout):
    official = getattr(torchvision.datasets, layout.torchvision_class)
    files = [*official.train_list, *official.test_list]
    files.append([official.meta["filename"], official.meta["md5"]])
    assert [list(one) for one in layout.python_files] == files
    assert (layout.python_md5, layout.python_archive) == (official.tgz_md5, official.filename)
    assert layout.python_folder == official.base_folder


def test_a_plan_on_the_unpacked_archive_imports_no_torch(python, tmp_path):
    unpack(tmp_path, CIFAR10.python_folder, {name: b"" for name, _ in CIFAR10.python_files})
    look = (
        "import pathlib, sys; from benchmark.builtin.datasets import DATASETS\n"
        "source = DATASETS[1].factory(DATASETS[1].options())\n"
        "assert source.fingerprint_inputs(pathlib.Path(sys.argv[1]), pathlib.Path('.'))\n"
        "assert not {'torch', 'torchvision'} & sys.modules.keys()"
    )
    python(look, str(tmp_path))
