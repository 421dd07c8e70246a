"""Weights of a model that was trained elsewhere, put into an architecture of the harness.

Never runs code out of the file: safetensors hold none, and a `.pt` file is read by torch's
restricted reader (`weights_only`), which refuses everything but tensors and plain containers.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from benchmark.building import build_classifier, check_tensor
from benchmark.data import PreparedDataset
from benchmark.errors import JobFault, UserError
from benchmark.jobs import Component
from benchmark.types import ModelFile

_WRAPPED = ("state_dict", "model_state_dict", "net_state_dict", "model", "net")
"""Keys under which training scripts keep the weights beside other things."""
_PARALLEL = "module."
"""What a model trained on several devices has before all its names."""
_COUNTER = "num_batches_tracked"
"""Counters of batch norm that old files lack; nothing is computed from them."""

_RESNET = (
    (re.compile(r"^layer(\d+)\.(\d+)\."), lambda m: f"blocks.{2 * int(m[1]) - 2 + int(m[2])}."),
    (re.compile(r"\.downsample\."), lambda m: ".shortcut."),
    (re.compile(r"^fc\."), lambda m: "linear."),
)
"""How other code names the parts of a ResNet-18 that the shipped one names differently."""


def check(file: ModelFile, model: Component, dataset: PreparedDataset) -> None:
    """Raise `UserError`, naming the file, unless its weights fit the architecture."""
    bring(build_classifier(model, dataset.info, dataset.mean, dataset.std), file)


def bring(classifier: nn.Module, file: ModelFile) -> nn.Module:
    """Load the weights of `file` into a classifier of `build_classifier`, and return it.

    The file holds the network's weights, or those of a whole classifier with its normalisation.
    Raises `UserError` if it cannot be read, holds anything but weights, was changed since it was
    planned, or if names, shapes or types do not fit.
    """
    try:
        given = _renamed(_tensors(file), file)
        _load(classifier, given, file)
    except JobFault as fault:
        raise UserError(f"{file.path}: {fault}") from fault
    return classifier


def _tensors(file: ModelFile) -> dict[str, Tensor]:
    try:
        content = Path(file.path).read_bytes()
    except OSError as error:
        raise JobFault((error.strerror or str(error)).lower()) from error
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise JobFault("the file was changed since this run began; start again")
    if file.path.endswith(".safetensors"):
        try:
            return load_safetensors(content)
        except SafetensorError as error:
            raise JobFault(f"no readable safetensors file: {error}") from error
    return _state_dict(content)


def _state_dict(content: bytes) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on old formats; what matters becomes an error
            held = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise JobFault(
            "it holds more than weights, which could run code, and is not opened; save the "
            "weights alone: torch.save(model.state_dict(), FILE)"
        ) from error
    except Exception as error:  # a damaged archive fails in many ways
        raise JobFault("no file that torch.save wrote, or damaged") from error
    for key in _WRAPPED:
        if isinstance(held, Mapping) and isinstance(held.get(key), Mapping):
            held = held[key]
    if not isinstance(held, Mapping) or not held:
        raise JobFault(f"it holds a {type(held).__name__}, not a state dict")
    odd = next((k for k, value in held.items() if not isinstance(value, Tensor)), None)
    if odd is not None:
        raise JobFault(f"its entry {odd!r} is no tensor; save model.state_dict() alone")
    return {str(name): tensor for name, tensor in held.items()}


def _renamed(given: dict[str, Tensor], file: ModelFile) -> dict[str, Tensor]:
    if all(name.startswith(_PARALLEL) for name in given):
        given = {name.removeprefix(_PARALLEL): tensor for name, tensor in given.items()}
    for old, new in file.rename:
        if not any(name.startswith(old) for name in given):
            raise JobFault(f"rename: no weights begin with {old!r}, but {next(iter(given))!r}, say")
        given = {_moved(name, old, new): tensor for name, tensor in given.items()}
    return given


def _moved(name: str, old: str, new: str) -> str:
    return new + name.removeprefix(old) if name.startswith(old) else name


def _load(classifier: Any, given: dict[str, Tensor], file: ModelFile) -> None:
    whole = {"mean", "std"} <= given.keys()
    if whole and file.mean is not None:
        raise JobFault("it brings its own normalisation (mean and std); leave [normalisation] out")
    target: nn.Module = classifier if whole else classifier.network
    expected = target.state_dict()
    as_resnet = {_as_resnet(name): tensor for name, tensor in given.items()}
    if not given.keys() <= expected.keys() and as_resnet.keys() <= expected.keys():
        given = as_resnet
    for name in expected.keys() - given.keys():
        if name.endswith(_COUNTER):
            given[name] = expected[name]
    _check(given, expected)
    target.load_state_dict(given)
    if file.mean is not None and file.std is not None:
        classifier.mean.copy_(torch.tensor(file.mean)[None, :, None, None])
        classifier.std.copy_(torch.tensor(file.std)[None, :, None, None])


def _as_resnet(name: str) -> str:
    for pattern, replacement in _RESNET:
        name = pattern.sub(replacement, name)
    return name


def _check(given: dict[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    missing = sorted(expected.keys() - given.keys())
    unknown = sorted(given.keys() - expected.keys())
    if missing or unknown:
        parts = [f"{len(missing)} are missing, such as {missing[0]!r}"] if missing else []
        parts += [f"{len(unknown)} are not known, such as {unknown[0]!r}"] if unknown else []
        raise JobFault(
            f"its weights are not those of this --model: {'; '.join(parts)}; other names of the "
            "same architecture go under [rename]"
        )
    for name, tensor in given.items():
        if tensor.is_floating_point() and expected[name].is_floating_point():
            given[name] = tensor.to(expected[name].dtype)
        check_tensor(name, given[name], expected[name])
