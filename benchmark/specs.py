"""Light descriptions of plugins: what hooks return. No torch here.

A spec says what a component is called, what it accepts and what it needs; its `factory` imports
the heavy code. `lazy("package.module:Name")` makes such a factory from a string.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from benchmark.types import AttackInstance, DatasetInfo, Knowledge, Output, Role

if TYPE_CHECKING:
    from benchmark.contracts import Attack, DatasetSource, Defense, Metric, ModelBuilder


class Options(BaseModel):
    """Base of every options model: unknown keys are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


CHOOSES: dict[str, Any] = {"identity": False}
"""`json_schema_extra` of an option that chooses what is run or kept, but decides no numbers.

Such an option stays out of every identity hash: a subset of a grid shares its cached models and
finished trials with the whole grid. (What it chose, trigger and target, is hashed instead.)
"""


def added(off: Any) -> dict[str, Any]:
    """Return `json_schema_extra` for an option that a later version adds to a component.

    At the value `off` it must change nothing. There it stays out of every identity hash, so that
    results from before it was added stay valid and a run does not start over because of it.
    """
    return {"identity": "unless", "off": off}


def deciding_options(options: BaseModel) -> dict[str, Any]:
    """Return the options that decide a result's numbers, as plain JSON data."""
    left_out = choosing_options(type(options))
    chosen: dict[str, Any] = options.model_dump(mode="json", exclude=left_out)
    for name, info in type(options).model_fields.items():
        value, extra = getattr(options, name), info.json_schema_extra
        if name in left_out:
            continue
        if isinstance(value, BaseModel):
            chosen[name] = deciding_options(value)
        elif isinstance(extra, dict) and extra == added(value):
            del chosen[name]
    return chosen


def choosing_options(options: type[BaseModel]) -> set[str]:
    """Return the names of the options marked `CHOOSES`."""
    fields = options.model_fields
    return {name for name in fields if fields[name].json_schema_extra == CHOOSES}


def lazy(path: str) -> Callable[[Any], Any]:
    """Return a factory that imports `"module:attribute"` when it is first called."""
    module, _, attribute = path.partition(":")

    def factory(options: Any) -> Any:
        return getattr(importlib.import_module(module), attribute)(options)

    return factory


PresetOptions = Mapping[str, Mapping[str, Any]]
"""Preset name → option key → the value that replaces the option's default in that preset.

It counts more than the retraining settings that the preset has for every defense."""


@dataclass(frozen=True)
class DefenseSpec:
    """A defense: repairs a backdoored model with what it `needs`."""

    name: str
    version: str
    summary: str
    factory: Callable[[Any], Defense]
    options: type[BaseModel] = Options
    needs: frozenset[Knowledge] = frozenset({Knowledge.WEIGHTS, Knowledge.CLEAN_IMAGES})
    gives: frozenset[Output] = frozenset({Output.MODEL})
    paper: str | None = None
    role: Role = Role.RANKED
    """Never ranked if it needs the trigger's pixels: it is `Role.ORACLE` then, or is refused."""
    presets: PresetOptions = field(default_factory=dict)
    terms: Callable[[Any], tuple[frozenset[Knowledge], frozenset[Output]]] | None = None
    """What it needs and gives under given options, where they decide it; for the default options
    the same as `needs` and `gives`."""

    def under(self, options: Any) -> DefenseSpec:
        """Return the spec with what it needs and gives under `options`.

        Raises `TypeError` if `terms` returns anything but the two frozensets.
        """
        if self.terms is None:
            return self
        needs, gives = self.terms(options)
        for chosen, vocabulary in ((needs, Knowledge), (gives, Output)):
            if not isinstance(chosen, frozenset) or {*map(type, chosen)} - {vocabulary}:
                raise TypeError(f"terms must return a frozenset of {vocabulary.__name__}")
        return replace(self, needs=needs, gives=gives)


@dataclass(frozen=True)
class AttackSpec:
    """A grid of attack instances and the attack that turns each into a backdoored model.

    `instances(options, info)` answers at planning time, so it must not import torch.
    """

    name: str
    version: str
    summary: str
    instances: Callable[[Any, DatasetInfo], Sequence[AttackInstance]]
    factory: Callable[[Any], Attack]
    options: type[BaseModel] = Options
    paper: str | None = None
    presets: PresetOptions = field(default_factory=dict)
    plants_backdoor: bool = True
    """False for a control whose models hold none: nothing is ranked on them."""


@dataclass(frozen=True)
class MetricSpec:
    """A number from a scored trial. `reads` names the defense outputs without which it is empty."""

    name: str
    version: str
    summary: str
    factory: Callable[[Any], Metric]
    higher_is_better: bool
    options: type[BaseModel] = Options
    reads: frozenset[Output] = frozenset()
    paper: str | None = None


@dataclass(frozen=True)
class DatasetSpec:
    """A labelled image data set, split by its publisher into training and test images."""

    name: str
    version: str
    summary: str
    info: DatasetInfo
    factory: Callable[[Any], DatasetSource]
    options: type[BaseModel] = Options
    paper: str | None = None
    look: Callable[[Any, Path | None], DatasetInfo] | None = None
    """Says, from the options and the folder of `--data-dir`, what `info` is, where only the files
    know. It answers at planning time, so it must not import torch."""

    def under(self, options: Any, data_dir: Path | None) -> DatasetSpec:
        """Return the spec with what it holds under `options`, in `data_dir`."""
        return self if self.look is None else replace(self, info=self.look(options, data_dir))


@dataclass(frozen=True)
class ModelSpec:
    """An architecture; the harness trains it, attacks it and rebuilds it to score an artifact."""

    name: str
    version: str
    summary: str
    factory: Callable[[Any], ModelBuilder]
    options: type[BaseModel] = Options
    paper: str | None = None


Spec = DefenseSpec | AttackSpec | MetricSpec | DatasetSpec | ModelSpec
