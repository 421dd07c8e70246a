"""The faster way of 3×3 convolutions (see `winograd`) in networks that are trained."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from benchmark.precision import Precision
from benchmark.primitives import winograd


def fast_convolutions(precision: Precision = "float32") -> AbstractContextManager[object]:
    """Return a context in which convolutions take the faster way where there is one.

    It is there in float32 on a CPU for filters of 3×3, stride 1, and many channels, as in the last
    two stages of a full-width ResNet. Forward and backward passes give the same numbers up to float
    rounding; second derivatives cannot be taken. What is not convolved so is computed as usual.
    """
    return _Fast() if precision == "float32" else nullcontext()


class _Fast(TorchFunctionMode):
    """Sees every call of a torch function, and takes over the convolutions that suit."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if function is torch.conv2d:
            return _conv2d(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


def _conv2d(
    input: Tensor,  # torch's own names, by which they may be given
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | str | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Tensor:
    plain = _pair(stride) == _pair(dilation) == (1, 1) and groups == 1
    # A network may have an `autocast` of its own, in which it is not float32 that is multiplied.
    plain = plain and input.dtype == weight.dtype and not torch.is_autocast_enabled("cpu")
    if plain and not isinstance(padding, str) and input.ndim == 4 and winograd.suits(weight):
        around = _pair(padding)
        small = max(around) <= 2  # more is no convolution backward
        if small and winograd.pays(input.shape, len(weight), around):
            made: Tensor = _Convolution.apply(input, weight, bias, around)
            return made
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _pair(number: int | tuple[int, ...]) -> tuple[int, int]:
    pair = (number,) if isinstance(number, int) else tuple(number)
    return pair[0], pair[-1]


class _Convolution(torch.autograd.Function):
    """A convolution of stride 1, both ways."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.padding = padding
        return winograd.convolved(images, winograd.at_points(weight), bias, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        of_images = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            turned = winograd.at_points(weight.flip(2, 3).transpose(0, 1))
            back = 2 - ctx.padding[0], 2 - ctx.padding[1]
            of_images = winograd.convolved(gradient, turned, None, back)
        if ctx.needs_input_grad[1]:
            of_weight = winograd.weight_gradient(images, gradient, ctx.padding)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum((0, 2, 3))
        return of_images, of_weight, of_bias, None
