"""What a plugin must keep to: checked at loading, because a wrong spec would fail hours later."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from pydantic import BaseModel

from benchmark.errors import UserError
from benchmark.specs import AttackSpec, DatasetSpec, DefenseSpec, MetricSpec, Spec
from benchmark.types import DatasetInfo, Knowledge, Output, Role

RESERVED = frozenset({"run", "data", "dataset", "model", "base", "attack", "split", "retrain"})
"""Heads of `--set head.key=value` that mean the run itself, so no component may be called so."""

_NAME = re.compile(r"[a-z][a-z0-9_-]*")


def checked_specs(hook: str, expected: type[Any], returned: object) -> list[object]:
    """Return what `hook` returned as a list, or raise `UserError` if it is none."""
    if isinstance(returned, (list, tuple)):
        return list(returned)
    what = "None" if returned is None else f"a {type(returned).__name__}"
    raise UserError(f"{hook} returned {what}, not a list of {expected.__name__}")


def check_spec(hook: str, expected: type[Any], spec: object) -> None:
    """Raise `UserError`, naming the hook and the component, if `spec` breaks the contract."""
    if not isinstance(spec, expected):
        what = f"the class {spec.__name__}" if isinstance(spec, type) else type(spec).__name__
        raise UserError(f"{hook} returned {what} where {expected.__name__} was expected")
    reason = _first_fault(spec)
    if reason:
        raise UserError(f"{hook} returned {expected.__name__} {spec.name!r}: {reason}")


def name_fault(expected: type[Any], name: object) -> str:
    """Return what is wrong with the name of such a component; empty if nothing is."""
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        return "name must match [a-z][a-z0-9_-]*"
    if issubclass(expected, (DefenseSpec, AttackSpec)) and name in RESERVED:
        return f"this name is reserved; so are {', '.join(sorted(RESERVED))}"
    return ""


def _first_fault(spec: Spec) -> str:
    return next((text for broken, text in _checks(spec) if broken), "")


def _checks(spec: Spec) -> Iterable[tuple[bool, str]]:
    """Yield (broken, what is wrong); later checks may rely on the earlier ones."""
    fault = name_fault(type(spec), spec.name)
    yield bool(fault), fault
    yield not _text(spec.version), "version must be a text such as '1.0'"
    yield not _text(spec.summary), "summary must be a text"
    yield spec.paper is not None and not _text(spec.paper), "paper must be a text or None"
    yield not callable(spec.factory), "factory must be callable"
    yield not _options(spec.options), "options must be a class derived from benchmark.api.Options"
    yield from _own_checks(spec)


def _own_checks(spec: Spec) -> Iterable[tuple[bool, str]]:
    if isinstance(spec, (DefenseSpec, AttackSpec)):
        yield not _presets(spec.presets), "presets must map preset names to options"
    if isinstance(spec, DefenseSpec):
        yield not _members(spec.needs, Knowledge), "needs must be a frozenset of Knowledge"
        yield not _members(spec.gives, Output), "gives must be a frozenset of Output"
        yield not isinstance(spec.role, Role), "role must be a Role"
        yield _knows_too_much(spec), "role must be Role.ORACLE, since it needs the trigger's pixels"
        yield not (spec.terms is None or callable(spec.terms)), "terms must be callable or None"
    if isinstance(spec, AttackSpec):
        yield not callable(spec.instances), "instances must be callable"
    if isinstance(spec, MetricSpec):
        yield not isinstance(spec.higher_is_better, bool), "higher_is_better must be True or False"
        yield not _members(spec.reads, Output), "reads must be a frozenset of Output"
    if isinstance(spec, DatasetSpec):
        yield not isinstance(spec.info, DatasetInfo), "info must be a DatasetInfo"
        yield not (spec.look is None or callable(spec.look)), "look must be callable or None"


def _knows_too_much(spec: DefenseSpec) -> bool:
    """Say whether it would be ranked among those that have to find the trigger."""
    return Knowledge.TRIGGER_PIXELS in spec.needs and spec.role != Role.ORACLE


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _options(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _members(value: object, kind: type[Enum]) -> bool:
    return isinstance(value, frozenset) and all(isinstance(item, kind) for item in value)


def _presets(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(v, Mapping) for v in value.values())
