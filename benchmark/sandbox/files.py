"""The two folders between a worker and the process that it starts for plugin code.

The inbox holds everything that the plugin is given; the outbox what it gave back. Weights and
tensors are safetensors, the rest is JSON: nothing that is read back can run code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
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

    models: int = Field(ge=0, le=10_000)
    """How many repaired models there are."""
    target: int | None
    """The target class that was recovered."""
    seconds: float = Field(ge=0)
    device_memory_mib: float = Field(ge=0)
    forward_images: int = Field(ge=0)
    backward_images: int = Field(ge=0)


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
    def progress(self) -> Path:
        """The latest progress line, as JSON."""
        return self.outbox / "progress.json"

    def create(self) -> None:
        """Make the folders."""
        for folder in (self.inbox, self.outbox, self.scratch):
            folder.mkdir(parents=True)

    def model(self, number: int) -> Path:
        """Return where repaired model `number` is written."""
        return self.outbox / f"model-{number}.safetensors"

    def write_result(self, result: Result) -> None:
        """Write the small part of the outcome, last of all: its presence says that all is there."""
        (self.outbox / "result.json").write_text(result.model_dump_json(), encoding="utf-8")

    def read_result(self) -> Result:
        """Return what `write_result` wrote; `JobFault` if there is no such thing."""
        try:
            return Result.model_validate_json((self.outbox / "result.json").read_bytes())
        except OSError as error:
            raise JobFault("the process ended before it returned a result") from error
        except ValidationError as error:
            raise JobFault("the process wrote a result that is none") from error

    def write_error(self, reason: str) -> None:
        """Write why there is no result."""
        text = reason[:_LONGEST].encode("utf-8", errors="backslashreplace")
        (self.outbox / "error.txt").write_bytes(text)

    def read_error(self) -> str:
        """Return in one printable line what `write_error` wrote; empty if it wrote nothing."""
        try:
            with (self.outbox / "error.txt").open("rb") as file:
                text = file.read(4 * _LONGEST).decode("utf-8", errors="replace")
        except OSError:
            return ""
        line = " ".join(text.split())[:_LONGEST]
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)

    def read_series(self) -> list[dict[str, Any]]:
        """Return the rows of diagnostics that were written; none if they cannot be read."""
        try:
            lines = (self.outbox / "series.jsonl").read_text("utf-8").splitlines()
            rows = [json.loads(line) for line in lines]
        except (OSError, ValueError):
            return []
        return [row for row in rows if isinstance(row, dict)]
