"""The shipped architectures are what they are called, and normalise their images."""

from __future__ import annotations

import pytest
import torch
import torchvision
from pydantic import ValidationError
from torch import Tensor, nn

from benchmark.builtin.model_options import ResNet18Options, SmallResNetOptions
from benchmark.builtin.models import ResNet18, SmallResNet
from benchmark.builtin.networks import Classifier
from benchmark.types import DatasetInfo


def resnet18(width: int = 64, classes: int = 10) -> nn.Module:
    return ResNet18(ResNet18Options(width=width)).build(DatasetInfo(classes, (32, 32)))


def small(width: int = 16, classes: int = 10) -> nn.Module:
    return SmallResNet(SmallResNetOptions(width=width)).build(DatasetInfo(classes, (32, 32)))


def trainable(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@pytest.mark.parametrize(("classes", "number"), [(10, 11_173_962), (100, 11_220_132)])
def test_resnet18_has_the_published_number_of_parameters(classes: int, number: int) -> None:
    model = Classifier(resnet18(classes=classes), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    assert trainable(model) == number
    assert {"mean", "std"} <= model.state_dict().keys()  # kept with the weights, never trained


def test_resnet18_computes_what_torchvisions_does_with_a_small_stem() -> None:
    torch.manual_seed(0)
    ours = resnet18()
    reference = torchvision.models.resnet18(num_classes=10)
    reference.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    reference.maxpool = nn.Identity()
    weights = list(ours.state_dict().values())
    for tensor in weights:
        if tensor.is_floating_point():
            tensor.add_(torch.rand(tensor.shape) * 0.1)
    names = list(reference.state_dict())
    reference.load_state_dict(dict(zip(names, weights, strict=True)))
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(ours.eval()(images), reference.eval()(images))


def test_the_stem_keeps_the_full_resolution_and_three_stages_halve_it() -> None:
    model = resnet18(width=8)
    sizes: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> None:
        module = model.get_submodule(name)
        module.register_forward_hook(
            lambda _module, _inputs, out: sizes.__setitem__(name, tuple(out.shape[1:]))
        )

    names = ["conv1", *(f"blocks.{number}" for number in range(8))]
    for name in names:
        note(name)
    model(torch.rand(2, 3, 32, 32))
    stages = [(8, 32, 32)] * 3 + [(16, 16, 16)] * 2 + [(32, 8, 8)] * 2 + [(64, 4, 4)] * 2
    assert [sizes[name] for name in names] == stages


@pytest.mark.parametrize("build", [resnet18, small])
@pytest.mark.parametrize(("width", "classes", "size"), [(8, 7, (16, 16)), (12, 100, (32, 24))])
def test_one_logit_a_class_for_images_of_any_size(
    build: type[nn.Module], width: int, classes: int, size: tuple[int, int]
) -> None:
    images = torch.rand(3, 3, *size)
    logits = build(width, classes).eval()(images)
    assert logits.shape == (3, classes)
    assert len(logits.unique(dim=0)) == 3


def test_the_small_network_is_small() -> None:
    assert trainable(small()) < 200_000
    assert trainable(small(width=32)) > 3 * trainable(small())
    stage_sizes = [module for module in small().modules() if isinstance(module, nn.Conv2d)]
    assert stage_sizes[0].stride == (1, 1)


@pytest.mark.parametrize("options", [ResNet18Options, SmallResNetOptions])
def test_networks_too_narrow_to_be_trained_everywhere_are_refused(options: type) -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 8"):
        options(width=7)


def test_training_reaches_every_parameter() -> None:
    for model in (resnet18(width=8), small(width=8)):
        model(torch.rand(4, 3, 16, 16)).square().sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())


class Echo(nn.Module):
    """Returns what it is given, flat."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


def test_a_classifier_normalises_each_channel() -> None:
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.5)
    images = torch.rand(4, 3, 5, 5)
    before = images.clone()
    found = Classifier(Echo(), mean, std)(images).reshape(4, 3, 5, 5)
    for channel in range(3):
        expected = (images[:, channel] - mean[channel]) / std[channel]
        torch.testing.assert_close(found[:, channel], expected)
    assert torch.equal(images, before)


def test_a_classifier_keeps_its_normalisation_with_its_weights() -> None:
    given = Classifier(small(8), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    other = Classifier(small(8), (0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
    other.load_state_dict(given.state_dict())
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(other.eval()(images), given.eval()(images))
