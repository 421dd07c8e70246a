"""`bench presets`: what each preset runs and how it differs from the paper."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("presets")(presets)


def presets() -> None:
    """List the presets: data, model, attacks, and how each differs from the paper."""
    from rich.console import Console
    from rich.markup import escape

    from benchmark.preset import load_preset, preset_names

    console = Console()
    for name in preset_names():
        preset = load_preset(name)
        default = " (default)" if name == "quick" else ""
        console.print(f"[bold]{escape(name)}[/]{default}: {escape(preset.summary)}")
        grids = ", ".join(preset.attacks)
        console.print(f"  data {preset.dataset}, model {preset.model}, attacks {grids}")
        for key, value in preset.settings.items():
            console.print(f"  {escape(f'{key} = {value}')}", highlight=False)
        differs = preset.differences or "none"
        console.print(f"  differences from the paper: {escape(differs)}")
