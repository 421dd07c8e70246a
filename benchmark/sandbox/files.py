"""The two folders between a worker and the process that it starts for plugin code.

The inbox holds everything that the plugin is given; the outbox what it gave back. Weights and
tensors are safetensors, the rest is JSON: nothing that is read back can run code.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmark.data import PreparedDataset
from benchmark.errors import JobFault
from benchmark.jobs import Component
from benchmark.recipe import BaseRecipe
from benchmark.types import AttackInstance, DatasetInfo

_LONGEST = 2000
"""Characters of a reason."""
_MOST_BYTES = 64 * 2**20
"""Of any file that is read back and is not weights."""
_PAST_INTEGERS = 2**63
"""The results store has no room for it."""


def read_back(path: Path, most: int = _MOST_BYTES) -> bytes:
    """Return what a sandboxed process wrote there; `OSError` unless it is a plain file."""
    with open_plain(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, "too long")
    return content


def digest_back(path: Path) -> str:
    """Return the SHA-256 of what was written there; `OSError` unless it is a plain file."""
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_plain(path: Path) -> BufferedReader:
    """Open a plain file in a plain folder, and nothing else that may stand in its place.

    A link could lead to a file that only the harness may read, and a pipe would never end.
    """
    if not stat.S_ISDIR(path.parent.lstat().st_mode):
        raise OSError(errno.ENOTDIR, "not in a plain folder")
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    file = os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb")
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        file.close()
        raise OSError(errno.EINVAL, "not a plain file")
    return file


class Request(BaseModel):
    """What the plugin's process is told. A field that is None was not granted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str
    """`base`, `attack` or `repair`."""
    info: DatasetInfo
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    model: Component
    device: str
    threads: int
    seed: int
    seconds: float | None
    """Time limit of the whole process."""
    disk_mib: int | None
    """Limit on each file that it writes."""
    readable: tuple[str, ...] | None
    """What may be read besides the inbox; None: the process is not sealed."""
    plugin: Component | None = None
    recipe: BaseRecipe | None = None
    train: PreparedDataset | None = None
    """The data set whose training images a base model or an attack may use; not for defenses."""
    instance: AttackInstance | None = None
    """Attacks only."""
    trigger_size: tuple[int, int] | None = None
    target: int | None = None
    trigger: list[list[list[float]]] | None = None


class Result(BaseModel):
    """The small part of an outcome. The plugin could have written it: it is checked when read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    models: tuple[str, ...] = Field(max_length=10_000)
    """SHA-256 of the file of each repaired model, as it was written."""
    target: int | None = Field(gt=-_PAST_INTEGERS, lt=_PAST_INTEGERS)
    """The target class that was recovered."""
    seconds: float = Field(ge=0)
    device_memory_mib: float = Field(ge=0)
    forward_images: int = Field(ge=0, lt=_PAST_INTEGERS)
    backward_images: int = Field(ge=0, lt=_PAST_INTEGERS)


@dataclass(frozen=True)
class JobFolder:
    """The files of one sandboxed job."""

    root: Path

    @property
    def inbox(self) -> Path:
        """What the plugin is given."""
        return self.root / "inbox"

    @property
    def outbox(self) -> Path:
        """What the plugin gives back."""
        return self.root / "outbox"

    @property
    def scratch(self) -> Path:
        """The plugin's working, temporary and home folder."""
        return self.root / "scratch"

    @property
    def series(self) -> Path:
        """The rows of diagnostics, each a line of JSON."""
        return self.outbox / "series.jsonl"

    @property
    def progress(self) -> Path:
        """The latest progress line, as JSON."""
        return self.outbox / "progress.json"

    def create(self) -> None:
        """Make the folders."""
        for folder in (self.inbox, self.outbox, self.scratch):
            folder.mkdir(parents=True)

    def write_sealed(self, by: str) -> None:
        """Note by what the process is closed off; empty: by nothing."""
        (self.root / "sealed.txt").write_text(by, encoding="utf-8")

    def read_sealed(self) -> str:
        """Return what `write_sealed` wrote; empty if it wrote nothing."""
        try:
            return read_back(self.root / "sealed.txt", 100).decode("utf-8", errors="replace")
        except OSError:
            return ""

    def model(self, number: int) -> Path:
        """Return where repaired model `number` is written."""
        return self.outbox / f"model-{number}.safetensors"

    def write_result(self, result: Result) -> None:
        """Write the small part of the outcome, last of all: its presence says that all is there."""
        (self.outbox / "result.json").write_text(result.model_dump_json(), encoding="utf-8")

    def read_result(self) -> Result:
        """Return what `write_result` wrote; `JobFault` if there is no such thing."""
        try:
            return Result.model_validate_json(read_back(self.outbox / "result.json"))
        except OSError as error:
            raise JobFault("the process ended before it returned a result") from error
        except ValidationError as error:
            raise JobFault("the process wrote a result that is none") from error

    def write_error(self, reason: str) -> None:
        """Write why there is no result."""
        text = reason[:_LONGEST].encode("utf-8", errors="backslashreplace")
        (self.outbox / "error.txt").write_bytes(text)

    def read_model(self, number: int, result: Result, most: int) -> bytes:
        """Return the file of repaired model `number`, at most so many bytes.

        What is returned is what has the digest that the result notes, whatever becomes of the file
        afterwards: a process that outlived the plugin's may still write. Raises `JobFault` for a
        file that is not there, too long, or not as it was when written.
        """
        what = f"the file of repaired model {number}"
        try:
            content = read_back(self.model(number), most)
        except OSError as error:
            raise JobFault(f"{what}: {error.strerror or error}") from error
        if hashlib.sha256(content).hexdigest() != result.models[number]:
            raise JobFault(f"{what} is not as it was written: cut short, or changed afterwards")
        return content

    def read_error(self) -> str:
        """Return in one printable line what `write_error` wrote; empty if it wrote nothing."""
        try:
            text = read_back(self.outbox / "error.txt").decode("utf-8", errors="replace")
        except OSError:
            return ""
        line = " ".join(text.split())[:_LONGEST]
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)

    def read_series(self) -> list[dict[str, Any]]:
        """Return the rows of diagnostics that were written, but for those that cannot be read.

        The last one is cut short if the process was ended meanwhile.
        """
        try:
            lines = read_back(self.series).decode("utf-8", errors="replace").split("\n")
        except OSError:
            return []
        rows = map(_row, lines)
        return [_flat(row) for row in rows if isinstance(row, dict)]


def _row(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers and texts of a row, the texts such as can be stored."""
    plain = {_storable(k): v for k, v in row.items() if isinstance(v, str | int | float)}
    return {name: _storable(v) if isinstance(v, str) else v for name, v in plain.items()}


def _storable(text: str) -> str:
    """Return a text with halves of characters, which JSON may hold and UTF-8 not, escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
