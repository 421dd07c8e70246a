"""A traced network as a list of layers whose outputs depend on nearby inputs only."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from benchmark.primitives.local.boxes import Sliding


@dataclass(frozen=True)
class Conv:
    """A convolution with zero padding."""

    source: int
    weight: Tensor
    bias: Tensor | None
    sliding: Sliding


@dataclass(frozen=True)
class Relu:
    """max(0, x)."""

    source: int


@dataclass(frozen=True)
class Scale:
    """x · factor + shift, each a number a channel."""

    source: int
    factor: Tensor
    shift: Tensor


@dataclass(frozen=True)
class Add:
    """The sum of two values."""

    source: int
    other: int


Layer = Conv | Relu | Scale | Add


def sources(layer: Layer) -> tuple[int, ...]:
    """Return the numbers of the values that a layer starts from."""
    return (layer.source, layer.other) if isinstance(layer, Add) else (layer.source,)


@dataclass(frozen=True)
class Program:
    """Layers in order. Value 0 is the image, value i the output of layer i - 1."""

    layers: tuple[Layer, ...]
    tail: nn.Module
    """The rest of the network, from the last value on."""


class NotLocal(Exception):
    """The network has no part that can be evaluated locally; the text says why."""


def compile_local(traced: fx.GraphModule) -> Program:
    """Divide a traced network, in eval mode, into local layers and a tail.

    The cut is the last value on which alone everything after it depends. Raises `NotLocal` if no
    convolution lies before it.
    """
    reader = _Reader(traced)
    reader.read()
    return reader.program()


class _Reader:
    """Reads the nodes of a graph one after another for as long as they are local layers."""

    def __init__(self, traced: fx.GraphModule) -> None:
        self.traced = traced
        self.nodes = [node for node in traced.graph.nodes if node.op != "get_attr"]
        self.layers: list[Layer] = []
        self.channels = [3]
        """Of each value; images are RGB."""
        self.values: dict[fx.Node, int] = {}
        self.stopped = ""
        self.ends: list[tuple[int, fx.Node]] = []
        """Layers read, and the node that they end with, wherever the network could be cut."""

    def read(self) -> None:
        image, *rest = self.nodes
        if image.op != "placeholder" or any(node.op == "placeholder" for node in rest):
            raise NotLocal("it takes more than one input")
        self.values[image] = 0
        for position, node in enumerate(rest, start=1):
            if not self._take(node):
                self.stopped = str(node.target)
                return
            if not self._needed_later(position):
                self.ends.append((self.values[node], node))

    def program(self) -> Program:
        for count, node in reversed(self.ends):
            if any(isinstance(layer, Conv) for layer in self.layers[:count]):
                return Program(
                    tuple(self.layers[:count]), _tail(self.traced, node, self._names(count))
                )
        raise NotLocal(f"no part of it ends before '{self.stopped}'")

    def _needed_later(self, position: int) -> bool:
        """Say whether a later node needs another value than that of the node at `position`."""
        last = self.values[self.nodes[position]]
        return any(
            self.values.get(source, last) != last
            for node in self.nodes[position + 1 :]
            for source in node.all_input_nodes
        )

    def _take(self, node: fx.Node) -> bool:
        """Append the node's layer, if it is a local one."""
        if node.op == "call_module":
            return self._take_module(node, self.traced.get_submodule(str(node.target)))
        if node.target in (torch.relu, nn.functional.relu, "relu"):
            return self._take_relu(node, inplace=bool(node.kwargs.get("inplace")))
        if node.target == "relu_":
            return self._take_relu(node, inplace=True)
        return self._take_arithmetic(node)

    def _take_module(self, node: fx.Node, module: nn.Module) -> bool:
        match module:
            case nn.Identity() | nn.Dropout() | nn.Dropout2d():
                source = self._value(node.args[0])
                if source is not None:
                    self.values[node] = source
                return source is not None
            case nn.ReLU():
                return self._take_relu(node, inplace=module.inplace)
            case nn.Conv2d():
                return self._take_conv(node, module)
        return False

    def _take_conv(self, node: fx.Node, conv: nn.Conv2d) -> bool:
        source, padding = self._value(node.args[0]), conv.padding
        plain = conv.groups == 1 and tuple(conv.dilation) == (1, 1) and conv.padding_mode == "zeros"
        if source is None or not plain or isinstance(padding, str):
            return False
        kernel, stride = tuple(conv.kernel_size), tuple(conv.stride)
        sliding = Sliding(_pair(kernel), _pair(stride), _pair(tuple(padding)))
        layer = Conv(source, conv.weight, conv.bias, sliding)
        return self._append(node, layer, conv.out_channels)

    def _take_relu(self, node: fx.Node, *, inplace: bool) -> bool:
        source = self._value(node.args[0])
        if source is None or (inplace and self._read_elsewhere(source, node)):
            return False
        return self._append(node, Relu(source), self.channels[source])

    def _read_elsewhere(self, value: int, node: fx.Node) -> bool:
        """Say whether others than `node` read a value: they would see what `node` makes of it."""
        names = self._names(value)
        readers = {reader for name in names for reader in name.users}
        return bool(readers - {node, *names})

    def _names(self, value: int) -> list[fx.Node]:
        """Return the nodes with a value: the layer's own, and dropouts that pass it on."""
        return [node for node, own in self.values.items() if own == value]

    def _take_arithmetic(self, node: fx.Node) -> bool:
        if node.op != "call_function" or node.kwargs or len(node.args) != 2:
            return False
        left, right = (self._value(argument) for argument in node.args)
        adds = node.target in (operator.add, operator.iadd, torch.add)
        if left is not None and right is not None:
            same = self.channels[left] == self.channels[right]  # else one is spread over the other
            return adds and same and self._append(node, Add(left, right), self.channels[left])
        constant = self._constant(node.args[1])
        if left is None or constant is None or constant.shape[1] not in (1, self.channels[left]):
            return False
        layer = _scaled(left, constant, node.target)
        return layer is not None and self._append(node, layer, self.channels[left])

    def _value(self, argument: Any) -> int | None:
        return self.values.get(argument) if isinstance(argument, fx.Node) else None

    def _constant(self, argument: Any) -> Tensor | None:
        """Return a number a channel, shape (1, channels or 1, 1, 1); None if it is not one."""
        if isinstance(argument, int | float):
            return torch.full((1, 1, 1, 1), float(argument))
        if not (isinstance(argument, fx.Node) and argument.op == "get_attr"):
            return None
        found = operator.attrgetter(str(argument.target))(self.traced)
        if not isinstance(found, Tensor):
            return None
        channels = found.shape[-3] if found.ndim in (3, 4) else 1
        return found.detach().reshape(1, -1, 1, 1) if found.numel() == channels else None

    def _append(self, node: fx.Node, layer: Layer, channels: int) -> bool:
        self.layers.append(layer)
        self.channels.append(channels)
        self.values[node] = len(self.layers)
        return True


def _scaled(source: int, constant: Tensor, function: Any) -> Scale | None:
    """Return what a function makes of a value and a constant, if that is a scale and a shift."""
    one, zero = torch.ones_like(constant), torch.zeros_like(constant)
    if function in (operator.add, operator.iadd, torch.add):
        return Scale(source, one, constant)
    if function in (operator.sub, torch.sub):
        return Scale(source, one, -constant)
    if function in (operator.mul, torch.mul):
        return Scale(source, constant, zero)
    if function in (operator.truediv, torch.div):
        return Scale(source, 1 / constant, zero)
    return None


def _pair(numbers: tuple[int, ...]) -> tuple[int, int]:
    vertical, horizontal = numbers
    return vertical, horizontal


def _tail(traced: fx.GraphModule, cut: fx.Node, names: list[fx.Node]) -> nn.Module:
    """Return the part of the network after `cut`; `names` are the nodes that have its value."""
    graph = fx.Graph()
    copies, after = dict.fromkeys(names, graph.placeholder("features")), False
    for node in traced.graph.nodes:
        if (after and node not in copies) or node.op == "get_attr":
            copies[node] = graph.node_copy(node, copies.__getitem__)
        after = after or node is cut
    return fx.GraphModule(traced, graph)
