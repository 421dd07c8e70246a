"""Where a plugin came from, in plain data that a subprocess can load it from again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Generic, Literal, TypeVar

from benchmark.specs import AttackSpec, DatasetSpec, DefenseSpec, MetricSpec, ModelSpec, Spec

Kind = Literal["defense", "attack", "metric", "dataset", "model"]

KINDS: dict[Kind, tuple[str, type[Any]]] = {
    "defense": ("bench_defenses", DefenseSpec),
    "attack": ("bench_attacks", AttackSpec),
    "metric": ("bench_metrics", MetricSpec),
    "dataset": ("bench_datasets", DatasetSpec),
    "model": ("bench_models", ModelSpec),
}
"""Kind of component → the hook that offers it and the spec that this hook returns."""

OBSERVED = (
    "bench_run_started",
    "bench_trial_started",
    "bench_trial_step",
    "bench_trial_finished",
    "bench_run_finished",
)
"""Hooks that are called while trials run, in the order in which a run calls them."""

OriginKind = Literal["builtin", "package", "file"]


@dataclass(frozen=True)
class Origin:
    """One plugin: enough to import it again, and nothing else, in another process."""

    kind: OriginKind
    module: str
    """What is imported: a module, or `module:object` as in an entry point."""
    path: str = ""
    """The file that was imported; for kind `file` what is imported, with symlinks resolved."""
    distribution: str = ""
    distribution_version: str = ""
    digest: str = ""
    """SHA-256 of the file of kind `file` as it was imported first; empty: whatever is there. A
    process that imports it again takes no other."""

    def __str__(self) -> str:
        """Say in words what to look at."""
        if self.kind == "builtin":
            return "built in"
        if self.kind == "file":
            return f"file {self.path}"
        return f"package {self.distribution} {self.distribution_version} ({self.module})"

    def to_json(self) -> dict[str, str]:
        """Return plain data for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Origin:
        """Return the origin that `to_json` wrote."""
        return cls(**data)


S = TypeVar("S", bound=Spec, covariant=True)


@dataclass(frozen=True)
class Registered(Generic[S]):
    """A spec and the plugin that offers it; `line` is that of the hook, 0 if unknown."""

    spec: S
    origin: Origin
    line: int = 0

    @property
    def where(self) -> str:
        """The origin in words: file and line, or package."""
        if self.origin.kind == "file":
            return f"{self.origin.path}:{self.line}"
        return str(self.origin)


@dataclass(frozen=True)
class Observer:
    """A plugin that follows runs: the hooks that it implements, and what each of them takes."""

    origin: Origin
    calls: Mapping[str, tuple[Callable[..., object], tuple[str, ...]]]
