"""A classifier frozen for optimising its inputs."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from typing import Any

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.fx import GraphModule, symbolic_trace
from torch.fx.experimental.optimization import fuse

from benchmark.context import Meter
from benchmark.precision import Precision
from benchmark.primitives.arithmetic import arithmetic
from benchmark.primitives.local.boxes import Box
from benchmark.primitives.local.layout import Layout
from benchmark.primitives.local.memory import activations
from benchmark.primitives.local.program import NotLocal, compile_local
from benchmark.primitives.local.trunk import Trunk
from benchmark.primitives.stamp import stamp

_FOLDED_INTO = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_SKIP_BELOW = 0.9
"""Share of samples with a gradient below which it pays to send only those backward."""


class Frozen(nn.Module):
    """A classifier in eval mode whose weights take no gradient.

    Call it with images in [0, 1] for their logits; `stamped` gives those of stamped images at less
    cost. `why_dense` says why `stamped` has to evaluate whole images; empty if it need not.
    """

    def __init__(self, model: nn.Module, meter: Meter | None, precision: Precision) -> None:
        super().__init__()
        self.classifier = model
        self.why_dense = ""
        self._meter, self._precision = meter or Meter(), precision
        self._trunk: Trunk | None = None
        self._sizes: set[tuple[int, int]] = set()
        """Of images that the trunk is known to take."""
        try:
            if not isinstance(model, GraphModule):
                raise NotLocal("it cannot be traced, or uses a layer twice")
            program = compile_local(model)
            dtype = torch.bfloat16 if precision == "bfloat16" else None
            self._trunk, self._tail = Trunk(program, dtype), program.tail
            self._program = program
        except NotLocal as reason:
            self.why_dense = str(reason)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch classes"]:
        """Return the logits of images in [0, 1]; costs a forward pass, one backward on demand."""
        with arithmetic(images.device, self._precision):
            logits: Tensor = self.classifier(images).to(images.dtype)
        return self._meter.count(logits)

    def remember(
        self,
        images: UInt8[Tensor, "count 3 height width"],
        stamp_size: tuple[int, int],
        mib: float | int,
    ) -> int:
        """Keep clean activations of a data set, up to `mib` MiB, for `stamped`; return the bytes.

        Costs one forward pass and saves some of each step: it pays from the second epoch on.
        """
        trunk = self._fitting((images.shape[2], images.shape[3]))
        if trunk is None:
            return 0
        found = activations(trunk, self._program, images, stamp_size, int(mib * 2**20))
        trunk.remember(found)
        self._meter.forward_images += len(images) if found else 0
        return sum(tensor.nbytes for tensor in found.values())

    def forget(self) -> None:
        """Give the memory of `remember` back."""
        if self._trunk is not None:
            self._trunk.remember({})

    def stamped(
        self,
        images: Float[Tensor, "batch 3 height width"],
        triggers: Float[Tensor, " stack #batch 3 patch_height patch_width"],
        place: Int64[Tensor, "1 2"],
        rows: Int64[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "stack batch classes"]:
        """Return the logits of every image with every trigger of its column, all at one place.

        On a GPU the place is best on the CPU (see `host_generator`): it decides what is computed.

        Images and triggers in [0, 1]; differentiable in the triggers. Equal to `self(stamp(...))`
        up to float rounding, at less cost. A small stamp changes few of the first layers'
        activations: only these are computed for each trigger; the others once for the clean
        images, whatever the stack, or not at all where `remember` has kept them: then `rows`, the
        images' numbers in what it was given, are needed. Backward, samples without a gradient
        (saturated ones) are left out, on a CPU. Goes backward once: a second time raises
        `RuntimeError`.
        """
        stack, batch = triggers.shape[0], images.shape[0]
        flat = triggers.expand(-1, batch, -1, -1, -1).flatten(0, 1)
        size = images.shape[2], images.shape[3]
        trunk = self._fitting(size)
        if trunk is None:
            self._say_dense()
            canvas = images.repeat(stack, 1, 1, 1).contiguous(memory_format=torch.channels_last)
            return self(stamp(canvas, flat, place)).unflatten(0, (stack, batch))
        row, column = place[0].tolist()
        box = Box(row, column, row + flat.shape[2], column + flat.shape[3])
        layout = trunk.layout(size, box)
        self._meter.forward_images += batch * stack
        features = _Stamped.apply(flat, images, rows, trunk, layout, self._meter)
        return self._tail(features).unflatten(0, (stack, batch))

    def _fitting(self, size: tuple[int, int]) -> Trunk | None:
        """Return the local part if it takes images of this size; else from now on there is none."""
        if self._trunk is not None and size not in self._sizes:
            try:
                self._trunk.layout(size, Box.whole(size))
                self._sizes.add(size)
            except NotLocal as reason:
                self._trunk, self.why_dense = None, str(reason)
        return self._trunk

    def _say_dense(self) -> None:
        warnings.warn(f"stamped images are evaluated whole: {self.why_dense}", stacklevel=3)


class _Stamped(torch.autograd.Function):
    """Triggers → the local part of the network on stamped images."""

    @staticmethod
    def forward(
        ctx: Any,
        triggers: Tensor,
        images: Tensor,
        rows: Tensor | None,
        trunk: Trunk,
        layout: Layout,
        meter: Meter,
    ) -> Tensor:
        clean = trunk.clean(images, layout, rows)
        values = trunk.stamped(triggers, clean, layout)
        ctx.trunk, ctx.layout, ctx.meter, ctx.values = trunk, layout, meter, values
        return trunk.features(values, clean, layout).to(triggers.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows = _with_gradient(gradient)
        if rows is not None:
            gradient = gradient[rows]
        if ctx.values is None:
            raise RuntimeError(
                "logits of stamped images were sent backward twice; their activations are let go "
                "after the first time: call `stamped` again, or take the sum of both losses"
            )
        ctx.meter.backward_images += len(gradient)
        found = ctx.trunk.backward(ctx.values, gradient, ctx.layout, rows).to(gradient.dtype)
        if rows is not None:
            whole = ctx.values[0].pixels.new_zeros(ctx.values[0].pixels.shape)
            found = whole.index_copy_(0, rows, found)
        ctx.values = None
        return found, None, None, None, None, None


def _with_gradient(gradient: Tensor) -> Tensor | None:
    """Return which samples have a gradient; None for all of them.

    On a GPU always all: to ask would make the host wait for the device.
    """
    if gradient.device.type != "cpu":
        return None
    rows = gradient.flatten(1).any(dim=1).nonzero().flatten()
    return rows if len(rows) < _SKIP_BELOW * len(gradient) else None


def frozen(
    model: nn.Module, meter: Meter | None = None, precision: Precision = "float32"
) -> Frozen:
    """Return an eval-mode copy of `model` that keeps no weight gradients, for input gradients.

    Batch norm is folded into the convolutions where the model can be traced (exact up to float
    rounding); a model that cannot be traced, or that uses a layer twice, is frozen unfolded.
    Tracing sees no sum that is written into a tensor with another name (`s = x; x += y`): of such a
    model the copy, and what it gives, is another. Convolutions are channels-last. `meter` counts
    the images that go through the copy; without one they count where those of `model` do, which for
    `view.model` is the cost of the trial.
    `precision` is that of convolutions and products.
    """
    source = copy.deepcopy(model).eval()
    found = _meters_taken_off(source)
    source._forward_hooks.clear()  # tracing must not see hooks
    folded = _folded(source).requires_grad_(False)
    folded.to(memory_format=torch.channels_last)
    return Frozen(folded, meter or next(iter(found), None), precision).eval()


def _meters_taken_off(model: nn.Module) -> list[Meter]:
    """Return the meters on which `model`, or a part of it, counts; it no longer does."""
    found = []
    for module in model.modules():
        for key, hook in list(module._forward_hooks.items()):
            meter = getattr(hook, "__self__", None)
            if isinstance(meter, Meter):
                found.append(meter)
                del module._forward_hooks[key]
    return found


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
