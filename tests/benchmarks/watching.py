"""What it costs to look at a job's processes: by the lists of Linux, and as psutil does.

    python tests/benchmarks/watching.py [--others 200]

Both look by turns at the same family of four processes, beside as many others as are asked for;
prints the medians of the processor's time and their ratio.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import psutil

from benchmark.sandbox.watch import descent

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
NEST = f"import subprocess, time; [subprocess.Popen({SLEEP!r}) for _ in range(3)]; time.sleep(600)"
ROUNDS = 200


def by_lists(root: int) -> int:
    """Return the memory of a family in bytes, as the watch measures it."""
    return sum(psutil.Process(pid).memory_info().rss for pid in descent(root))


def by_table(root: int) -> int:
    """Return the same, asking every process of the machine for its parent."""
    process = psutil.Process(root)
    return sum(one.memory_info().rss for one in [process, *process.children(recursive=True)])


def milliseconds(look: Callable[[int], int], root: int) -> float:
    """Return the processor's time of one look."""
    begun = time.process_time()
    look(root)
    return 1e3 * (time.process_time() - begun)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--others", type=int, default=0, help="more processes on the machine")
    others = parser.parse_args().others
    started = [subprocess.Popen(SLEEP) for _ in range(others)]
    family = subprocess.Popen([sys.executable, "-S", "-c", NEST])
    started.append(family)
    try:
        while len(psutil.Process(family.pid).children()) < 3:
            time.sleep(0.05)
        number = len(psutil.pids())
        taken = [
            (milliseconds(by_lists, family.pid), milliseconds(by_table, family.pid))
            for _ in range(ROUNDS)
        ]
    finally:
        for one in psutil.Process().children(recursive=True):
            one.kill()
        for process in started:
            process.wait()
    lists, table = (statistics.median(column) for column in zip(*taken, strict=True))
    print(f"{number} processes on this machine, medians of {ROUNDS} looks at four of them")
    print(f"by lists {lists:.2f} ms, by the whole table {table:.2f} ms: ratio {table / lists:.1f}")
    print(f"20 looks a second: {2 * lists:.1f} and {2 * table:.1f} % of a core")


if __name__ == "__main__":
    main()
