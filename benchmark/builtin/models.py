"""The architectures that come with the harness."""

from __future__ import annotations

from torch import nn

from benchmark.builtin.model_options import ResNet18Options, SmallResNetOptions
from benchmark.builtin.networks import ResNet
from benchmark.types import DatasetInfo


class ResNet18:
    """ResNet-18 for 32×32 images: no max-pooling, a 3×3 stem (He et al., CVPR 2016)."""

    def __init__(self, options: ResNet18Options) -> None:
        self.width = options.width

    def build(self, info: DatasetInfo) -> nn.Module:
        """Return an untrained network: (batch, 3, height, width) to (batch, classes)."""
        stages = [(self.width << i, 2, 1 if i == 0 else 2) for i in range(4)]
        return ResNet(self.width, stages, info.num_classes)


class SmallResNet:
    """A stem at full resolution and three strided residual blocks, for the preset `quick`."""

    def __init__(self, options: SmallResNetOptions) -> None:
        self.width = options.width

    def build(self, info: DatasetInfo) -> nn.Module:
        """Return an untrained network: (batch, 3, height, width) to (batch, classes)."""
        width = self.width
        stages = [(2 * width, 1, 2), (4 * width, 1, 2), (4 * width, 1, 2)]
        return ResNet(width, stages, info.num_classes)
