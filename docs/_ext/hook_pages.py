"""The hooks, and what goes in and out of them, told by their signatures and docstrings."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from benchmark import contracts, events, hookspecs, specs, types
from benchmark.loading.origin import KINDS, OBSERVED

GROUPS: tuple[tuple[str, str, tuple[type, ...]], ...] = (
    (
        "Specs",
        "What the hooks above return: light descriptions, without torch.",
        (
            specs.DefenseSpec,
            specs.AttackSpec,
            specs.MetricSpec,
            specs.DatasetSpec,
            specs.ModelSpec,
        ),
    ),
    (
        "What a spec's factory makes",
        "The harness makes these once for each job, in the job's own process.",
        (
            contracts.Defense,
            contracts.Attack,
            contracts.Metric,
            contracts.DatasetSource,
            contracts.ModelBuilder,
        ),
    ),
    (
        "What is handed over",
        "Images are uint8 in memory; a classifier takes floats in [0, 1] and normalises itself.",
        (
            contracts.View,
            contracts.Outcome,
            contracts.Evidence,
            contracts.ImageSet,
            contracts.LoadedDataset,
            types.AttackInstance,
            types.Trigger,
            types.ModelFile,
            types.DatasetInfo,
        ),
    ),
    (
        "What observers are told",
        "Plain data; nothing that an observer does with it changes the run.",
        (events.RunEvent, events.TrialEvent, events.TrialResult, events.RunResult),
    ),
)


def hooks_page() -> str:
    """Return the page."""
    parts = [
        "# Hooks",
        "A plugin is a module with functions that are marked with `@hookimpl` from "
        "`benchmark.api`, or an object with such methods. It implements the hooks that it wants, "
        "and of a hook's arguments takes those that it wants.",
        "## Hooks that offer something",
        *(_hook(name) for name, _ in KINDS.values()),
        "## Hooks that observe",
        "They are called in the process that drives the run. What they raise is said once on "
        "standard error and costs no trial; what takes long in them delays the run.",
        *(_hook(name) for name in OBSERVED),
    ]
    for title, about, members in GROUPS:
        parts += [f"## {title}", about, *map(_class, members)]
    return "\n\n".join(parts) + "\n"


def _hook(name: str) -> str:
    function = getattr(hookspecs, name)
    return f"### {name}\n\n```python\n{name}{_signature(function)}\n```\n\n{_text(function)}"


def _signature(function: Any, *, method: bool = False) -> str:
    found = inspect.signature(function)
    kept = [p for p in found.parameters.values() if not (method and p.name == "self")]
    return str(found.replace(parameters=kept)).replace("'", "")


def _text(thing: Any) -> str:
    return inspect.cleandoc(thing.__doc__ or "")


def _class(kind: type) -> str:
    parts = [f"### {kind.__name__}", _text(kind)]
    rows = list(_fields(kind)) if is_dataclass(kind) else []
    if rows:
        parts += ["\n".join(["| field | type | what it is |", "| --- | --- | --- |", *rows])]
    parts += [_method(name, member) for name, member in _methods(kind)]
    return "\n\n".join(parts)


def _methods(kind: type) -> Iterator[tuple[str, Any]]:
    for name, member in vars(kind).items():
        if inspect.isfunction(member) and not name.startswith("_"):
            yield name, member


def _method(name: str, member: Any) -> str:
    return (
        f"`{name}{_signature(member, method=True)}`\n: "
        + textwrap.indent(_text(member), "  ").lstrip()
    )


def _fields(kind: type) -> Iterator[str]:
    about = _attribute_docs(kind)
    for field in fields(kind):  # type: ignore[arg-type]
        if field.repr:
            text = " ".join(about.get(field.name, "").split())
            yield f"| `{field.name}` | `{_cell(str(field.type))}` | {_cell(text)} |"


def _attribute_docs(kind: type) -> dict[str, str]:
    """Return the string below each field of a class, which Python itself does not keep."""
    [tree] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for one, below in zip(tree.body, tree.body[1:], strict=False):
        is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and is_text:
            found[one.target.id] = str(below.value.value)
    return found


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
