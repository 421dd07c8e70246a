"""How long the paper's grids take on many workers, on a virtual clock, against the lower bound.

    python tests/benchmarks/schedule.py [--seeds 1 3 5] [--workers 1 8 64 512] [--draw 0]

The graph is that of the paper's three grids: a base model for each data set and seed, 51 + 10 + 10
victims a seed, and on each of them the rows of the paper's tables and the controls. A job takes the
seconds of a job of its kind that was measured, drawn at random; the scheduler knows their means.

The bound is max(longest chain, work / workers). It leaves out that nothing but base models can run
until the first of them is there; the stricter bound beside it does not.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from benchmark.scheduler import Scheduler, Task

MEASURED = Path(__file__).parents[2] / "docs" / "cifar10-cpu.csv"
GRIDS = {"cifar10": 51 + 10, "cifar100": 10}
PAPERS = ("none", "fine_tuning", "mesa", "pixel_baseline", "oracle")
BASE_S = (11 * 60.0,)
VICTIM_S = 8 * 60.0
"""Both from docs/cifar10-cpu.md. An attack
and `fine_tuning` train likewise, so an attack varies as that does."""
PATTERNS = 10 / 2
"""The paper's patterns a victim, over those of the measured runs."""


@dataclass(frozen=True)
class Case:
    """A graph with the seconds that the scheduler expects and those that come to pass."""

    tasks: tuple[Task, ...]
    takes: Mapping[str, float]

    def bound(self, workers: int) -> float:
        """Return max(longest chain, work / workers), in seconds."""
        chains: dict[str, float] = {}
        for task in self.tasks:
            chains[task.id] = self.takes[task.id] + chains.get(task.needs, 0.0)
        return max(max(chains.values()), sum(self.takes.values()) / workers)

    def strict_bound(self, workers: int) -> float:
        """Return a bound that knows that all but the base models wait for the first of these."""
        bases = [self.takes[task.id] for task in self.tasks if not task.needs]
        busy = min(len(bases), workers)
        rest = sum(self.takes.values()) - busy * min(bases)
        return max(self.bound(workers), min(bases) + rest / workers)

    def makespan(self, workers: int) -> float:
        """Return when the last task ends if the harness's scheduler hands them out."""
        scheduler = Scheduler(self.tasks, ahead=workers, retries=0)
        now, running = 0.0, list[tuple[float, str]]()
        while not scheduler.is_finished:
            while (task := scheduler.next(workers)) is not None:
                heapq.heappush(running, (now + self.takes[task.id], task.id))
            now, ended = heapq.heappop(running)
            scheduler.done(ended)
        return now


def measured() -> dict[str, list[float]]:
    """Return the seconds of the measured trials of each defense."""
    seconds: dict[str, list[float]] = {}
    with MEASURED.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["attack"] != "bw3x3" or row["variant"] or row["defense"] not in PAPERS:
                continue  # variants of a defense, controls of another kind
            seconds.setdefault(row["defense"], []).append(float(row["seconds"]))
    return seconds


def paper(seeds: int, draw: int) -> Case:
    """Return the paper's grids: 71 victims a seed, eight trials on each."""
    random_, seen = random.Random(draw), measured()
    attack = [VICTIM_S * s / fmean(seen["fine_tuning"]) for s in seen["fine_tuning"]]
    patterns = [PATTERNS * s for s in seen["pixel_baseline"]]
    rows = {f"mesa {beta}": seen["mesa"] for beta in ("ensemble", 0.9, 0.8, 0.5)}
    rows |= {"pixel_baseline": patterns} | {n: seen[n] for n in ("oracle", "fine_tuning", "none")}
    pools: dict[Task, Sequence[float]] = {}

    def add(name: str, needs: str, pool: Sequence[float], block: int) -> str:
        pools[Task(name, needs, fmean(pool), block)] = pool
        return name

    bases = {
        (data, seed): add(f"base {data} {seed}", "", BASE_S, -1)
        for seed in range(seeds)
        for data in GRIDS
    }
    block = 0
    for (data, seed), base in bases.items():
        for number in range(GRIDS[data]):
            victim = add(f"victim {data} {seed} {number}", base, attack, block)
            for name, pool in rows.items():
                add(f"{name} on {victim}", victim, pool, block)
            block += 1
    return Case(tuple(pools), {task.id: random_.choice(pool) for task, pool in pools.items()})


def table(seeds: Sequence[int], workers: Sequence[int], draw: int) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| seeds | jobs | workers | bound h | makespan h | over the bound | over the strict one |"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for count in seeds:
        case = paper(count, draw)
        for number in workers:
            took, bound = case.makespan(number), case.bound(number)
            strict = case.strict_bound(number)
            yield (
                f"| {count} | {len(case.tasks)} | {number} | {bound / 3600:.2f} | "
                f"{took / 3600:.2f} | {_over(took, bound)} | {_over(took, strict)} |"
            )


def _over(took: float, bound: float) -> str:
    return f"{max(0.0, took / bound - 1):.1%}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 3, 5])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 64, 512])
    parser.add_argument("--draw", type=int, default=0, help="seed of the drawn times")
    chosen = parser.parse_args()
    print("\n".join(table(chosen.seeds, chosen.workers, chosen.draw)))


if __name__ == "__main__":
    main()
