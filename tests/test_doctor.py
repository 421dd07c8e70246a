"""`bench doctor`: what it sees, what it estimates, what it complains of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmark.builtin.datasets.cifar_layout import CIFAR10
from benchmark.cli import main
from benchmark.data import place_without_files, prepare
from benchmark.doctor.diagnosis import Diagnosis, diagnose
from benchmark.doctor.forecast import REFERENCE_RATE, Forecast, Speed, forecast_all
from benchmark.doctor.machine import look_at_machine, look_at_place, prepared_datasets
from benchmark.doctor.words import lines
from benchmark.granted import usable_cores
from benchmark.kit import tiny
from benchmark.loading.importing import BUILTIN
from benchmark.plugins import load_plugins, load_spec
from benchmark.preset import load_preset, preset_names

ROOT = Path(__file__).parents[1]
CACHE = Path("nowhere")


@pytest.fixture(scope="module")
def seen(installed_packages: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict]:
    """What `bench doctor --json` says where a broken package is installed and data is ready."""
    home = tmp_path_factory.mktemp("doctor")
    spec = load_spec(tiny.ORIGIN, "dataset", tiny.DATASET)
    prepare(spec, spec.options(), None, home / "cache")
    done = subprocess.run(
        [sys.executable, "-c", "from benchmark.cli import main; main()", "doctor", "--json"],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(installed_packages), str(ROOT)]),
            "BENCH_CACHE_DIR": str(home / "cache"),
        },
        cwd=home,
        capture_output=True,
        text=True,
    )
    assert done.stdout, done.stderr
    assert not (home / "bench-results").exists()
    return done.returncode, json.loads(done.stdout)


def test_it_names_the_broken_plugin_and_ends_with_status_1(seen) -> None:
    status, found = seen
    assert status == 1
    [broken] = [one for one in found["problems"] if one.startswith("broken plugin")]
    assert "package bench-example-broken 0.3" in broken
    assert "a_library_that_nobody_installed" in broken


def test_it_sees_the_machine_and_the_data(seen) -> None:
    found = seen[1]
    assert found["machine"]["cores"] == usable_cores()
    assert found["machine"]["cores_visible"] == len(os.sched_getaffinity(0))
    assert 0 < found["machine"]["memory_free_mib"] < os.sysconf("SC_PHYS_PAGES") * 4096 / 2**20
    assert found["cache"]["folder"].endswith("/cache")
    assert found["out"]["folder"].endswith("/bench-results")
    assert found["out"]["free_mib"] > 0
    assert [one["name"] for one in found["datasets"]] == [tiny.DATASET]
    assert found["datasets"][0]["train_images"] == 400


def test_it_estimates_every_preset_from_what_it_measured(seen) -> None:
    presets = {one["preset"]: one for one in seen[1]["presets"]}
    assert list(presets) == preset_names()
    for one in presets.values():
        assert one["images_per_second"] > 0
        assert one["seconds"] > 0
        assert "noise" in one["defenses"]  # the third-party one that is installed beside it
    assert presets["quick"]["images_per_second"] > presets["cifar10-bw"]["images_per_second"]
    assert presets["quick"]["seconds"] < presets["cifar10-bw"]["seconds"]
    assert presets["cifar10-bw"]["victims"] == 51


def forecasts(rate: float = 1.0, cache: Path = CACHE, **speed) -> dict[str, Forecast]:
    """Forecast with a machine `rate` times as fast as the reference."""
    here = replace(Speed("cpu", 2, 2), **speed)
    plugins = load_plugins()
    found = forecast_all(
        plugins, here, lambda config: rate * REFERENCE_RATE[config.preset.name], cache
    )
    return {one.preset: one for one in found}


def test_on_the_machine_of_the_figures_they_come_out_as_they_are() -> None:
    for one in forecasts().values():
        figures = load_preset(one.preset).estimate
        jobs = one.victims * figures.victim + one.trials * figures.trial
        assert one.seconds == pytest.approx(figures.base + jobs / 2)


def test_half_the_speed_or_half_the_workers_take_longer() -> None:
    reference = forecasts()["cifar10-cpu"].seconds
    assert forecasts(0.5)["cifar10-cpu"].seconds == pytest.approx(2 * reference, rel=0.05)
    assert 1.4 * reference < forecasts(workers=1)["cifar10-cpu"].seconds < 2 * reference
    assert forecasts(workers=4, cores=4)["cifar10-cpu"].seconds < 0.55 * reference


def test_on_any_number_of_cores_a_trial_waits_for_its_attack() -> None:
    figures = load_preset("quick").estimate
    found = forecasts(workers=512, cores=2)["quick"]
    assert found.seconds == pytest.approx(figures.base + figures.victim + figures.trial)


def test_a_preset_that_cannot_be_resolved_is_a_problem_and_the_others_go_on() -> None:
    plugins = load_plugins()
    tables = {**plugins.tables, "attack": {"rgb3x3": plugins.attacks["rgb3x3"]}}
    found = forecast_all(
        replace(plugins, tables=tables), Speed("cpu", 2, 2), lambda _config: 1.0, CACHE
    )
    said = {one.preset: one.problem for one in found}
    assert "unknown attack 'bw3x3'" in said["quick"]
    assert said["cifar10-rgb"] == ""


def test_a_gpu_that_cannot_compute_is_a_problem_and_the_diagnosis_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _number: "Tesla K40")
    monkeypatch.setattr(torch.nn.Module, "to", fails("CUDA error: no kernel image\nAdvice."))
    found = diagnose(tmp_path / "out", tmp_path / "cache", seconds=0.01)
    [said] = [one for one in found.problems if "Tesla K40" in one]
    assert said.startswith("cuda (Tesla K40) cannot train small-resnet, ")
    assert said.endswith(": RuntimeError: CUDA error: no kernel image")
    assert [one.preset for one in found.presets] == preset_names()
    assert {(one.images_per_second, one.seconds) for one in found.presets} == {(0, None)}
    assert all(one.trials for one in found.presets)
    assert "quick         no estimate (3 victims" in "\n".join(lines(found))


@pytest.mark.usefixtures("as_in_a_run")
def test_devices_that_cannot_be_asked_are_a_problem_and_the_cpu_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", fails("the driver is too old"))
    found = diagnose(tmp_path / "out", tmp_path / "cache", seconds=0.01)
    assert any("RuntimeError: the driver is too old" in one for one in found.problems)
    assert found.devices == ()
    assert all(one.seconds for one in found.presets), found.problems


def fails(message: str):
    def call(*_: object, **__: object):
        raise RuntimeError(message)

    return call


def test_its_words_say_what_is_missing_and_that_times_are_estimates(tmp_path: Path) -> None:
    place = look_at_place(tmp_path / "not" / "there")
    found = Diagnosis(
        machine=replace(look_at_machine(), bfloat16=False, load=64.0),
        devices=(),
        workers=2,
        cache=place,
        out=place,
        datasets=(),
        plugins=12,
        problems=("the roof is on fire",),
        presets=tuple(forecasts().values()),
    )
    text = "\n".join(lines(found))
    assert "no bfloat16" in text
    assert "something else is running" in text
    assert "no CUDA device" in text
    assert "digits: not here yet (Handwritten digits" in text
    assert "estimated" in text
    assert "problem: the roof is on fire" in text
    assert "quick         about " in text


def test_data_is_ready_only_for_the_command_that_finds_it(tmp_path: Path) -> None:
    files, cache = tmp_path / CIFAR10.binary_folder, tmp_path / "cache"
    files.mkdir()
    for name in (*CIFAR10.binary_train, *CIFAR10.binary_test):
        content = b"".join(bytes([label]) + bytes(range(256)) * 12 for label in range(10))
        (files / name).write_bytes(content)
    spec = load_spec(BUILTIN, "dataset", "cifar10")
    prepared = prepare(spec, spec.options(), tmp_path, cache)
    named, other = said_of_cifar10(cache)
    assert named.startswith("data        cifar10: ready from other files, options or versions (50 ")
    assert other.startswith("            as the preset has it: not here yet (CIFAR-10: downloaded")
    prepared.folder.rename(cache / "datasets" / place_without_files(spec, spec.options(), cache))
    assert said_of_cifar10(cache)[0].startswith("data        cifar10: ready (50 training")


def said_of_cifar10(cache: Path) -> list[str]:
    place, presets = look_at_place(cache), tuple(forecasts(cache=cache).values())
    found = Diagnosis(
        machine=look_at_machine(),
        devices=(),
        workers=2,
        cache=place,
        out=place,
        datasets=tuple(prepared_datasets(cache)),
        plugins=12,
        problems=(),
        presets=presets,
    )
    text = list(lines(found))
    at = next(at for at, line in enumerate(text) if line.startswith("data        cifar10:"))
    return text[at : at + 2]


def test_files_that_are_no_data_sets_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "datasets" / "half").mkdir(parents=True)
    (tmp_path / "datasets" / "odd").mkdir()
    (tmp_path / "datasets" / "odd" / "meta.json").write_text('{"name": "odd"}')
    (tmp_path / "datasets" / "notes.txt").touch()
    assert prepared_datasets(tmp_path) == []
    assert prepared_datasets(tmp_path / "nowhere") == []


def test_a_results_folder_that_is_a_file_is_a_wrong_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "results").touch()
    monkeypatch.setattr(sys, "argv", ["bench", "doctor", "--out", str(tmp_path / "results")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(f"bench: {tmp_path / 'results'} is a file")
