"""Stamped images evaluated locally, and as a textbook would: the same logits and gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmark.builtin.networks import Classifier, ResNet
from benchmark.primitives import frozen, stamp


def lived_in(model: nn.Module) -> nn.Module:
    """Give batch norms weights, means and variances that are far from 1, 0 and 1."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.3, 2)
    return model


def resnet() -> nn.Module:
    """Return the shape of the shipped networks: a stem, shortcuts, two strided stages."""
    torch.manual_seed(3)
    network = ResNet(4, [(4, 1, 1), (6, 2, 2), (8, 1, 2)], 5)
    return lived_in(Classifier(network, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25))).eval().double()


def whole(model: nn.Module, images: Tensor, triggers: Tensor, place: Tensor) -> Tensor:
    """Return the logits as a textbook would: every image stamped and sent through everything."""
    flat = triggers.expand(-1, len(images), -1, -1, -1).flatten(0, 1)
    canvas = images.repeat(len(triggers), 1, 1, 1)
    return model(stamp(canvas, flat, place)).unflatten(0, (len(triggers), len(images)))


def both(
    evaluate: Callable[[Tensor], Tensor], triggers: Tensor, saturated: Tensor
) -> tuple[Tensor, Tensor]:
    """Return logits, and the gradient in the triggers of the samples that are not saturated."""
    triggers = triggers.clone().requires_grad_()
    logits = evaluate(triggers)
    losses = logits.logsumexp(dim=2) - logits[:, :, 1]
    (gradient,) = torch.autograd.grad(losses[~saturated].sum(), triggers)
    return logits.detach(), gradient


def agree(
    model: nn.Module,
    images: Tensor,
    triggers: Tensor,
    corner: tuple[int, int],
    saturated: Tensor | None = None,
) -> None:
    place, local = torch.tensor([corner]), frozen(model)
    assert local.why_dense == ""
    if saturated is None:
        saturated = torch.zeros(len(triggers), len(images), dtype=torch.bool)
    logits, gradient = both(lambda t: whole(model, images, t, place), triggers, saturated)
    found, back = both(lambda t: local.stamped(images, t, place), triggers, saturated)
    torch.testing.assert_close(found, logits, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(back, gradient, rtol=1e-9, atol=1e-12)
    assert gradient.abs().max() > 1e-6


def random(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.rand(shape, generator=generator, dtype=torch.float64)
