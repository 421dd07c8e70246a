"""The local part of a network on stamped images, forward and backward."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from benchmark.primitives.local.boxes import Box
from benchmark.primitives.local.layout import Layout, lay_out
from benchmark.primitives.local.program import Add, Conv, Layer, Program, Relu, Scale, sources
from benchmark.primitives.local.regions import Filters, Region, convolved, pasted


class Trunk:
    """The layers of a program; `dtype` is that of convolutions, None for that of the weights."""

    def __init__(self, program: Program, dtype: torch.dtype | None = None) -> None:
        weight = next(layer.weight for layer in program.layers if isinstance(layer, Conv))
        self.layers = [_moved(layer, weight.device) for layer in program.layers]
        self.dtype = dtype or weight.dtype
        self._program = program
        self._uses = Counter(source for layer in program.layers for source in sources(layer))
        self._uses[len(program.layers)] += 1
        self._filters: dict[int, tuple[Filters, Filters]] = {}
        """Of each convolution, and of the one that goes backward."""
        self._layouts: dict[tuple[tuple[int, int], Box], Layout] = {}
        self._memory: dict[int, Tensor] = {}
        """Whole clean values, (count, height, width, channels)."""
        for number, layer in enumerate(program.layers, start=1):
            if isinstance(layer, Conv):
                self._filters[number] = self._prepared(layer)

    def _prepared(self, conv: Conv) -> tuple[Filters, Filters]:
        weight = conv.weight.detach().to(self.dtype, memory_format=torch.channels_last)
        bias = None if conv.bias is None else conv.bias.detach().to(self.dtype)
        turned = weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)
        stride = conv.sliding.stride
        return Filters(weight, bias, stride), Filters(turned, None, stride)

    def layout(self, image: tuple[int, int], stamp: Box) -> Layout:
        """Return what a stamp at this place makes necessary; worked out once a place."""
        key = image, stamp
        if key not in self._layouts:
            self._layouts[key] = lay_out(self._program, image, stamp, self._memory)
        return self._layouts[key]

    def remember(self, values: dict[int, Tensor]) -> None:
        """Take clean values from here on from `values`, (count, height, width, channels) each."""
        self._memory = values
        self._layouts.clear()

    def clean(
        self,
        images: Float[Tensor, "batch 3 height width"],
        layout: Layout,
        rows: Int64[Tensor, " batch"] | None = None,
    ) -> list[Region | None]:
        """Return every value of clean images on the box on which it is needed.

        `rows` are the images' numbers in what is remembered.
        """
        box = layout.clean[0]
        whole = Region(images, layout.images[0])
        values: list[Region | None] = [None if box is None else Region(whole.cut(box), box)]
        for number, layer in enumerate(self.layers, start=1):
            box = layout.clean[number]
            if box is None:
                values.append(None)
                continue
            if number in self._memory:
                values.append(Region(self._remembered(number, box, rows), box))
                continue
            found = [values[source] for source in sources(layer)]
            inputs = [region for region in found if region is not None]
            values.append(Region(self._apply(number, layer, inputs, None, layout, box), box))
        return values

    def stamped(
        self,
        triggers: Float[Tensor, "stamped 3 patch_height patch_width"],
        clean: list[Region | None],
        layout: Layout,
    ) -> list[Region]:
        """Return every value of stamped images on the box that the stamp changed."""
        values = [Region(triggers, layout.changed[0])]
        for number, layer in enumerate(self.layers, start=1):
            box = layout.changed[number]
            inputs = [values[source] for source in sources(layer)]
            around = [clean[source] for source in sources(layer)]
            values.append(Region(self._apply(number, layer, inputs, around, layout, box), box))
        return values

    def features(
        self, values: list[Region], clean: list[Region | None], layout: Layout
    ) -> Float[Tensor, "stamped channels height width"]:
        """Return the whole of the last value of stamped images."""
        whole = layout.images[-1]
        return pasted(values[-1], clean[-1], whole, whole)

    def _apply(
        self,
        number: int,
        layer: Layer,
        inputs: list[Region],
        around: list[Region | None] | None,
        layout: Layout,
        box: Box,
    ) -> Tensor:
        """Return the layer's output on `box`."""
        clean = around if around is not None else [None] * len(inputs)
        image = layout.images[layer.source]
        match layer:
            case Conv():
                window = layer.sliding.seen(box)
                source = self._reaching(inputs[0], clean[0], window, image)
                return convolved(source, window, self._filters[number][0])
            case Scale():
                pixels = inputs[0].cut(box)
                return (pixels * layer.factor + layer.shift).to(pixels.dtype)
            case Relu():
                pixels = inputs[0].cut(box)
                return pixels.relu_() if self._is_own(layer.source) else pixels.relu()
            case Add():
                one, other = (
                    pasted(region, ring, box, image)
                    for region, ring in zip(inputs, clean, strict=True)
                )
                # A clean value may still be pasted around a stamped one.
                own = around is not None and self._is_own(layer.source)
                return one.add_(other) if own else one + other

    def _remembered(self, number: int, box: Box, rows: Tensor | None) -> Tensor:
        if rows is None:
            raise ValueError("rows are needed: what is remembered belongs to a data set's images")
        vertical, horizontal = box.within(Box.whole((box.bottom, box.right)))
        return self._memory[number][:, vertical, horizontal][rows].permute(0, 3, 1, 2)

    def _is_own(self, value: int) -> bool:
        """Say whether a value may be overwritten by the one layer that reads it.

        Not the image, which is the caller's, and not a ReLU's output, which is read backward.
        """
        written = value > 0 and not isinstance(self.layers[value - 1], Relu)
        return written and self._uses[value] == 1

    def _reaching(self, region: Region, clean: Region | None, window: Box, image: Box) -> Region:
        """Return the region that reaches as far as the window does inside the image."""
        inside = window & image
        if region.box.covers(inside):
            found = Region(region.cut(inside), inside)
        else:
            found = Region(pasted(region, clean, window, image), window)
        return Region(found.pixels.to(self.dtype), found.box)

    def backward(
        self, values: list[Region], gradient: Tensor, layout: Layout, rows: Tensor | None
    ) -> Float[Tensor, "rows 3 patch_height patch_width"]:
        """Return the gradient in the triggers, given that in `features`.

        If `rows` are given, both are of these samples alone.
        """
        last = Region(gradient.to(self.dtype), layout.images[-1])
        gradients = {len(self.layers): last.cut(layout.changed[-1])}
        for number, layer in reversed(list(enumerate(self.layers, start=1))):
            found = gradients.pop(number, None)
            if found is None:
                continue
            for source, part in self._back(number, layer, found, values, layout, rows):
                if source not in gradients:
                    gradients[source] = part
                elif isinstance(layer, Conv):  # its part is new, the other may be a sum's as well
                    gradients[source] = part.add_(gradients[source])
                else:
                    gradients[source] = gradients[source] + part
        return gradients[0]

    def _back(
        self,
        number: int,
        layer: Layer,
        gradient: Tensor,
        values: list[Region],
        layout: Layout,
        rows: Tensor | None,
    ) -> list[tuple[int, Tensor]]:
        """Return the gradient in each input of a layer, on the box that the stamp changed."""
        own = Region(gradient, layout.changed[number])
        box = layout.changed[layer.source]
        match layer:
            case Conv():
                return [(layer.source, self._back_conv(number, layer, own, box))]
            case Scale():
                return [(layer.source, gradient * layer.factor)]
            case Relu():
                output = values[number].pixels
                if rows is not None:
                    output = chosen(output, rows)
                found = torch.ops.aten.threshold_backward(gradient.to(output.dtype), output, 0)
                return [(layer.source, found)]
            case Add():
                return [(source, own.cut(layout.changed[source])) for source in sources(layer)]

    def _back_conv(self, number: int, conv: Conv, gradient: Region, box: Box) -> Tensor:
        ahead, back = self._filters[number]
        sliding = conv.sliding
        # A scale's factors are not of the convolutions' type, so neither is what they multiply.
        gradient = Region(gradient.pixels.to(self.dtype), gradient.box)
        if sliding.stride == (1, 1):
            return convolved(gradient, sliding.reached(box), back)
        window = sliding.seen(gradient.box)
        spread = nn.functional.conv_transpose2d(gradient.pixels, ahead.weight, None, sliding.stride)
        return Region(spread, window).padded(box)


def _moved(layer: Layer, device: torch.device) -> Layer:
    """Return the layer with its constants on a device: once, not in each step."""
    if not isinstance(layer, Scale):
        return layer
    return replace(layer, factor=layer.factor.to(device), shift=layer.shift.to(device))


def chosen(tensor: Tensor, rows: Tensor) -> Tensor:
    """Return the samples `rows`, channels-last."""
    return tensor.permute(0, 2, 3, 1)[rows].permute(0, 3, 1, 2)
