"""A request and what it comes to: components found, options made. No torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from benchmark.errors import UserError
from benchmark.jobs import Component
from benchmark.loading.faults import blamed
from benchmark.loading.origin import Kind, Registered
from benchmark.plugins import Plugins
from benchmark.preset import Preset, load_preset
from benchmark.recipe import BaseRecipe
from benchmark.settings import (
    Layer,
    RunOptions,
    SplitOptions,
    as_text,
    check_namespaces,
    layer,
    make_options,
    option_keys,
)
from benchmark.specs import (
    AttackSpec,
    DatasetSpec,
    DefenseSpec,
    ModelSpec,
    choosing_options,
    deciding_options,
)

FLOOR = "none"
CONTROL = "clean"
IMPORTED = "imported"
TITLE = "title"
SHARED = ("run", "split", "base", "dataset", "model", "attack", "retrain")


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line; None means: as the preset says."""

    preset: str = "quick"
    defenses: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()
    attack_files: tuple[Path, ...] = ()
    """Descriptions of backdoored models that were trained elsewhere."""
    dataset: str | None = None
    model: str | None = None
    seeds: int | None = None
    first_seed: int = 0
    sets: Mapping[str, Any] = field(default_factory=dict)
    data_dir: Path | None = None
    clean_models: bool = False
    """Also run every defense on models that were never attacked."""


@dataclass(frozen=True)
class Chosen:
    """A component with its options made."""

    kind: Kind
    found: Registered[Any]
    options: BaseModel
    by_hand: Mapping[str, Any] = field(default_factory=dict)
    """The options of this component that the command set, or a preset file of somebody's own; those
    of all retraining among them."""

    @property
    def spec(self) -> Any:
        """The component's spec."""
        return self.found.spec

    def component(self) -> Component:
        """Return it as it travels to a worker."""
        return self._component

    @cached_property
    def deciding(self) -> Mapping[str, Any]:
        """What of it decides numbers."""
        part = {
            "name": self.spec.name,
            "version": self.spec.version,
            "options": deciding_options(self.options),
        }
        origin = self.found.origin
        if origin.kind == "file":
            # Somebody who edits one file does not think of raising its version.
            part["file"] = origin.digest
        return part

    @cached_property
    def _component(self) -> Component:
        # A plan of ten thousand trials asks for the same few components over and over.
        return Component(
            kind=self.kind,
            name=self.spec.name,
            version=self.spec.version,
            origin=self.found.origin.to_json(),
            options=self.options.model_dump(mode="json"),
        )


@dataclass(frozen=True)
class Config:
    """A request, resolved and validated."""

    request: Request
    preset: Preset
    dataset: Chosen
    model: Chosen
    attacks: tuple[Chosen, ...]
    defenses: tuple[Chosen, ...]
    metrics: tuple[Chosen, ...]
    recipe: BaseRecipe
    split: SplitOptions
    run: RunOptions

    @property
    def seeds(self) -> int:
        """How many independent victims each attack has."""
        return self.request.seeds or self.preset.seeds

    @property
    def setting(self) -> str:
        """The preset and what was set by hand before any defense: heads a leaderboard."""
        shared = {
            key: value
            for key, value in self.request.sets.items()
            if key.partition(".")[0] in SHARED and not key.startswith(("run.", "retrain."))
        }
        data_dir = self.request.data_dir
        if data_dir and self.dataset.spec.look and TITLE in option_keys(self.dataset.spec.options):
            # What is called `files` is a user's own, and two of them must not look the same.
            shared = {f"dataset.{TITLE}": data_dir.absolute().stem, **shared}
        return ", ".join([self.preset.name, *(f"{key}={value}" for key, value in shared.items())])


def resolve(request: Request, plugins: Plugins) -> Config:
    """Find every component that the request names and make its options.

    Raises `UserError` with the nearest known name or the allowed values.
    """
    plugins.require_sound()
    preset = load_preset(request.preset)
    maker = _Maker(request, preset, plugins)
    defenses = _defense_names(request, preset, plugins)
    check_namespaces(request.sets, [*SHARED, *defenses])
    check_namespaces(preset.own, [*SHARED, *plugins.defenses], f"{request.preset}: settings:")
    chosen = tuple(maker.defense(name) for name in defenses)
    maker.check_retrain(chosen)
    return Config(
        request=request,
        preset=preset,
        dataset=maker.component("dataset", _asked(request.dataset, preset.dataset)),
        model=maker.component("model", _asked(request.model, preset.model)),
        attacks=tuple(maker.attacks()),
        defenses=chosen,
        metrics=tuple(maker.plain("metric", name) for name in plugins.metrics),
        recipe=maker.shared(BaseRecipe, "base"),
        split=maker.shared(SplitOptions, "split"),
        run=maker.shared(RunOptions, "run"),
    )


def _asked(asked: str | None, otherwise: str) -> str:
    """Return what was asked for, an empty name too: that is an error, and not the default."""
    return otherwise if asked is None else asked


def _defense_names(request: Request, preset: Preset, plugins: Plugins) -> list[str]:
    """Return the defenses asked for (or all installed) and the preset's controls that exist.

    The floor is always there. A control that is not installed is left out silently only if
    nobody asked for it.
    """
    asked = list(request.defenses or preset.defenses) or list(plugins.defenses)
    controls = [name for name in preset.controls if name in plugins.defenses]
    return list(dict.fromkeys([*asked, *controls, FLOOR]))


def _options(found: Registered[Any], namespace: str, layers: Sequence[Layer]) -> BaseModel:
    """Return a component's options; validating them runs code of its plugin."""
    with blamed(found.origin):
        made: BaseModel = make_options(found.spec.options, namespace, layers)
    return made


def _settings_for(
    kind: Kind,
    spec: DatasetSpec | ModelSpec | AttackSpec,
    preset: Preset,
    settings: Mapping[str, Any],
) -> Layer:
    """Return what of a preset's `settings` holds for a component: all, if it is the preset's own.

    Another attack takes over how to poison, if it has such options, but not which triggers.
    """
    given = layer(settings, kind)
    if spec.name in (preset.dataset, preset.model, *preset.attacks):
        return given
    kept = option_keys(spec.options).keys() - choosing_options(spec.options)
    return {key: given[key] for key in given if kind == "attack" and key in kept}


@dataclass(frozen=True)
class _Maker:
    request: Request
    preset: Preset
    plugins: Plugins

    def plain(self, kind: Kind, name: str) -> Chosen:
        """Return a component with its default options."""
        found = self.plugins.get(kind, name)
        return Chosen(kind, found, _options(found, name, []))

    def component(self, kind: Kind, name: str) -> Chosen:
        """Return a data set, model or attack: one namespace a kind."""
        found = self.plugins.get(kind, name)
        spec: DatasetSpec | ModelSpec | AttackSpec = found.spec
        layers = [
            *self._plugin_layers(spec),
            self._preset_layer(kind, spec),
            layer(self.request.sets, kind),
        ]
        options = _options(found, kind, layers)
        if isinstance(spec, DatasetSpec):
            with blamed(found.origin):
                found = replace(found, spec=spec.under(options, self.request.data_dir))
        return Chosen(kind, found, options)

    def attacks(self) -> Iterator[Chosen]:
        """Return the grids asked for, and the control without an attack if that was asked for."""
        files = tuple(map(str, self.request.attack_files))
        otherwise = () if files else self.preset.attacks
        asked = list(dict.fromkeys(self.request.attacks or otherwise))
        for name in asked:
            yield self.component("attack", name)
        if files:
            if not asked:
                self._refuse_attack_sets()
            found = self.plugins.get("attack", IMPORTED)
            yield Chosen("attack", found, _options(found, "attack", [{"files": files}]))
        if self.request.clean_models and CONTROL not in asked:
            found = self.plugins.get("attack", CONTROL)
            # How the others poison is nothing to it; the class that defenses are told is.
            given = layer({**self.preset.settings, **self.request.sets}, "attack")
            told = {key: given[key] for key in ("target",) if key in given}
            yield Chosen("attack", found, _options(found, "attack", [told]))

    def _refuse_attack_sets(self) -> None:
        """Raise `UserError` for a `--set` that nothing reads, since all attacks are files."""
        for key in () if self.request.clean_models else layer(self.request.sets, "base"):
            raise UserError(
                f"--set base.{key}: no base model is trained for models of --attack-file",
                "add --attack NAME to attack others as well",
            )
        for key in layer(self.request.sets, "attack"):
            if key == "target" and self.request.clean_models:
                continue  # what defenses are told of the clean models
            if key == "target":
                raise UserError("--set attack.target: the attack file says that (target = …)")
            raise UserError(
                f"--set attack.{key}: models of --attack-file are not attacked here",
                "add --attack NAME to attack others as well",
            )

    def defense(self, name: str) -> Chosen:
        """Return a defense: the shared retraining settings, then its own.

        What a plugin says of its retraining in a preset was found out for it there, and counts more
        than what the preset says for all.
        """
        found = self.plugins.get("defense", name)
        spec: DefenseSpec = found.spec
        by_hand = layer(self.request.sets, name)
        layers = [
            self._retrain(spec, self.preset.settings),
            *self._plugin_layers(spec),
            layer(self.preset.settings, name),
            self._retrain(spec, self.request.sets),
            by_hand,
        ]
        by_hand = {**self._stated(spec), **self._retrain(spec, self.request.sets), **by_hand}
        return Chosen("defense", found, _options(found, name, layers), by_hand)

    def shared(self, model: type[Any], namespace: str) -> Any:
        """Return one of the harness's own option groups."""
        return make_options(model, namespace, self._layers(namespace))

    def check_retrain(self, defenses: Sequence[Chosen]) -> None:
        """Raise `UserError` for a `retrain.` key that no defense of the run knows."""
        keys = {
            key.removeprefix("retrain.")
            for chosen in defenses
            for key in option_keys(chosen.spec.options)
            if key.startswith("retrain.")
        }
        given = {**layer(self.preset.own, "retrain"), **layer(self.request.sets, "retrain")}
        if given.keys() - keys:
            from benchmark.recipe import FineTune

            make_options(FineTune, "retrain", [given])

    def _retrain(self, spec: DefenseSpec, sets: Mapping[str, Any]) -> dict[str, Any]:
        """Return the `retrain.` entries that this defense has an option for."""
        keys = option_keys(spec.options)
        given = {f"retrain.{key}": value for key, value in layer(sets, "retrain").items()}
        return {key: value for key, value in given.items() if key in keys}

    def _stated(self, spec: DefenseSpec) -> dict[str, str]:
        """Return what a preset file itself says of this defense and holds for it, as after `--set`.

        Of a shipped preset that is nothing: its name tells all.
        """
        own = self.preset.own
        found = self._retrain(spec, own)
        for key in itertools.chain.from_iterable(self._plugin_layers(spec)):
            found.pop(key, None)  # what a plugin says of its own retraining counts more
        return {key: as_text(value) for key, value in {**found, **layer(own, spec.name)}.items()}

    def _preset_layer(self, kind: Kind, spec: DatasetSpec | ModelSpec | AttackSpec) -> Layer:
        """Return the preset's settings for a component, which may not be the preset's own.

        Of a file, what the preset that it extends says is of that preset's own components, and what
        the file says is of the file's.
        """
        shipped = load_preset(self.preset.shipped)
        return {
            **_settings_for(kind, spec, shipped, shipped.settings),
            **_settings_for(kind, spec, self.preset, self.preset.own),
        }

    def _layers(self, namespace: str) -> list[Layer]:
        return [layer(self.preset.settings, namespace), layer(self.request.sets, namespace)]

    def _plugin_layers(self, spec: Any) -> list[Layer]:
        return [getattr(spec, "presets", {}).get(self.preset.shipped, {})]
