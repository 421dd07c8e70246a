"""Build plugins and models in a process that has torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file
from torch import nn

from benchmark.builtin.networks import Classifier
from benchmark.errors import JobFault
from benchmark.jobs import Component
from benchmark.plugins import Origin, load_spec
from benchmark.types import DatasetInfo


def build(component: Component) -> Any:
    """Return what the component's factory makes of its options; loads that one plugin only."""
    spec = load_spec(Origin.from_json(component.origin), component.kind, component.name)
    return spec.factory(spec.options.model_validate(component.options))


def build_classifier(
    component: Component, info: DatasetInfo, mean: Sequence[float], std: Sequence[float]
) -> nn.Module:
    """Return an untrained classifier that takes images in [0, 1] and normalises them itself."""
    return Classifier(build(component).build(info), mean, std)


def load_weights(model: nn.Module, source: Path | bytes) -> nn.Module:
    """Load a safetensors file, or its content, into `model`, only if it is that model's weights.

    Raises `JobFault` for a file that cannot be read, other names, shapes or types, and for weights
    that are not finite.
    """
    try:
        given = load(source) if isinstance(source, bytes) else load_file(source)
    except (SafetensorError, OSError) as error:
        raise JobFault(f"the model's file cannot be read: {error}") from error
    expected = model.state_dict()
    if given.keys() != expected.keys():
        odd = sorted(given.keys() ^ expected.keys())
        raise JobFault(
            f"the model returned is not of the architecture given: {len(odd)} tensors are missing "
            f"or not known, such as {odd[0]!r}"
        )
    for name, tensor in given.items():
        check_tensor(name, tensor, expected[name])
    model.load_state_dict(given)
    return model


def check_tensor(name: str, given: torch.Tensor, expected: torch.Tensor) -> None:
    """Raise `JobFault` unless shape and type are those expected and all values are finite."""
    if given.shape != expected.shape:
        raise JobFault(
            f"weights {name!r} have shape {tuple(given.shape)}, expected {tuple(expected.shape)}"
        )
    if given.dtype != expected.dtype:
        raise JobFault(f"weights {name!r} are {given.dtype}, expected {expected.dtype}")
    if given.is_floating_point() and not bool(torch.isfinite(given).all()):
        raise JobFault(f"weights {name!r} hold values that are not finite")
