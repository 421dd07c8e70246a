"""A small results folder with everything that a report shows, and names that mean harm."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from benchmark.data_cache import write_meta, write_split
from benchmark.records import ModelRecord, TrialRecord
from benchmark.report.html.write import write_page
from benchmark.store import Store

EVIL = "[red]x</script><script>window.hurt=1</script><img src=x onerror=window.hurt=1>$_\\{{7*7}}"
DATA = "0123456789abcdef0123"
ROLES = {"none": "floor", "fine_tuning": "control", "oracle": "oracle"}
ASR = {"none": 0.97, "fine_tuning": 0.5, "mesa": 0.03, "pixel": 0.12, EVIL: 0.2, "oracle": 0.02}
SECONDS = {"none": 0.03, "fine_tuning": 9.0, "mesa": 22.0, "pixel": 14.0, EVIL: 30.0}
TRIGGERS = {"0": 0.0, "27": 0.4, "170": 1.0, EVIL: 0.7}


def victim(number: int, trigger: str) -> ModelRecord:
    pixels = np.full((3, 3, 3), TRIGGERS[trigger])
    pixels[:, number % 3, 0] = 1.0
    payload = {"base": "base", "trigger": pixels.tolist(), "attack": {"options": {"lr": 0.05}}}
    series = [{"series": "attack", "epoch": n, "loss": 1 / (n + 1)} for n in range(3)]
    made = ModelRecord(f"v{number}", "victim", "done", "", "digits", "small", 0)
    return replace(made, attack="bw3x3", trigger=trigger, target=0, payload=payload, series=series)


def series() -> list[dict[str, Any]]:
    search = [
        {"series": "search", "epoch": epoch, "level": level, "hinge": level / (epoch + 1)}
        for epoch in range(4)
        for level in (0.9, 0.5)
    ]
    answers = {"clean_before": 1, "stamped_before": 0, "clean_after": 1, "stamped_after": 1}
    place = {"series": "examples", "image": 2, "row": 1, "column": 4, "label": 1}
    return [*search, {"series": "retrain", "epoch": 0, "loss": float("nan")}, place | answers]


def trial(defense: str, number: int, trigger: str, **fields: Any) -> TrialRecord:
    asr = min(ASR[defense] + number / 100, 1.0)
    many = {"repeats": 2, "spread": {"asr": {"std": 0.04, "min": 0.0, "max": 0.2}}}
    settings: dict[str, Any] = {
        **{"trial": f"{list(ASR).index(defense)}{number}abcdef", "group": "g", "status": "done"},
        **{"variant_id": f"id of {defense}", "error": "", "dataset": "digits", "model": "small"},
        **{"attack": "bw3x3", "trigger": trigger, "target": 0, "defense": defense},
        **{"version": "1", "variant": "", "setting": "quick", "knowledge": ("weights",)},
        **{"role": ROLES.get(defense, "ranked"), "seed": 0, "victim": f"v{number}"},
        **{"min_asr": 0.9, "asr_before": 0.97, "clean_accuracy_before": 0.95},
        "metrics": {"asr": asr, "clean_accuracy": 0.9 + SECONDS.get(defense, 10) / 1000},
        **{"seconds": SECONDS.get(defense, 10.0), "log": f"one\n{EVIL}\n", "run": "run 1"},
        **{"environment": {"python": "3.11.7", "device": "cpu", "plugin": {"path": "/home/me"}}},
        **(many if defense == "pixel" else {}),
    }
    return TrialRecord(**settings | fields)


def make_results(folder: Path) -> Path:
    draw = np.random.default_rng(0)
    triggers = {"triggers": draw.random((20, 3, 3, 3), dtype=np.float32)}
    with Store.open(folder, write=True, create=True) as store:
        kept = store.artifacts.add(save(triggers))
        base = ModelRecord("base", "base", "done", "", "digits", "small", 0)
        store.put_model(replace(base, payload={"data": DATA}))
        for number, trigger in enumerate(TRIGGERS):
            store.put_model(victim(number, trigger))
            for defense in ASR:
                more = {"series": series(), "triggers_artifact": kept} if defense == "mesa" else {}
                store.put_trial(trial(defense, number, trigger, **more))
        failed = {"status": "failed", "error": f"out of {EVIL}", "metrics": {}}
        store.put_trial(trial("mesa", 1, "27", trial="ffailed", seed=1, **failed))
    return folder


def make_cache(folder: Path) -> Path:
    """Write a prepared data set of ten 8×8 images, each of one grey."""
    place = folder / "datasets" / "digits-1"
    place.mkdir(parents=True)
    images = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 8, 8), np.uint8)
    content = save({"images": images, "labels": np.arange(10) % 2})
    splits = {"test": write_split(place, "test", content)}
    write_meta(place, {"fingerprint": DATA, "splits": splits, "class_names": ["zero", "one"]})
    return folder


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of six defenses on four triggers, one of its trials failed."""
    return make_results(tmp_path_factory.mktemp("report") / "results")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the data set of `results`."""
    return make_cache(tmp_path_factory.mktemp("cache"))


PageMaker = Callable[..., Path]


@pytest.fixture(scope="session")
def make_page(tmp_path_factory: pytest.TempPathFactory) -> PageMaker:
    """Write the report of a results folder and return its file."""

    def make(results: Path, cache: Path, most: int = 40) -> Path:
        file = tmp_path_factory.mktemp("page") / "report.html"
        typed = shlex.join(["bench", "report", "-o", EVIL])
        with Store.open(results, write=False) as store:
            write_page(store, file, f"Report {EVIL}", typed, cache, most)
        return file

    return make


@pytest.fixture(scope="session")
def report(make_page: PageMaker, results: Path, cache: Path) -> Path:
    """The report of `results`."""
    return make_page(results, cache)
