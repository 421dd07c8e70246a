"""What isolation costs: one defense in the scorer's own process, and in the sandbox, by turns.

usage: python tests/benchmarks/isolation.py [--rounds 7] [--defense none] [--json FILE]

By hand, on a machine that does nothing else. Both ways read the same inbox, run the same
fine-tuning (or nothing: `none`) and write the same files; the difference is the process: its
start, the seal, the watching. Prints medians in seconds, the cost of a trial, and what part of a
minute that is.
Scoring is not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

LIMIT_S, LIMIT_PART = 3.0, 0.02
MIB = 4096
OPTIONS: dict[str, dict[str, object]] = {"fine_tuning": {"retrain": {"epochs": 1}}, "none": {}}
DEFENSE = "fine_tuning"


def make_folder(root: Path, name: str) -> object:
    """Return a job's folder with a network, 500 clean images and a request to fine-tune it."""
    import torch
    from safetensors.torch import save_file

    from benchmark.building import build_classifier
    from benchmark.builtin.plugin import bench_defenses, bench_models
    from benchmark.jobs import Component
    from benchmark.loading.importing import BUILTIN
    from benchmark.sandbox.files import JobFolder, Request
    from benchmark.sandbox.reach import readable
    from benchmark.types import DatasetInfo

    def component(kind: str, specs: list, wanted: str, **options: object) -> Component:
        spec = next(one for one in specs if one.name == wanted)
        chosen = spec.options(**options).model_dump(mode="json")
        return Component(
            kind=kind, name=wanted, version=spec.version, origin=BUILTIN.to_json(), options=chosen
        )

    info, mean = DatasetInfo(10, (32, 32)), (0.5, 0.5, 0.5)
    model = component("model", bench_models(), "resnet18", width=8)
    folder = JobFolder(root / name)
    folder.create()
    torch.manual_seed(0)
    weights = build_classifier(model, info, mean, mean).state_dict()
    save_file(
        {key: value.contiguous() for key, value in weights.items()},
        folder.inbox / "model.safetensors",
    )
    images = torch.randint(0, 256, (500, 3, 32, 32), dtype=torch.uint8)
    labels = torch.arange(500) % 10
    save_file({"images": images, "labels": labels}, folder.inbox / "clean.safetensors")
    request = Request(
        task="repair",
        info=info,
        mean=mean,
        std=mean,
        model=model,
        device="cpu",
        threads=1,
        seed=1,
        seconds=600,
        disk_mib=MIB,
        readable=readable([root]),
        plugin=component("defense", bench_defenses(), DEFENSE, **OPTIONS[DEFENSE]),
    )
    (folder.inbox / "request.json").write_text(request.model_dump_json(), encoding="utf-8")
    return folder


def in_process(root: Path, name: str) -> float:
    """Return the seconds of the defense beside the scorer."""
    from benchmark.sandbox.files import Request
    from benchmark.sandbox.tasks import run_task

    folder = make_folder(root, name)
    started = time.perf_counter()
    request = Request.model_validate_json((folder.inbox / "request.json").read_text("utf-8"))
    run_task(request, folder)
    folder.read_model(0, folder.read_result(), MIB * 2**20)
    return time.perf_counter() - started


def in_sandbox(root: Path, name: str) -> tuple[float, str]:
    """Return the seconds of the defense in a process of its own, and what sealed it."""
    from benchmark.sandbox.launch import Limits, launch

    folder = make_folder(root, name)
    started = time.perf_counter()
    exit_ = launch(folder, 1, Limits(600, 64 * 1024, MIB))
    assert not exit_.reason, exit_
    folder.read_model(0, folder.read_result(), MIB * 2**20)
    return time.perf_counter() - started, folder.read_sealed()


def main() -> None:
    """Measure, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--defense", choices=OPTIONS, default=DEFENSE)
    parser.add_argument("--json", type=Path)
    wanted = parser.parse_args()
    globals()["DEFENSE"] = wanted.defense
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    torch.set_num_threads(1)
    without, within, sealed = [], [], ""
    with tempfile.TemporaryDirectory() as root:
        first, sealed = in_sandbox(Path(root), "first")
        in_process(Path(root), "warm")
        for number in range(wanted.rounds):
            without.append(in_process(Path(root), f"own-{number}"))
            within.append(in_sandbox(Path(root), f"box-{number}")[0])
    cost = statistics.median(box - own for box, own in zip(within, without, strict=True))
    found = {
        "defense": wanted.defense,
        "rounds": wanted.rounds,
        "sealed_by": sealed or "nothing",
        "in_process_s": round(statistics.median(without), 3),
        "in_sandbox_s": round(statistics.median(within), 3),
        "ratio": round(statistics.median(within) / statistics.median(without), 4),
        "cost_s": round(cost, 3),
        "first_trial_of_a_worker_s": round(first, 3),
        "part_of_a_minute": round(cost / 60, 5),
        "within_target": cost <= LIMIT_S and cost / 60 <= LIMIT_PART,
        "each_s": {"in_process": without, "in_sandbox": within},
    }
    print(json.dumps(found, indent=1))
    if wanted.json:
        wanted.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
