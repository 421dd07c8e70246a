"""Seeing what plugin code does to things that are not its own."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from benchmark.contracts import Evidence, View
from benchmark.errors import UndeclaredKnowledge
from benchmark.kit.places import current_line


def global_state() -> dict[str, object]:
    """Return what is global and decides numbers or speed, in a form that can be compared."""
    numpy_state: Any = np.random.get_state(legacy=False)
    return {
        "torch's global random generator": torch.get_rng_state().numpy().tobytes(),
        "Python's global random generator (random)": random.getstate(),
        "numpy's global random generator (np.random)": (
            numpy_state["state"]["key"].tobytes(),
            numpy_state["state"]["pos"],
        ),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's default device": torch.get_default_device(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
    }


def stir_global_generators(seed: int) -> None:
    """Put the global generators where no two runs of a plugin would find them by themselves."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def changed(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """Return the names of what is no longer the same."""
    return [name for name in before if before[name] != after[name]]


@dataclass
class Inputs:
    """A model and tensors as they were, to be compared with what became of them."""

    model: nn.Module | None
    tensors: Mapping[str, Tensor]
    _before: dict[str, Tensor] = field(default_factory=dict)
    _facts: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._before = {name: tensor.clone() for name, tensor in self._all().items()}
        self._facts = self._about_the_model()

    def changes(self) -> list[str]:
        """Say what is no longer as it was."""
        now = self._all()
        told = [
            name
            for name, tensor in self._before.items()
            if name not in now or not torch.equal(now[name], tensor)
        ]
        weights = [name for name in told if name.startswith("weights ")]
        told = [name for name in told if name not in weights]
        if weights or now.keys() - self._before.keys():
            told.insert(0, f"the model's weights ({len(weights)} tensors)")
        for name, old, new in zip(_FACTS, self._facts, self._about_the_model(), strict=True):
            if old != new:
                told.append(name)
        return told

    def versions(self) -> object:
        """Return a token that changes when a tensor is written to."""
        return [tensor._version for tensor in self._all().values()]

    def _all(self) -> dict[str, Tensor]:
        state = self.model.state_dict() if self.model is not None else {}
        return {f"weights {name}": tensor for name, tensor in state.items()} | dict(self.tensors)

    def _about_the_model(self) -> list[object]:
        if self.model is None:
            return [None] * len(_FACTS)
        return [
            [module.training for module in self.model.modules()],
            [parameter.requires_grad for parameter in self.model.parameters()],
            [len(module._forward_hooks) for module in self.model.modules()],
        ]


_FACTS = (
    "the model's mode (train or eval)",
    "the model's requires_grad",
    "the model's forward hooks",
)


class Tracer(TorchFunctionMode):
    """Notes the plugin's line after which a token changed, one for each token."""

    def __init__(self, root: Path, tokens: Mapping[str, Callable[[], object]]) -> None:
        super().__init__()
        self.lines: dict[str, str] = {}
        self._root = root
        self._tokens = tokens
        self._seen = {name: token() for name, token in tokens.items()}

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the function, and look."""
        result = func(*args, **(kwargs or {}))
        for name, token in self._tokens.items():
            if name not in self.lines and token() != self._seen[name]:
                self.lines[name] = current_line(self._root)
        return result


@dataclass(frozen=True)
class WatchedView(View):
    """Notes each field that is asked for and was not declared, also where the error is caught."""

    root: Path = Path()
    undeclared: dict[str, str] = field(default_factory=dict, repr=False)
    """The error's text → the plugin's line."""

    def __getattr__(self, name: str) -> object:
        try:
            return super().__getattr__(name)
        except UndeclaredKnowledge as error:
            self.undeclared.setdefault(str(error), current_line(self.root))
            raise


@dataclass(frozen=True)
class WatchedEvidence(Evidence):
    """Notes each recovered output that a metric reads."""

    root: Path = Path()
    read: dict[str, str] = field(default_factory=dict, repr=False)
    """Field → the plugin's line."""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("recovered_"):
            line = current_line(object.__getattribute__(self, "root"))
            object.__getattribute__(self, "read").setdefault(name, line)
        return object.__getattribute__(self, name)


def digest_of(model: nn.Module) -> str:
    """Return the SHA-256 of the file that a model's weights would be written to."""
    state = model.state_dict()
    # Cloned, because safetensors refuses tensors that share memory.
    return hashlib.sha256(
        save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()})
    ).hexdigest()
