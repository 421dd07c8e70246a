"""Training of the base model: it learns, it repeats, it decays what it should."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from benchmark.base_training import train_base
from benchmark.builtin.networks import Classifier, ResNet
from benchmark.contracts import ImageSet
from benchmark.primitives import RunContext, predict
from benchmark.recipe import BaseRecipe

CLASSES = 3
QUICK = BaseRecipe(epochs=5, lr=0.1, batch_size=32, padding=1)


def coloured(count: int, seed: int = 0) -> ImageSet:
    """Noise with a tint that is the class."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 200, (count, 3, 8, 8), generator=generator)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    images[torch.arange(count), labels] += 55
    return ImageSet(images.byte(), labels)


def network() -> nn.Module:
    torch.manual_seed(1)
    return Classifier(ResNet(8, [(8, 1, 1), (12, 1, 2)], CLASSES), (0.4,) * 3, (0.3,) * 3)


def context(seed: int = 0) -> RunContext:
    return RunContext(torch.device("cpu"), seed)


def test_it_learns_what_can_be_learned() -> None:
    train, test, run = coloured(300), coloured(200, seed=1), context()
    model = train_base(network(), train, QUICK, run)
    assert not model.training
    accuracy = (predict(model, test.images) == test.labels).double().mean()
    assert accuracy > 0.95
    losses = [row["loss"] for row in run.series]
    assert [row["epoch"] for row in run.series] == list(range(5))
    assert losses[-1] < 0.7 * losses[0]


def test_the_seed_decides_every_bit() -> None:
    def weights(seed: int) -> Tensor:
        model = train_base(network(), coloured(100), QUICK, context(seed))
        return torch.cat([tensor.flatten().double() for tensor in model.state_dict().values()])

    first, again, other = weights(1), weights(1), weights(2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_half_precision_learns_too_and_leaves_the_weights_whole() -> None:
    recipe, test = QUICK.model_copy(update={"precision": "bfloat16"}), coloured(200, seed=1)
    model = train_base(network(), coloured(300), recipe, context())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert (predict(model, test.images) == test.labels).double().mean() > 0.9


class Indifferent(nn.Module):
    """Has gradients of zero: only the decay moves its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.linear = nn.Linear(4, CLASSES)
        self.norm.reset_parameters()
        nn.init.normal_(self.norm.bias)

    def forward(self, images: Tensor) -> Tensor:
        nothing = sum(parameter.sum() * 0 for parameter in self.parameters())
        return torch.zeros(len(images), CLASSES) + nothing


def test_weight_decay_spares_batch_norm_and_biases() -> None:
    model = Indifferent()
    before = copy.deepcopy(dict(model.named_parameters()))
    recipe = BaseRecipe(epochs=2, batch_size=10, weight_decay=0.05)
    train_base(model, coloured(40), recipe, context())
    for name, parameter in model.named_parameters():
        if name in ("conv.weight", "linear.weight"):
            shrunk = (parameter / before[name]).detach()
            torch.testing.assert_close(shrunk, shrunk.flatten()[0].expand_as(shrunk))
            assert 0.5 < shrunk.flatten()[0] < 0.99
        else:
            assert torch.equal(parameter, before[name]), name


@pytest.mark.parametrize(
    ("count", "epochs", "warmup"),
    [(32, 1, 0.25), (128, 1, 0.25), (64, 2, 0.25), (64, 1, 0.5), (33, 1, 0.25), (96, 1, 1 / 3)],
)
def test_any_number_of_steps_can_be_trained(count: int, epochs: int, warmup: float) -> None:
    recipe = BaseRecipe(epochs=epochs, batch_size=32, warmup=warmup, padding=0)
    run, model = context(), network()
    before = model.state_dict()["network.linear.weight"].clone()
    train_base(model, coloured(count), recipe, run)
    assert len(run.series) == epochs
    after = model.state_dict()["network.linear.weight"]
    assert torch.isfinite(after).all()
    assert not torch.equal(after, before)


class Watcher(nn.Module):
    """Notes the learning rate of each step in the size of its weight's move."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))
        self.places: list[float] = []

    def forward(self, images: Tensor) -> Tensor:
        self.places.append(self.bias.item())
        steady = self.bias - self.bias.detach()  # a loss whose slope never changes
        return torch.cat([steady.expand(len(images), 1), torch.zeros(len(images), 1)], dim=1)


def test_the_rate_rises_to_its_peak_and_falls_to_nothing() -> None:
    model = Watcher()
    data = coloured(200)
    zeros = ImageSet(data.images, torch.zeros_like(data.labels))
    recipe = BaseRecipe(
        epochs=10, batch_size=20, lr=0.4, momentum=0, warmup=0.25, label_smoothing=0, padding=0
    )
    train_base(model, zeros, recipe, context())
    places = torch.tensor([*model.places, model.bias.item()], dtype=torch.float64)
    moves = places.diff() / 0.5  # the slope of the cross entropy of two equal logits
    assert len(moves) == 100
    peak = int(moves.argmax())
    assert 22 <= peak <= 26
    assert moves[peak] == pytest.approx(0.4, rel=1e-2)
    assert moves[0] < 0.05
    assert moves[-1] < 1e-4
    assert (moves[:peak].diff() > 0).all()
    assert (moves[peak:].diff() < 0).all()
