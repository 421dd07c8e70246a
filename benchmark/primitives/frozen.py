"""A classifier frozen for optimising its inputs."""

from __future__ import annotations

import copy
from collections import Counter

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.fx import symbolic_trace
from torch.fx.experimental.optimization import fuse

from benchmark.context import Meter
from benchmark.precision import Precision
from benchmark.primitives.arithmetic import arithmetic

_FOLDED_INTO = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


class InHalfPrecision(nn.Module):
    """A classifier whose products are bfloat16; images and logits stay float32."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch classes"]:
        """Return the logits of images in [0, 1]."""
        with arithmetic(images.device, "bfloat16"):
            return self.classifier(images).float()


def frozen(
    model: nn.Module, meter: Meter | None = None, precision: Precision = "float32"
) -> nn.Module:
    """Return an eval-mode copy of `model` that keeps no weight gradients, for input gradients.

    Batch norm is folded into the convolutions where the model can be traced (exact up to float
    rounding); a model that cannot be traced, or that uses a layer twice, is frozen unfolded.
    Convolutions are channels-last. A `meter` counts the images that go through the copy.
    `precision` is that of convolutions and products.
    """
    source = copy.deepcopy(model).eval()
    source._forward_hooks.clear()  # the copy's own meter counts; tracing must not see hooks
    folded = _folded(source).requires_grad_(False)
    folded.to(memory_format=torch.channels_last)
    if precision == "bfloat16":
        folded = InHalfPrecision(folded).eval()
    return meter.attach(folded) if meter else folded


def _folded(model: nn.Module) -> nn.Module:
    """Return `model` with batch norm folded into its convolutions, or as it is."""
    try:
        traced = symbolic_trace(model)
        # Folding changes a layer's weights, so each must serve one place in the network.
        calls = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
        shared = any(
            isinstance(module, _FOLDED_INTO) and calls[name] > 1
            for name, module in model.named_modules()
        )
        return model if shared else fuse(traced, inplace=True, no_trace=True)
    except Exception:  # tracing runs the model's own code on stand-ins: anything may come of it
        return model
