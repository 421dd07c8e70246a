"""The command line and the options of `--set`, told by the program itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

from pydantic import BaseModel
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.loading.importing import BUILTIN
from benchmark.loading.reading import read_plugin
from benchmark.recipe import BaseRecipe, FineTune
from benchmark.settings import RunOptions, SplitOptions

SHARED: dict[str, tuple[str, type[BaseModel]]] = {
    "run": ("how jobs are run", RunOptions),
    "split": ("how the test images are divided", SplitOptions),
    "base": ("training of the clean model", BaseRecipe),
    "retrain": ("the retraining of every defense that retrains", FineTune),
}


def commands_page() -> str:
    """Return a page with the help of every command, at 80 columns."""
    names = [command.name for command in app.registered_commands]
    parts = ["# The command line", "What `--help` says, printed when this page was built."]
    parts += [_block("bench --help", _help())]
    for name in names:
        parts += [f"## bench {name}", _block(f"bench {name} --help", _help(str(name)))]
    return "\n\n".join(parts) + "\n"


def _help(*words: str) -> str:
    # Named so, it says `bench`; in a pipe of 80 columns it has no colours.
    with mock.patch.dict(os.environ, {"COLUMNS": "80", "TERMINAL_WIDTH": "80", "NO_COLOR": "1"}):
        done = CliRunner().invoke(app, [*words, "--help"], prog_name="bench")
    if done.exit_code:
        raise RuntimeError(f"bench {' '.join(words)} --help: {done.output}")
    return done.output.strip("\n")


def _block(command: str, text: str) -> str:
    return f"```text\n$ {command}\n{text}\n```"


def options_page() -> str:
    """Return a page with every option that `--set` knows of what is built in."""
    parts = [
        "# Options",
        "Every option has one key, for `--set KEY=VALUE`. Presets change some defaults "
        "(`bench presets`); the options of other plugins are shown by `bench plugins --json`.",
    ]
    for namespace, (about, model) in SHARED.items():
        parts += [f"## `{namespace}.`: {about}", _table(namespace, model)]
    for kind, offer in sorted(read_plugin(BUILTIN).offers, key=lambda pair: pair[0]):
        spec: Any = offer.spec
        namespace = spec.name if kind == "defense" else kind
        table = _table(namespace, spec.options)
        if table and kind != "metric":
            parts += [f"## {_words(kind)} `{spec.name}`", spec.summary, table]
    return "\n\n".join(parts) + "\n"


def _words(kind: str) -> str:
    return {"dataset": "data set"}.get(kind, kind).capitalize()


def _table(namespace: str, model: type[BaseModel]) -> str:
    rows = [
        f"| `{namespace}.{key}` | {_default(default)} | {_cell(about)} |"
        for key, default, about in _rows(model)
    ]
    head = ["| key | default | what it is |", "| --- | --- | --- |"]
    return "\n".join(head + rows) if rows else ""


def _rows(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, Any, str]]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _rows(inner, f"{path}{name}.")
        else:
            yield f"{path}{name}", field.default, field.description or ""


def _default(value: Any) -> str:
    return (
        ""
        if value is None
        else f"`{str(value).lower() if value is True or value is False else value}`"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
