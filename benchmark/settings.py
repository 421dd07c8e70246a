"""Options from text: `--set key=value`, presets, and what a plugin changes in a preset.

Every option has one dotted key, `namespace.option`. Namespaces: `run`, `split`, `base`, `dataset`,
`model`, `attack`, `retrain` (the retraining of every defense that retrains) and the name of each
defense.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo

from benchmark.errors import UserError
from benchmark.specs import Options

Layer = Mapping[str, Any]
"""Dotted option keys without the namespace → values."""

M = TypeVar("M", bound=BaseModel)


class SplitOptions(Options):
    """How the test images are divided (supplement, C)."""

    defense_fraction: float = Field(
        0.8, gt=0, lt=1, description="part of the test images given to the defense"
    )


class RunOptions(Options):
    """How jobs are run; none of these decides a number but the threads' rounding."""

    threads: int = Field(1, ge=1, description="CPU threads of one attack or defense")
    memory_mib: int | None = Field(
        None, ge=64, description="memory limit of a defense; default: its share of this machine"
    )
    disk_mib: int = Field(
        4096, ge=16, description="limit on the files that a defense writes, its models included"
    )
    seal: bool = Field(
        True, description="close plugins off from files and servers, where the system can"
    )
    readable: tuple[str, ...] = Field(
        (), description="more files and folders that plugins may read, such as weights of others"
    )
    min_asr: float = Field(
        0.9, ge=0, le=1, description="an attack below this ASR did not take and is not defended"
    )

    @field_validator("readable")
    @classmethod
    def _exists(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(_found(path)) for path in paths)


def _found(path: str) -> Path:
    try:
        whole = Path(path).expanduser().absolute()
        is_there = whole.exists()
    except RuntimeError as error:  # of `~somebody`, whom this machine does not know
        raise ValueError(f"{path} is not there: there is no such home folder") from error
    except OSError as error:
        raise ValueError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    if not is_there:
        raise ValueError(f"{whole} is not there")
    return whole


def parse_sets(texts: Iterable[str]) -> dict[str, str]:
    """Return `key=value` texts as a mapping; raises `UserError` for one that is no such text."""
    sets = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or "." not in key:
            raise UserError(f"--set {text!r} is not of the form namespace.option=value")
        sets[key.strip()] = value.strip()
    return sets


def layer(sets: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """Return the entries of `sets` below `namespace`, without it."""
    prefix = namespace + "."
    return {key[len(prefix) :]: value for key, value in sets.items() if key.startswith(prefix)}


def check_namespaces(sets: Mapping[str, Any], known: Iterable[str], where: str = "--set") -> None:
    """Raise `UserError` for a key whose namespace does not exist in this run.

    `where` the keys were given.
    """
    names = sorted(set(known))
    for key in sets:
        namespace = key.partition(".")[0]
        if namespace not in names:
            near = difflib.get_close_matches(namespace, names, n=2, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
            raise UserError(f"{where} {key}: nothing in this run is called {namespace!r}", hint)


def make_options(model: type[M], namespace: str, layers: Sequence[Layer]) -> M:
    """Return validated options: the defaults, each of `layers` on top of the one before.

    Raises `UserError` that names the key and says what is allowed.
    """
    merged = _group_defaults(model)
    keys = option_keys(model)
    for values in layers:
        for key, value in values.items():
            if key not in keys:
                raise _unknown_key(f"{namespace}.{key}", [f"{namespace}.{name}" for name in keys])
            _put(merged, key.split("."), _split(keys[key], value))
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        raise UserError(_explain(namespace, error)) from error


def _group_defaults(model: type[BaseModel]) -> dict[str, Any]:
    """Return what a model's own defaults for its groups change in the groups' defaults.

    A group of which a layer sets one key is made anew, and must not lose the others.
    """
    groups = {name: _own_default(info) for name, info in model.model_fields.items()}
    return {
        name: group.model_dump(exclude_defaults=True)
        for name, group in groups.items()
        if isinstance(group, BaseModel)
    }


def _own_default(info: FieldInfo) -> Any:
    """Return a field's default; None where it depends on other fields."""
    takes_others = getattr(info, "default_factory_takes_validated_data", False)
    return None if takes_others else info.get_default(call_default_factory=True)


def option_keys(model: type[BaseModel]) -> dict[str, Any]:
    """Return every dotted key of an options model with its type; groups are opened."""
    keys: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            keys |= {f"{name}.{key}": kind for key, kind in option_keys(inner).items()}
        else:
            keys[name] = inner
    return keys


def _split(kind: Any, value: Any) -> Any:
    """Read `0.9,0.8` as a list where a tuple is wanted."""
    if isinstance(value, str) and typing.get_origin(kind) in (tuple, list):
        return [part.strip() for part in value.split(",")]
    return value


def _put(tree: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def _unknown_key(key: str, known: Sequence[str]) -> UserError:
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known) or 'none'}"
    return UserError(f"unknown option {key!r}", hint)


def _explain(namespace: str, error: ValidationError) -> str:
    """Return the first complaint as one line: key, value, what is wrong."""
    first = error.errors(include_url=False)[0]
    key = ".".join([namespace, *(str(part) for part in first["loc"])])
    message = first["msg"].removeprefix("Value error, ")
    given = first["input"]
    shown = "" if isinstance(given, dict) else f" = {given!r}"
    return f"{key}{shown}: {message[0].lower()}{message[1:]}"
