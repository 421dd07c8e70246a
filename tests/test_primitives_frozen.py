"""A frozen classifier answers as its model does, at less cost, and leaves the model alone."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import jaxtyping
import pytest
import torch
from local_evaluation import lived_in
from torch import Tensor, nn

from benchmark.builtin.networks import Classifier, ResNet
from benchmark.context import Meter
from benchmark.primitives import frozen


@pytest.fixture
def as_in_a_run() -> Iterator[None]:
    """Switch the shape checks off: they run code in `forward` that cannot be traced."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


class Branches(nn.Module):
    """Cannot be traced: its course depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        if x.mean() > 1e6:
            x = x * 2
        return self.head(x.mean(dim=(2, 3)))


class Measures(Branches):
    """Cannot be traced either: it asks for the length of its batch."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).reshape(len(x), 4, -1).mean(dim=2))


class Shares(Branches):
    """Can be traced, but one convolution stands before two batch norms."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.first, self.second = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.conv(self.first(self.conv(x)).relu()))
        return self.head(self.body(x).mean(dim=(2, 3)))


def small() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Conv2d(8, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )


def resnet() -> nn.Module:
    network = ResNet(8, [(8, 1, 1), (16, 2, 2)], 5)
    return Classifier(network, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25))


BUILDERS = [small, resnet, Branches, Measures, Shares]


def made(build: type[nn.Module]) -> nn.Module:
    torch.manual_seed(3)
    return lived_in(build())


def answers(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits, and the gradient in the images of the cross entropy toward class 1."""
    images = images.clone().requires_grad_()
    logits = model(images)
    target = torch.ones(len(images), dtype=torch.int64)
    loss = nn.functional.cross_entropy(logits, target, reduction="sum")
    return logits.detach(), torch.autograd.grad(loss, images)[0]


@pytest.mark.usefixtures("as_in_a_run")
@pytest.mark.parametrize("build", BUILDERS)
def test_logits_and_input_gradients_are_those_of_the_model(build: type[nn.Module]) -> None:
    model, images = made(build), torch.rand(6, 3, 12, 12)
    copied = frozen(model.train())
    logits, gradient = answers(model.eval(), images)
    found_logits, found_gradient = answers(copied, images)
    torch.testing.assert_close(found_logits, logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found_gradient, gradient, rtol=1e-4, atol=1e-5)
    assert gradient.abs().max() > 1e-3


@pytest.mark.usefixtures("as_in_a_run")
@pytest.mark.parametrize("build", [small, resnet])
def test_batch_norm_is_folded_away(build: type[nn.Module]) -> None:
    model = made(build)
    copied = frozen(model)
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in copied.modules())


@pytest.mark.usefixtures("as_in_a_run")
@pytest.mark.parametrize("build", BUILDERS)
def test_the_model_itself_is_left_alone(build: type[nn.Module]) -> None:
    meter = Meter()
    model = meter.attach(made(build)).train()
    before = copy.deepcopy(model.state_dict())
    answers(frozen(model), torch.rand(2, 3, 12, 12))
    assert model.training
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.state_dict().keys() == before.keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    model.eval()(torch.rand(4, 3, 12, 12))
    assert meter.forward_images == 2 + 4  # its hook is still there, and was not in the copy


@pytest.mark.usefixtures("as_in_a_run")
@pytest.mark.parametrize("build", BUILDERS)
def test_no_weight_of_the_copy_wants_a_gradient(build: type[nn.Module]) -> None:
    copied = frozen(made(build))
    assert not copied.training
    assert not any(parameter.requires_grad for parameter in copied.parameters())
    assert not copied(torch.rand(2, 3, 12, 12)).requires_grad


@pytest.mark.usefixtures("as_in_a_run")
@pytest.mark.parametrize("build", [small, Branches])
def test_the_meter_counts_images_forward_and_backward(build: type[nn.Module]) -> None:
    meter = Meter()
    copied = frozen(made(build), meter)
    copied(torch.rand(5, 3, 12, 12))
    assert (meter.forward_images, meter.backward_images) == (5, 0)
    answers(copied, torch.rand(7, 3, 12, 12))
    assert (meter.forward_images, meter.backward_images) == (12, 7)


@pytest.mark.usefixtures("as_in_a_run")
@pytest.mark.parametrize("build", [small, Branches])
@pytest.mark.parametrize("wrap", [lambda model: model, lambda model: nn.Sequential(model)])
def test_without_a_meter_images_count_where_those_of_the_model_do(build, wrap) -> None:
    meter, other = Meter(), Meter()
    model = wrap(meter.attach(made(build)))
    answers(frozen(model), torch.rand(7, 3, 12, 12))
    assert (meter.forward_images, meter.backward_images) == (7, 7)
    answers(frozen(copy.deepcopy(model), other), torch.rand(3, 3, 12, 12))
    assert (meter.forward_images, other.forward_images) == (7, 3)
    model.eval()(torch.rand(2, 3, 12, 12))
    assert meter.forward_images == 9


@pytest.mark.usefixtures("as_in_a_run")
def test_a_wrapped_model_that_is_counted_is_traced_all_the_same() -> None:
    model = nn.Sequential(Meter().attach(made(small)))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in frozen(model).modules())


def test_a_deep_copy_of_a_metered_model_counts_on_the_same_meter() -> None:
    meter = Meter()
    twin = copy.deepcopy(meter.attach(made(small)))
    twin(torch.rand(3, 3, 12, 12)).sum().backward()
    assert (meter.forward_images, meter.backward_images) == (3, 3)


def test_folding_survives_shape_checks_unfolded() -> None:
    model, images = made(resnet).eval(), torch.rand(2, 3, 12, 12)
    torch.testing.assert_close(frozen(model)(images), model(images))
