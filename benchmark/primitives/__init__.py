"""What a plugin author builds on: stamping, training, prediction, frozen classifiers."""

from benchmark.context import Meter, RunContext
from benchmark.primitives.arithmetic import arithmetic
from benchmark.primitives.batches import Augment, batch_indices, normal_batch, to_unit
from benchmark.primitives.convolutions import fast_convolutions
from benchmark.primitives.finetune import fine_tune
from benchmark.primitives.frozen import Frozen, frozen
from benchmark.primitives.predict import predict
from benchmark.primitives.stamp import host_generator, random_places, stamp

__all__ = [
    "Augment",
    "Frozen",
    "Meter",
    "RunContext",
    "arithmetic",
    "batch_indices",
    "fast_convolutions",
    "fine_tune",
    "frozen",
    "host_generator",
    "normal_batch",
    "predict",
    "random_places",
    "stamp",
    "to_unit",
]
