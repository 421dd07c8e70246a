"""What a cluster costs beside its work: trials that sleep, on three nodes. Run by hand, as root.

    python tests/benchmarks/ray_overhead.py [--seconds 10] [--victims 12]

Sleeping trials need no processor, so three nodes fit on one machine. The same trials run on the
local pool with three workers, on three nodes that share its folders, and on three that share none
and are sent everything. Work is trials × seconds; the rest of what the three slots were open for
is overhead: that of a sealed process and of scoring, which all three pay, and of the cluster.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
NODES = 3


def load(name: str) -> Any:
    """Import a module of the tests by its file."""
    spec = importlib.util.spec_from_file_location(name, TESTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def triggers(count: int) -> str:
    """Return the names of the first triggers of the grid."""
    from benchmark.plugins import load_plugins

    plugins = load_plugins([TESTS / "plugin_files" / "tiny_case.py"])
    spec, info = plugins.attacks["bw3x3"].spec, plugins.datasets["tiny"].spec.info
    found = spec.instances(spec.options(triggers=None), info)[:count]
    return ",".join(instance.trigger.name for instance in found)


def measure(command: Any, words: list[Any], slots: int, work: float) -> tuple[float, float]:
    """Return the overhead over the work, and that without the first trial of each slot."""
    process = command.start(*words)
    begun, ends = time.monotonic(), []
    for line in process.stderr:
        if re.search(r"rattle on .*: ASR", line):
            ends.append(time.monotonic())
    assert process.wait() == 0
    trials = len(ends)
    steady = (ends[-1] - ends[slots - 1]) * slots / (work * (trials - slots)) - 1
    return (ends[-1] - begun) * slots / (work * trials) - 1, steady


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--victims", type=int, default=12, help="a multiple of 3")
    chosen = parser.parse_args()
    conftest, ray_nodes = load("conftest"), load("ray_nodes")
    sets = {"attack__triggers": triggers(chosen.victims), "run__min_asr": 0}
    sets |= {"base__epochs": 1, "attack__epochs": 1}
    with tempfile.TemporaryDirectory() as home:
        command = conftest.Command(Path(home))
        made = Path(home) / "made"
        prepared = command(*command.tiny(made, "--defense", "none", **sets))
        assert prepared.returncode == 0, prepared.stderr
        sets["rattle__seconds"] = chosen.seconds
        print("| where | over the work | without the first of each slot |")
        print("| --- | ---: | ---: |")
        for name in ("local pool", "nodes with common folders", "nodes with nothing in common"):
            out = Path(shutil.copytree(made, Path(home) / name))
            words = command.tiny(out, "--defense", "rattle", "--workers", NODES, **sets)
            nodes = None if name == "local pool" else ray_nodes.Nodes(command)
            try:
                if nodes is not None:
                    words += ["--executor", "ray", "--ray-address", nodes.address]
                    start_nodes(nodes, out, hide="nothing" in name)
                whole, steady = measure(command, words, NODES, chosen.seconds)
                print(f"| {name} | {whole:.1%} | {steady:.1%} |", flush=True)
            finally:
                if nodes is not None:
                    nodes.stop()
                command.prefix, command.extra = (), {}


def start_nodes(nodes: Any, out: Path, *, hide: bool) -> None:
    """Start three nodes; hidden from results, data and plugins if asked."""
    home = nodes.command.home
    for number in range(NODES):
        own, hidden = {}, []
        if hide:
            place = home / f"{out.name} {number}"
            (place / "temporary").mkdir(parents=True)
            own = {"BENCH_CACHE_DIR": str(place / "cache"), "TMPDIR": str(place / "temporary")}
            hidden = [out, home / "cache", TESTS / "plugin_files", nodes.command.temporary]
        nodes.start(str(number), hidden=hidden, **own)


if __name__ == "__main__":
    main()
