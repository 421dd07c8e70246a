"""Options of the data set `files`."""

from __future__ import annotations

from pydantic import Field

from benchmark.specs import CHOOSES, Options


class FilesOptions(Options):
    """How a user's own images become a data set."""

    size: int | None = Field(
        None,
        ge=8,
        le=512,
        description="scale and crop all images to so many pixels square; default: as they are",
    )
    test_fraction: float = Field(
        0.2, gt=0, lt=1, description="part of each class held back to test, where no split is given"
    )
    seed: int = Field(0, ge=0, le=2**63 - 1, description="decides which images are held back")
    title: str = Field(
        "",
        description="what the heads of tables call it; default: the name of the folder or file",
        json_schema_extra=CHOOSES,
    )
