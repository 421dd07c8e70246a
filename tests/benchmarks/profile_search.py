"""Where the time of a search goes, a textbook's and ours. Run by hand on a quiet machine.

    python tests/benchmarks/profile_search.py [--network NAME] [--saturated SHARE] [--cache MIB]

Takes a step of MESA's search on three sub-models both ways under torch's profiler, and prints the
milliseconds of a step by part of the search and by kind of operation: the time spent in operations
themselves, so that the parts add up to the step but for what Python costs between them.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

sys.path.insert(0, str(Path(__file__).parent))

import speed

from benchmark.primitives.local.trunk import Trunk

KINDS = {
    "convolution_backward": "convolutions, backward",
    "convolution": "convolutions",
    "conv": "convolutions",
    "batch_norm": "batch norms",
    "threshold": "ReLUs",
    "relu": "ReLUs",
    "clamp_min_": "ReLUs",
    "copy_": "copies and pasting",
    "cat": "copies and pasting",
    "index": "copies and pasting",
    "pad": "copies and pasting",
    "fill_": "copies and pasting",
}
"""What an operation's name holds, the first that fits."""
PARTS = {"clean": "clean images", "stamped": "stamped images, forward", "backward": "backward"}
"""What the methods of our frozen network do."""
OUTSIDE = "generators, statistic networks, Adam, logits"


@contextmanager
def marked() -> Iterator[None]:
    """Mark the parts of our frozen network in the profile."""
    usual = {name: getattr(Trunk, name) for name in PARTS}

    def mark(name: str) -> Callable[..., Any]:
        def method(*given: Any) -> Any:
            with record_function(PARTS[name]):
                return usual[name](*given)

        return method

    for name in PARTS:
        setattr(Trunk, name, mark(name))
    try:
        yield
    finally:
        for name, method in usual.items():
            setattr(Trunk, name, method)


def part_of(event: Any, outside: str) -> str:
    """Return the marked part that an operation belongs to; `outside` if it is in none."""
    while event is not None:
        if event.name in PARTS.values():
            return str(event.name)
        event = event.cpu_parent
    return outside


def kind_of(name: str) -> str:
    """Return the kind of operation of a name of torch's."""
    if name in ("aten::add", "aten::add_"):  # not the products with a sum, such as addmm
        return "sums"
    return next((kind for part, kind in KINDS.items() if part in name), "other")


def measured(
    step: Callable[[int], None], rounds: int, outside: str
) -> tuple[Counter[tuple[str, str]], float]:
    """Return milliseconds of a step by part and kind, and in all, after one round unseen."""
    step(0)
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for number in range(1, rounds + 1):
            step(number)
    spent: Counter[tuple[str, str]] = Counter()
    for event in found.events() or []:
        if event.name not in PARTS.values():
            spent[part_of(event, outside), kind_of(event.name)] += (
                event.self_cpu_time_total / 1000 / rounds
            )
    return spent, sum(spent.values())


def show(title: str, spent: Counter[tuple[str, str]], total: float) -> None:
    """Print a table of one way."""
    print(f"\n{title}: {total:.0f} ms a step")
    print(f"| {'part':44s} | {'operations':24s} | {'ms':>6s} | {'share':>5s} |")
    print("| --- | --- | ---: | ---: |")
    for (part, kind), spend in spent.most_common():
        if spend >= total / 100:
            print(f"| {part:44s} | {kind:24s} | {spend:6.1f} | {spend / total:5.0%} |")


def main() -> None:
    """Print both profiles."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--network", choices=list(speed.NETWORKS), default="quarter width")
    parser.add_argument("--saturated", type=float, default=0.8)
    parser.add_argument("--cache", type=float, default=512, metavar="MIB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    bench = speed.Bench(asked.network, asked.rounds, asked.precision, peak=1)
    plain, ours = bench.search_steps(asked.saturated, asked.cache)
    show("textbook", *measured(plain, asked.rounds, "everything"))
    with marked():
        show("ours", *measured(ours, asked.rounds, OUTSIDE))


if __name__ == "__main__":
    main()
