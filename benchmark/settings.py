"""Options from text: `--set key=value`, presets, and what a plugin changes in a preset.

Every option has one dotted key, `namespace.option`. Namespaces: `run`, `split`, `base`, `dataset`,
`model`, `attack`, `retrain` (the retraining of every defense that retrains) and the name of each
defense.
"""

from __future__ import annotations

import contextlib
import difflib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard, TypeVar, Union

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import from_json

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
    keep_models: bool = Field(
        False, description="keep the weights of repaired models in the results folder"
    )
    min_asr: float = Field(
        0.9, ge=0, le=1, description="an attack below this ASR did not take and is not defended"
    )

    @field_validator("readable")
    @classmethod
    def _exists(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(_found(path)) for path in paths)


def _found(path: str) -> Path:
    if not path:
        raise ValueError("a path is empty")  # it would be the folder that one happens to be in
    shown = path.encode("utf-8", "backslashreplace").decode()  # pydantic takes UTF-8 alone
    try:
        whole = Path(path).expanduser().absolute()
        is_there = whole.exists()
    except RuntimeError as error:  # of `~somebody`, whom this machine does not know
        raise ValueError(f"{shown} is not there: there is no such home folder") from error
    except OSError as error:
        raise ValueError(f"{shown}: {(error.strerror or str(error)).lower()}") from error
    if not is_there:
        raise ValueError(f"{shown} is not there")
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


def as_text(value: Any) -> str:
    """Return an option's value as it is written after `--set`."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return ",".join(map(as_text, value)) if isinstance(value, (list, tuple)) else str(value)


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
            _put(merged, key.split("."), _read(keys[key], value))
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        raise UserError(_explain(namespace, error)) from error


def _group_defaults(model: type[BaseModel]) -> dict[str, Any]:
    """Return what a model's own defaults for its groups change in the groups' defaults.

    A group of which a layer sets one key is made anew, and must not lose the others. It is made of
    the class that the field names, so that is whose defaults count, also where the field's own
    default is of a class derived from it.
    """
    fields = {
        name: (info.annotation, _own_default(info)) for name, info in model.model_fields.items()
    }
    return {
        name: TypeAdapter(kind).dump_python(default, exclude_defaults=True)
        for name, (kind, default) in fields.items()
        if is_group(kind) and isinstance(default, BaseModel)
    }


def _own_default(info: FieldInfo) -> Any:
    """Return a field's default; None where it depends on other fields."""
    takes_others = getattr(info, "default_factory_takes_validated_data", False)
    return None if takes_others else info.get_default(call_default_factory=True)


def is_group(kind: Any) -> TypeGuard[type[BaseModel]]:
    """Say whether a field of this type is a group of options, each of which has a key."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def alternatives(kind: Any) -> tuple[Any, ...]:
    """Return the types of which a field of type `kind` may be: those of a union, or itself."""
    origin = typing.get_origin(kind)
    return typing.get_args(kind) if origin in (Union, types.UnionType) else (kind,)


def option_keys(model: type[BaseModel]) -> dict[str, Any]:
    """Return every dotted key of an options model with its type; groups are opened."""
    keys: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        inner = info.annotation
        if is_group(inner):
            keys |= {f"{name}.{key}": kind for key, kind in option_keys(inner).items()}
        else:
            keys[name] = inner
    return keys


def _read(kind: Any, value: Any) -> Any:
    """Return the first reading of a text that a field of type `kind` takes; other values as given.

    A text of which no reading is taken is left to the model, whose complaint says what is wrong.
    """
    if not isinstance(value, str):
        return value
    otherwise = _parts(value) if _holds_parts(kind) else value
    return next((reading for reading in _readings(value) if _takes(kind, reading)), otherwise)


def _readings(text: str) -> Iterator[Any]:
    """Yield what a text can stand for: itself, `0.9,0.8` for a list, `none`, or a JSON value."""
    yield text
    yield _parts(text)
    if text.lower() == "none":
        yield None
    with contextlib.suppress(ValueError, TypeError):  # the latter of bytes that are no UTF-8
        yield from_json(text)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _takes(kind: Any, value: Any) -> bool:
    try:
        TypeAdapter(kind).validate_python(value)
    except Exception:  # a type's own validator may be given what it does not expect
        return False
    return True


_LISTS: tuple[Any, ...] = (tuple, list, set, frozenset, Sequence)


def _holds_parts(kind: Any) -> bool:
    """Say whether a type, or one of several that are allowed, is a list of some sort."""
    return any(typing.get_origin(one) in _LISTS for one in alternatives(kind))


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
    message = first["msg"].removeprefix("Value error, ") or "it is refused, for no stated reason"
    given = first["input"]
    shown = "" if isinstance(given, dict) else f" = {given!r}"
    return f"{key}{shown}: {message[0].lower()}{message[1:]}"
