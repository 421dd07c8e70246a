"""Half precision where it was asked for, and float32 that is float32 everywhere else."""

from __future__ import annotations

import torch

from benchmark.precision import Precision


def compute_exactly(threads: int) -> None:
    """Set up this process: so many threads on a CPU, and no rounding that nobody asked for.

    By default torch lets cuDNN round the inputs of float32 convolutions to TF32's 10 bits, and take
    algorithms that add up in another order each time.
    """
    torch.set_num_threads(threads)
    # The older flag first: where only the newer ones say so, torch refuses to tell it, and with it
    # `cudnn.flags` and `torch.export`.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
    torch.backends.cudnn.rnn.fp32_precision = "ieee"  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.backends.cudnn.deterministic = True


def arithmetic(device: torch.device, precision: Precision) -> torch.autocast:
    """Return a context in which convolutions and products run in `precision`.

    `precision` is `float32` or `bfloat16`; batch norm's statistics, losses and weights stay in
    float32.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
