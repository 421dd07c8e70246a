"""The `digits` data set: its options and its source. The images are made in `digits_images`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from benchmark.errors import UserError
from benchmark.specs import Options

if TYPE_CHECKING:
    from benchmark.contracts import LoadedDataset


class DigitsOptions(Options):
    """How many images are made, and how hard they are."""

    train_images: int = Field(6000, ge=100, le=100_000, description="Number of training images")
    test_images: int = Field(2000, ge=100, le=100_000, description="Number of test images")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="Decides which digits, patches and shifts")
    patch_zoom: float = Field(
        4.0,
        ge=1.0,
        le=16.0,
        description="Enlargement of the photograph behind the digit; 1 = raw pixels, busiest",
    )
    contrast: float = Field(
        0.7,
        gt=0.0,
        le=1.0,
        description="Contrast of the photograph behind the digit; 1 = as it is. On a patch that is "
        "black already a black trigger cannot be seen by anybody",
    )
    jitter: float = Field(
        1.0,
        ge=0.0,
        le=4.0,
        description="Shift, turn and scaling of digits used again: 1 = to 1 px, 5 degrees, 5 %",
    )


@dataclass(frozen=True)
class Digits:
    """Makes the images; needs no files and no internet."""

    options: DigitsOptions

    def fingerprint_inputs(self, data_dir: Path | None, cache_dir: Path) -> str:
        """Return the versions of the packages that hold and process the samples.

        Raises `UserError` if there is a `data_dir`, which would be ignored.
        """
        if data_dir is not None:
            raise UserError(
                "data set 'digits' is built in and reads no files",
                "leave --data-dir out, or choose another --dataset",
            )
        return ",".join(f"{name}={version(name)}" for name in ("numpy", "pillow", "scikit-learn"))

    def load(self, data_dir: Path | None, cache_dir: Path) -> LoadedDataset:
        """Return the training and test images, uint8 of shape (count, 3, 32, 32)."""
        from benchmark.builtin.datasets.digits_images import make_digits

        return make_digits(self.options)
