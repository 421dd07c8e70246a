"""Residual networks for 32×32 images, and the normalisation in front of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Block(nn.Module):
    """Two 3×3 convolutions around a shortcut (He et al., CVPR 2016, basic block)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.relu = nn.ReLU(inplace=True)

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs h w"]:
        """Return the block's activations, at 1/stride of the resolution."""
        inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(inner + self.shortcut(x))


class ResNet(nn.Module):
    """A 3×3 stem at full resolution, stages of basic blocks, average pooling, a linear layer.

    `stages` are (width, blocks, stride of the first block).
    """

    def __init__(self, stem: int, stages: Sequence[tuple[int, int, int]], classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        blocks: list[nn.Module] = []
        width = stem
        for outputs, count, stride in stages:
            for number in range(count):
                blocks.append(Block(width, outputs, stride if number == 0 else 1))
                width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """Return logits for normalised images."""
        x = self.blocks(self.relu(self.bn1(self.conv1(x))))
        return self.linear(self.pool(x).flatten(1))


class Classifier(nn.Module):
    """A network behind its data set's normalisation: images in [0, 1] in, logits out.

    Keeping mean and deviation inside the model lets attacks, defenses and scoring all speak of
    pixels, and an artifact is complete by itself.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[None, :, None, None])
        self.register_buffer("std", torch.tensor(std)[None, :, None, None])
        self.network = network

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch classes"]:
        """Return logits for images in [0, 1]."""
        return self.network((images - self.mean) / self.std)
