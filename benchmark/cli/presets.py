"""`bench presets`: what each preset runs and how it differs from the paper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from benchmark.plugins import Plugins


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("presets")(presets)


def presets() -> None:
    """List the presets: data, model, attacks, and how each differs from the paper."""
    from rich.console import Console
    from rich.markup import escape

    from benchmark.plugins import load_plugins
    from benchmark.preset import load_preset, preset_names

    console = Console()
    plugins = load_plugins()
    for name in preset_names():
        preset = load_preset(name)
        default = " (default)" if name == "quick" else ""
        console.print(f"[bold]{escape(name)}[/]{default}: {escape(preset.summary)}")
        grids = ", ".join(preset.attacks)
        console.print(f"  data {preset.dataset}, model {preset.model}, attacks {grids}")
        for key, value in preset.settings.items():
            console.print(f"  {escape(f'{key} = {value}')}", highlight=False)
        for line in _of_plugins(plugins, name):
            console.print(f"  {escape(line)}", highlight=False)
        differs = preset.differences or "none"
        console.print(f"  differences from the paper: {escape(differs)}")


def _of_plugins(plugins: Plugins, preset: str) -> Iterator[str]:
    """Yield what installed plugins replace of their own defaults in a preset."""
    from benchmark.loading.faults import blamed
    from benchmark.report.escape import printable

    for kind, offer in plugins.offers():
        spec = offer.spec
        with blamed(offer.origin):  # which sends what is printed elsewhere: no yield in it
            layer = getattr(spec, "presets", {}).get(preset, {})
            pairs = [f"{key} = {value}" for key, value in layer.items()]
        head, whose = (spec.name, "") if kind == "defense" else (kind, f" (of {spec.name})")
        yield from (printable(f"{head}.{pair}{whose}") for pair in pairs)
