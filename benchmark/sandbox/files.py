"""The two folders between a worker and the process that it starts for plugin code.

The inbox holds everything that the plugin is given; the outbox what it gave back. Weights and
tensors are safetensors, the rest is JSON: nothing that is read back can run code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from benchmark.data import PreparedDataset
from benchmark.jobs import Component
from benchmark.recipe import BaseRecipe
from benchmark.types import AttackInstance, DatasetInfo


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

    def write_result(self, result: dict[str, Any]) -> None:
        """Write the small part of the outcome, last of all: its presence says that all is there."""
        (self.outbox / "result.json").write_text(json.dumps(result), encoding="utf-8")
