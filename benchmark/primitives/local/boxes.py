"""Rectangles of pixels: what a stamp changes behind a convolution, and what it looks at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """Rows `top` to `bottom` - 1, columns `left` to `right` - 1; may reach beyond the image."""

    top: int
    left: int
    bottom: int
    right: int

    @staticmethod
    def whole(size: tuple[int, int]) -> Box:
        """Return the box of a whole image of `size` (height, width)."""
        return Box(0, 0, *size)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width; not positive if the box is empty."""
        return self.bottom - self.top, self.right - self.left

    @property
    def area(self) -> int:
        """Number of pixels."""
        height, width = self.size
        return max(height, 0) * max(width, 0)

    def covers(self, other: Box) -> bool:
        """Say whether every pixel of `other` is one of this box."""
        return self & other == other

    def __and__(self, other: Box) -> Box:
        """Return what two boxes have in common."""
        return Box(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def __or__(self, other: Box) -> Box:
        """Return the smallest box that holds both."""
        return Box(
            min(self.top, other.top),
            min(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
        )

    def within(self, other: Box) -> tuple[slice, slice]:
        """Return the rows and columns of this box as slices of a tensor that holds `other`."""
        return (
            slice(self.top - other.top, self.bottom - other.top),
            slice(self.left - other.left, self.right - other.left),
        )


@dataclass(frozen=True)
class Sliding:
    """The geometry of a convolution, (vertical, horizontal)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of the output for an input of `size`."""
        height, width = (
            (size[axis] + 2 * self.padding[axis] - self.kernel[axis]) // self.stride[axis] + 1
            for axis in (0, 1)
        )
        return height, width

    def seen(self, outputs: Box) -> Box:
        """Return the inputs that the outputs in a box look at, padding included."""
        (top, bottom), (left, right) = (
            (low * stride - padding, (high - 1) * stride - padding + kernel)
            for low, high, kernel, stride, padding in self._axes(outputs)
        )
        return Box(top, left, bottom, right)

    def reached(self, inputs: Box) -> Box:
        """Return the outputs that look at an input in a box; they may lie outside the output."""
        (top, bottom), (left, right) = (
            (-(-(low + padding - kernel + 1) // stride), (high - 1 + padding) // stride + 1)
            for low, high, kernel, stride, padding in self._axes(inputs)
        )
        return Box(top, left, bottom, right)

    def _axes(self, box: Box) -> tuple[tuple[int, int, int, int, int], ...]:
        edges = (box.top, box.bottom), (box.left, box.right)
        return tuple(
            (*edges[axis], self.kernel[axis], self.stride[axis], self.padding[axis])
            for axis in (0, 1)
        )
