"""The rules that need no torch, checked in a process that has not imported it."""

from __future__ import annotations

import builtins
import copy
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from benchmark.errors import UserError
from benchmark.kit.findings import Book, Rule
from benchmark.kit.places import current_line, definition, line_of_error
from benchmark.loading.importing import hint_beside
from benchmark.preset import preset_names
from benchmark.settings import alternatives, is_group, make_options
from benchmark.specs import DefenseSpec, Spec

_UNKNOWN = "an_option_that_nobody_has"


@contextmanager
def watching_torch(root: Path, seen: list[str]) -> Iterator[None]:
    """Add to `seen` the plugin's line from which the block imports torch, if it does."""
    real = builtins.__import__

    def watch(name: str, *rest: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "torch" and "torch" not in sys.modules and not seen:
            seen.append(current_line(root))
        return real(name, *rest, **named)

    before = "torch" in sys.modules
    builtins.__import__ = watch
    try:
        yield
    finally:
        builtins.__import__ = real
        if "torch" in sys.modules and not before and not seen:
            seen.append("")


def judge_import(seen: list[str], book: Book) -> None:
    """Note whether importing the plugin imported torch."""
    book.reached(Rule.IMPORT)
    if seen:
        book.fail(
            Rule.IMPORT,
            "importing the plugin imports torch, so `bench --help` and every plan wait for it",
            where=seen[0],
            mend="import torch, and benchmark.primitives, inside the functions that compute; or "
            'move the class to a module of its own and say factory=lazy("module:Class")',
        )


def judge_options(spec: Spec, book: Book) -> None:
    """Note whether the options keep their rule."""
    book.reached(Rule.OPTIONS)
    model, where = spec.options, definition(spec.options)

    def fail(what: str, mend: str) -> None:
        book.fail(Rule.OPTIONS, what, where=where, mend=mend)

    try:
        options = model()
    except ValidationError as error:
        fail(f"the options have no full set of defaults: {_first(error)}", "give each a default")
        return
    values = options.model_dump()
    try:
        model.model_validate(values)
    except ValidationError as error:
        fail(f"a default breaks its own limits: {_first(error)}", "change the default or the limit")
    for path in _groups(options):
        if _accepts(model, values, path):
            name = ".".join((*path, "an_option")) if path else "any unknown key"
            fail(
                f"{name} is taken in silence, so a misspelt --set would change nothing",
                "derive every options class from benchmark.api.Options, which refuses it",
            )
    for name in _optional_groups(model):
        fail(
            f"the group {name} may be something else, so no preset and no --set reaches its keys",
            "name the group's class alone, and switch it off with an option beside it",
        )
    _judge_json(model, options, fail)
    for preset, layer in getattr(spec, "presets", {}).items():
        if preset not in preset_names():
            known = ", ".join(preset_names())
            fail(f"presets names {preset!r}, which is no preset", f"known: {known}")
            continue
        try:
            make_options(model, spec.name, [layer])
        except UserError as error:
            fail(f"preset {preset!r}: {error}", "presets map an option's key to a valid value")


def _judge_json(model: type[BaseModel], options: BaseModel, fail: Any) -> None:
    try:
        text = json.dumps(options.model_dump(mode="json"), allow_nan=False)
        again = model.model_validate(json.loads(text))
    except (ValueError, TypeError) as error:  # pydantic's errors are ValueErrors
        said = _first(error) if isinstance(error, ValidationError) else str(error)
        fail(f"the options cannot travel as JSON: {said}", "use types that JSON has")
        return
    if again != options:
        fail(
            f"the options change on their way through JSON: {options!r} became {again!r}",
            "use types that come back as they went, such as tuple[float, ...] and not a set",
        )


def judge_terms(spec: DefenseSpec, book: Book) -> None:
    """Note whether what a defense needs and gives by default is what its spec says."""
    mend = "terms(options) returns frozensets (needs, gives); the spec names those of the defaults"
    try:
        default = spec.under(spec.options())
    except Exception as error:
        said = f"terms() raised {type(error).__name__}: {error}"
        book.fail(Rule.CONTRACT, said, where=definition(spec.terms), mend=mend)
        return
    if (default.needs, default.gives) != (spec.needs, spec.gives):
        said = "terms() of the default options is not what the spec's needs and gives say"
        book.fail(Rule.CONTRACT, said, where=definition(spec.terms), mend=mend)


def judge_factory(spec: Spec, options: BaseModel, method: str, root: Path, book: Book) -> Any:
    """Return what the factory makes, or None after noting that it makes nothing useful."""
    where = definition(spec.factory)
    book.reached(Rule.CONTRACT)
    try:
        made = spec.factory(options)
    except Exception as error:
        book.fail(
            Rule.CONTRACT,
            f"the factory raised {type(error).__name__}: {error}",
            where=line_of_error(error, root) or where,
            mend=(hint_beside(error, str(root)) if root.is_file() else "")
            or "factory takes the options and returns the object; "
            'lazy("module:Class") needs a module that can be imported and a class in it',
        )
        return None
    if not callable(getattr(made, method, None)):
        book.fail(
            Rule.CONTRACT,
            f"the factory made a {type(made).__name__}, which has no method {method}()",
            where=where,
            mend=f"give it a method {method}() with the arguments of benchmark.contracts",
        )
        return None
    return made


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    return f"{key}: {first['msg']}" if key else first["msg"]


def _groups(options: BaseModel, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every options model inside `options`, itself first."""
    yield path
    for name in type(options).model_fields:
        value = getattr(options, name)
        if isinstance(value, BaseModel):
            yield from _groups(value, (*path, name))


def _optional_groups(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the key of every group of options that something else may stand in for."""
    for name, info in model.model_fields.items():
        if is_group(info.annotation):
            yield from _optional_groups(info.annotation, f"{prefix}{name}.")
        elif any(map(is_group, alternatives(info.annotation))):
            yield prefix + name


def _accepts(model: type[BaseModel], values: dict[str, Any], path: tuple[str, ...]) -> bool:
    """Say whether an unknown key at `path` is taken."""
    tree = copy.deepcopy(values)
    group = tree
    for name in path:
        group = group[name]
    group[_UNKNOWN] = 1
    try:
        model.model_validate(tree)
    except ValidationError as error:
        return all(_UNKNOWN not in one["loc"] for one in error.errors())
    return True
