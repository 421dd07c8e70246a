"""What `pixel_baseline` is, without importing torch."""

from __future__ import annotations

from pydantic import Field

from benchmark.api import (
    CHOOSES,
    DefenseSpec,
    FineTune,
    Knowledge,
    Options,
    Output,
    Precision,
    PresetOptions,
    added,
    hookimpl,
    lazy,
)


class PixelOptions(Options):
    """Options of `pixel_baseline`; the defaults are the paper's (supplement, C 3)."""

    patterns: int = Field(10, ge=1, description="patterns searched, each retrained with alone")
    epochs: int = Field(5, ge=1, description="passes over the clean images in the search")
    lr: float = Field(0.1, gt=0, description="learning rate of SGD, for pixels in [0, 1]")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of SGD")
    clip: bool = Field(
        True,
        description="keep pixels in [0, 1], as images have them; the paper does not say: without, "
        "a pattern may end where no image's pixels are",
        json_schema_extra=added(True),
    )
    batch_size: int = Field(128, ge=1, description="images a search step, for each pattern")
    precision: Precision = Field("float32", description="of the classifier in the search")
    cache_mib: int = Field(
        512,
        ge=0,
        description="memory for clean activations; more is faster, results stay",
        json_schema_extra=CHOOSES,
    )
    retrain: FineTune = Field(FineTune(), description="the retraining's settings")


PRESETS: PresetOptions = {
    # Fewer patterns and passes than the paper's 10 and 5: each pattern costs a whole retraining.
    "quick": {
        **{"patterns": 3, "epochs": 3, "batch_size": 32, "cache_mib": 0},
        "precision": "auto",
    },
    "cifar10-cpu": {"patterns": 2, "epochs": 3, "precision": "auto"},
    "cifar100-cpu": {"patterns": 2, "epochs": 3, "precision": "auto"},
}


@hookimpl
def bench_defenses() -> list[DefenseSpec]:
    """Offer the pixel-space baseline."""
    return [
        DefenseSpec(
            name="pixel_baseline",
            version="1",
            summary="invert single triggers by gradient descent, retrain with each alone",
            factory=lazy("bench_pixel_baseline.defense:PixelBaseline"),
            options=PixelOptions,
            needs=frozenset(
                {
                    Knowledge.WEIGHTS,
                    Knowledge.CLEAN_IMAGES,
                    Knowledge.TRIGGER_SIZE,
                    Knowledge.TARGET_CLASS,
                }
            ),
            gives=frozenset({Output.MODEL, Output.TRIGGERS}),
            paper="the baseline of Qiao, Yang, Li, NeurIPS 2019, arXiv 1910.04749",
            presets=PRESETS,
        )
    ]
