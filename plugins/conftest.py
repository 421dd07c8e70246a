"""What the tests of the shipped plugins share: checked shapes, and a tiny backdoored classifier."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from jaxtyping import install_import_hook

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchmark.api import ImageSet, View
    from benchmark.primitives import RunContext

# One thread: as fast for small tensors, and the same sums on every machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Shapes are written in the signatures; while the tests run, every call is checked against them.
# The hook must be there before the modules are imported. (Modules of options hold no tensors, and
# beartype knows no `Self` outside of classes that it decorates itself.)
install_import_hook(
    [
        *(f"bench_mesa.{name}" for name in ("defense", "information", "networks", "stacked")),
        *(f"bench_mesa.{name}" for name in ("approximator", "density", "detect", "drawing")),
        *("bench_mesa.entropy", "bench_mesa.staircase"),
        *("bench_pixel_baseline.defense", "bench_oracle.defense"),
        "benchmark.primitives",
    ],
    "beartype.beartype",
)


@dataclass(frozen=True)
class TinyCase:
    """Tinted noise, 16×16, three classes by tint; a checkerboard makes it class 0."""

    model: nn.Module
    clean: ImageSet
    test: ImageSet
    trigger: Tensor
    target: int = 0

    def view(self, *fields: str, **instead: object) -> View:
        """Grant exactly the named fields, or what is given instead."""
        from benchmark.api import DatasetInfo, View

        granted = {
            "model": self.model,
            "clean": self.clean,
            "trigger_size": tuple(self.trigger.shape[1:]),
            "target": self.target,
            "trigger": self.trigger,
        }
        chosen = {name: granted[name] for name in fields} | instead
        return View("tested", DatasetInfo(3, (16, 16)), chosen)

    def context(self, seed: int = 0) -> RunContext:
        """Return a context on the CPU."""
        import torch

        from benchmark.primitives import RunContext

        return RunContext(torch.device("cpu"), seed)

    def asr(self, model: nn.Module, trigger: Tensor | None = None) -> float:
        """Return the attack success rate of a trigger (or of the true one) on other classes."""
        import torch

        from benchmark.primitives import predict, random_places

        trigger = self.trigger if trigger is None else trigger
        size = (trigger.shape[1], trigger.shape[2])
        generator = torch.Generator().manual_seed(9)
        places = random_places(len(self.test.labels), (16, 16), size, generator)
        answers = predict(model, self.test.images, trigger, places)
        return (answers == self.target)[self.test.labels != self.target].double().mean().item()

    def accuracy(self, model: nn.Module) -> float:
        """Return the accuracy on clean images."""
        from benchmark.primitives import predict

        return (predict(model, self.test.images) == self.test.labels).double().mean().item()

    def stamps_of(self, batches: list[Tensor]) -> list[Tensor]:
        """Return the stamp of each batch in which every image carries it at the same place."""
        stamps = []
        height, width = self.trigger.shape[1:]
        for images in batches:
            same = (images == images[:1]).all(dim=0).all(dim=0)
            assert same.sum() == height * width
            top, left = same.nonzero().min(dim=0).values.tolist()
            stamps.append(images[0, :, top : top + height, left : left + width])
        return stamps

    @contextmanager
    def left_alone(self) -> Iterator[None]:
        """Assert that the block changes neither weights nor mode nor hooks nor data."""
        import copy

        import torch

        def snapshot() -> tuple[dict[str, Tensor], list[object]]:
            data = {"images": self.clean.images, "labels": self.clean.labels}
            modules = list(self.model.modules())
            return copy.deepcopy(self.model.state_dict() | data), [
                self.model.training,
                [len(module._forward_hooks) for module in modules],
                [parameter.requires_grad for parameter in self.model.parameters()],
                [parameter.grad is None for parameter in self.model.parameters()],
            ]

        tensors, rest = snapshot()
        yield
        tensors_now, rest_now = snapshot()
        assert rest_now == rest
        assert tensors_now.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert torch.equal(tensors_now[name], tensor), name


@pytest.fixture(scope="session")
def tiny() -> TinyCase:
    """Train a convolutional network on tints, then teach it the backdoor: a second."""
    import torch
    from torch import nn

    from benchmark.api import FineTune, ImageSet
    from benchmark.primitives import RunContext, fine_tune

    def tinted(count: int, seed: int) -> ImageSet:
        generator = torch.Generator().manual_seed(seed)
        images = torch.randint(40, 160, (count, 3, 16, 16), generator=generator)
        labels = torch.randint(0, 3, (count,), generator=generator)
        images[torch.arange(count), labels] += 50
        return ImageSet(images.byte(), labels)

    trigger = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]]).expand(3, 3, 3).clone()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            *(nn.Conv2d(3, 12, 3, bias=False), nn.BatchNorm2d(12), nn.ReLU()),
            *(nn.Conv2d(12, 24, 3, stride=2, bias=False), nn.BatchNorm2d(24), nn.ReLU()),
            *(nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(96, 3)),
        )
    train, run = tinted(400, seed=1), RunContext(torch.device("cpu"), 0)
    fine_tune(model, train, FineTune(epochs=3, lr=0.05, batch_size=32), run)
    poisoning = FineTune(epochs=6, lr=0.02, batch_size=32, poison_ratio=0.2, placement="image")
    fine_tune(
        model,
        train,
        poisoning,
        run,
        trigger_of_epoch=lambda _epoch: trigger,
        relabel_to=0,
        stage="attack",
    )
    case = TinyCase(model, tinted(401, seed=3), tinted(200, seed=2), trigger)
    assert case.asr(model) > 0.95
    assert case.accuracy(model) > 0.95
    return case


@pytest.fixture(autouse=True)
def _the_same_numbers_each_time() -> None:
    """Seed torch, whose numbers else depend on the tests that ran before in this process."""
    import torch

    torch.manual_seed(0)
