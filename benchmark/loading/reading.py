"""Reading one plugin: register it alone, call each of its hooks, check what comes back.

Each plugin gets a plugin manager of its own. So an exception always has a plugin's name, a plugin
that pluggy leaves half-registered after a validation error is thrown away with its manager, and
no order of results has to be known.
"""

from __future__ import annotations

import difflib
import inspect
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pluggy

from benchmark import hookspecs
from benchmark.errors import UserError
from benchmark.hookspecs import PROJECT
from benchmark.loading.contract import check_spec, checked_specs
from benchmark.loading.faults import Fault, guarded
from benchmark.loading.importing import import_plugin
from benchmark.loading.origin import KINDS, OBSERVED, Kind, Observer, Origin, Registered

HOOKS = (*(hook for hook, _ in KINDS.values()), *OBSERVED)


@dataclass(frozen=True)
class Reading:
    """What one plugin offers, and the faults of what had to be left out."""

    offers: list[tuple[Kind, Registered[Any]]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    observers: list[Observer] = field(default_factory=list)


def read_plugin(origin: Origin) -> Reading:
    """Import one plugin and ask each of its hooks; no plugin's code can raise out of here."""
    reading = Reading()
    with guarded(origin, reading.faults):
        plugin, origin = import_plugin(origin)
        manager = _register(plugin)
        observers = _observers(manager, origin)
        reading.observers.extend(observers)
        for kind, impl in _implementations(manager, may_be_none=bool(observers)):
            part = _call(kind, impl, origin)
            reading.offers.extend(part.offers)
            reading.faults.extend(part.faults)
    return reading


def observer_of(plugin: object, origin: Origin) -> Observer:
    """Return the observer that an object with hooks is; raises `UserError` if it has none."""
    [observer] = _observers(_register(plugin), origin)
    return observer


def _observers(manager: pluggy.PluginManager, origin: Origin) -> list[Observer]:
    """Return the plugin's observer, if it implements any of the observers' hooks."""
    hooks = {name: getattr(manager.hook, name).get_hookimpls() for name in OBSERVED}
    calls = {
        name: (impls[0].function, tuple(impls[0].argnames))
        for name, impls in hooks.items()
        if impls
    }
    return [Observer(origin, calls)] if calls else []


def _register(plugin: object) -> pluggy.PluginManager:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    _check_marked(plugin)
    try:
        manager.register(plugin)
    except pluggy.PluginValidationError as error:
        text = str(error)  # its first line names the plugin, which the fault does already
        raise UserError(text.partition("hookimpl definition: ")[2] or text) from error
    for caller in manager.get_hookcallers(plugin) or []:
        required = [impl for impl in caller.get_hookimpls() if not impl.optionalhook]
        if required and not caller.has_spec():
            raise _misnamed(caller.name)
    return manager


def _check_marked(plugin: object) -> None:
    """Refuse functions that look like hooks and would be passed over in silence."""
    if not isinstance(plugin, ModuleType):
        return
    for name, value in vars(plugin).items():
        own = inspect.isfunction(value) and value.__module__ == plugin.__name__
        if not own or not name.startswith("bench_") or hasattr(value, f"{PROJECT}_impl"):
            continue
        if name in HOOKS:
            raise UserError(f"{name} is not marked as a hook", "put @hookimpl above it")
        raise _misnamed(name)


def _misnamed(name: str) -> UserError:
    near = difflib.get_close_matches(name, HOOKS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"hooks: {', '.join(HOOKS)}"
    return UserError(f"{name} is no hook of this harness", hint)


def _implementations(
    manager: pluggy.PluginManager, *, may_be_none: bool
) -> list[tuple[Kind, pluggy.HookImpl]]:
    found = [
        (kind, impl)
        for kind, (hook, _) in KINDS.items()
        for impl in getattr(manager.hook, hook).get_hookimpls()
    ]
    if not found and not may_be_none:
        raise UserError("it has no hooks", f"a plugin implements some of {', '.join(HOOKS)}")
    return found


def _call(kind: Kind, impl: pluggy.HookImpl, origin: Origin) -> Reading:
    """Call one hook of one plugin; what is wrong with it leaves the plugin's other hooks alone."""
    hook, expected = KINDS[kind]
    line = getattr(getattr(impl.function, "__code__", None), "co_firstlineno", 0)
    reading = Reading()
    with guarded(origin, reading.faults):
        for spec in checked_specs(hook, expected, impl.function()):
            with guarded(origin, reading.faults):
                check_spec(hook, expected, spec)
                reading.offers.append((kind, Registered(spec, origin, line)))
    return reading
