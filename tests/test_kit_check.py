"""Each rule of the kit, proved by a component that breaks it; what is shipped keeps them all."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.kit import Report, check, tiny_case
from benchmark.kit.new import new_file

ROOT = Path(__file__).parents[1]
FILES = Path(__file__).parent / "plugin_files"
BREAKERS, NEIGHBOURS = FILES / "rule_breakers.py", FILES / "bad_neighbours.py"

EXPECTED = {
    "peeks": {"knowledge"},
    "asks": {"knowledge"},
    "drifts": {"determinism"},
    "draws": {"determinism", "globals"},
    "plays": {"globals"},
    "hurries": {"globals"},
    "scribbles": {"inputs"},
    "paints": {"inputs"},
    "wakes": {"inputs"},
    "spoils": {"artifact"},
    "leaves": {"artifact"},
    "shrugs": {"contract"},
    "promises": {"contract"},
    "hides": {"contract", "knowledge"},
    "surprises": {"contract"},
    "idle": {"contract"},
    "careless": {"options", "globals"},
    "contrary": {"options", "artifact"},
    "wanting": {"options"},
    "exotic": {"options", "globals"},
    "nested": {"options", "globals"},
    "misled": {"options", "globals"},
    "mistaken": {"options", "globals"},
    "relabels": {"inputs"},
    "glows": {"contract"},
    "dices": {"determinism"},
    "tensorial": {"contract"},
    "stumbles": {"artifact"},
    "snoops": {"knowledge"},
    "edits": {"inputs"},
    "wavers": {"determinism"},
    "overflows": {"contract"},
    "shuffles": {"determinism"},
    "misnames": {"contract"},
    "narrow": {"contract"},
    "unseeded": {"determinism"},
    "forgets": {"artifact", "device"},
}
"""Component → the rules that it breaks; those that only carry bad options also draw globally."""

SAYS = {
    "peeks": ("view.target", "    target = getattr("),
    "asks": ("view.trigger", "    return Outcome([view.model, view.trigger])"),
    "draws": ("torch's global random generator", "    return shaken(view, 1 + torch.rand"),
    "hurries": ("torch's number of threads", ""),
    "scribbles": ("the model's weights", "        next(view.model.parameters()).mul_(0.9)"),
    "paints": ("the clean images", "    view.clean.images.fill_(7)"),
    "wakes": ("mode", ""),
    "spoils": ("not finite", ""),
    "shrugs": ("must return an Outcome", ""),
    "hides": ("terms() of the default options", '@broken("repair", terms=lambda'),
    "careless": ("any unknown key is taken", "class Careless"),
    "contrary": ("epochs", "class Contrary"),
    "wanting": ("epochs", "class Wanting"),
    "nested": ("inner.an_option is taken", "class Nested"),
    "misled": ("'quik', which is no preset", ""),
    "mistaken": ("unknown option 'mistaken.epochs'", ""),
    "glows": ("outside [0, 1]", ""),
    "stumbles": ("ZeroDivisionError", "    return 1 / int("),
    "snoops": ("Output.TARGET", "    return float(evidence.recovered_target is None)"),
    "overflows": ("labels go from 0 to 8", ""),
    "narrow": ("not (3, 7)", ""),
}
"""Component → what its first failure says, and how the line begins to which it points."""


def failed(report: Report) -> set[str]:
    return {str(finding.rule) for finding in report.findings if finding.status == "failed"}


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    found = check(BREAKERS, timeout_s=300)
    assert not found.passed
    return {report.name: report for report in found.reports}


def test_every_component_of_a_file_is_checked(reports: dict[str, Report]) -> None:
    assert reports.keys() == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_what_breaks_a_rule_is_found_and_nothing_else(
    name: str, reports: dict[str, Report]
) -> None:
    assert failed(reports[name]) == EXPECTED[name], reports[name]


@pytest.mark.parametrize("name", SAYS)
def test_a_failure_says_what_and_where(name: str, reports: dict[str, Report]) -> None:
    words, line = SAYS[name]
    failures = [one for one in reports[name].findings if one.status == "failed"]
    finding = next(one for one in failures if words in one.what)
    if line:
        file, _, number = finding.where.rpartition(":")
        assert Path(file) == BREAKERS
        assert BREAKERS.read_text("utf-8").splitlines()[int(number) - 1].startswith(line)


def test_every_failure_says_how_to_mend_it(reports: dict[str, Report]) -> None:
    for report in reports.values():
        for finding in report.findings:
            assert bool(finding.mend) == (finding.status == "failed")
            if finding.status == "failed":
                assert finding.mend in " ".join(str(report).split())


@pytest.fixture(scope="module")
def neighbours() -> dict[str, Report]:
    return {report.name: report for report in check(NEIGHBOURS, timeout_s=300).reports}


def test_torch_at_import_is_found_at_its_line(neighbours: dict[str, Report]) -> None:
    finding = next(one for one in neighbours["fine"].findings if one.rule == "import")
    file, _, line = finding.where.rpartition(":")
    assert Path(file) == NEIGHBOURS
    assert NEIGHBOURS.read_text("utf-8").splitlines()[int(line) - 1] == "import torch"
    assert failed(neighbours["fine"]) == {"import"}


def test_a_device_of_its_own_is_found(neighbours: dict[str, Report]) -> None:
    assert failed(neighbours["choosy"]) == {"import", "device"}


def test_who_ends_the_process_fails_alone(neighbours: dict[str, Report]) -> None:
    finding = neighbours["ends"].findings[0]
    assert (finding.rule, finding.status) == ("contract", "failed")
    assert "status 7" in finding.what


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Call `bench` in this process; returns its status, output and error output."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return int(end.value.code or 0), printed.out, printed.err

    return call


def test_an_unknown_name_is_a_wrong_request(bench) -> None:
    status, out, said = bench("check", "fine_tunnig")
    assert (status, out) == (2, "")
    assert said.startswith("bench: unknown plugin 'fine_tunnig' (did you mean fine_tuning")
    assert said.count("\n") == 1


@pytest.fixture
def together(tmp_path: Path) -> Path:
    """A file with a defense, a metric and a data set; the first and the last have options."""
    sources = [
        new_file(kind, f"my-{kind}", tmp_path)[0].read_text("utf-8")
        for kind in ("defense", "metric", "dataset")
    ]
    future = "from __future__ import annotations\n"
    file = tmp_path / "together.py"
    file.write_text(future + "".join(source.replace(future, "") for source in sources), "utf-8")
    return file


def test_each_component_gets_the_options_that_are_for_it(together: Path) -> None:
    sets = {"my-defense.shrink": "0.9", "dataset.seed": "5", "run.threads": "1"}
    found = check(together, sets=sets)
    assert len(found.reports) == 3
    assert found.passed, found


def test_an_option_that_one_of_two_data_sets_has_is_for_that_one(tmp_path: Path) -> None:
    with_seed = new_file("dataset", "first", tmp_path)[0].read_text("utf-8")
    other = with_seed.replace("first", "second").replace("First", "Second")
    assert other.count("seed: int = Field") == 1
    future = "from __future__ import annotations\n"
    file = tmp_path / "both.py"
    renamed = other.replace("seed: int = Field", "start: int = Field").replace(
        "options.seed", "options.start"
    )
    hook = "@hookimpl\ndef bench_datasets"
    assert with_seed.count(hook) == renamed.count("    return [\n") == 1
    both = with_seed.replace(hook, "def firsts")
    both += renamed.replace("    return [\n", "    return [\n        *firsts(),\n")
    file.write_text(future + both.replace(future, ""), "utf-8")
    found = check(file, sets={"dataset.seed": "5"})
    assert [report.name for report in found.reports] == ["first", "second"]
    assert found.passed, found


def test_retraining_that_nothing_has_is_refused_though_a_control_of_the_run_has_it(bench) -> None:
    status, out, said = bench("check", "none", "--set", "retrain.epochs=1")
    assert (status, out) == (2, "")
    assert said == "bench: --set retrain.epochs: no defense that is checked has this option\n"


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("my-defense.shrnk", "unknown option 'my-defense.shrnk' (did you mean my-defense.shrink"),
        ("dataset.sed", "unknown option 'dataset.sed' (did you mean dataset.seed"),
        ("my-defence.shrink", "nothing in this run is called 'my-defence' (did you mean my-def"),
        ("my-metric.shrink", "nothing in this run is called 'my-metric'"),
        ("my-defense.retrain.epochs", "my-defense.retrain.epochs = '-3': input should be greater"),
    ],
)
def test_a_wrong_option_is_no_fault_of_the_plugin(bench, together: Path, key, says) -> None:
    status, out, said = bench("check", together, "--set", f"{key}=-3")
    assert (status, out) == (2, "")
    assert said.startswith("bench: ")
    assert says in said
    assert said.count("\n") == 1


def test_what_lies_in_the_current_folder_is_not_taken_for_the_harness(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    new_file("metric", "mine", tmp_path)
    (tmp_path / "benchmark.py").write_text("raise SystemExit('somebody's project')")
    (tmp_path / "torch.py").write_text("raise SystemExit('notes on torch')")
    monkeypatch.chdir(tmp_path)
    found = check("mine.py", "der")
    assert found.passed, found


def test_a_name_that_a_run_would_refuse_breaks_the_contract(
    monkeypatch: pytest.MonkeyPatch, write_defense, tmp_path: Path
) -> None:
    file = write_defense("fine_tuning", "site/bench_mine.py")
    info = file.parent / "bench_mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-mine\nVersion: 1\n")
    [by_file] = check(file).reports
    (info / "entry_points.txt").write_text("[backdoor_bench]\nmine = bench_mine\n")
    monkeypatch.syspath_prepend(file.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(file.parent), str(ROOT)]))
    by_name = check("fine_tuning").reports
    assert len(by_name) == 2
    [of_the_package] = check(file).reports
    offers = {
        by_file: f"{file}:2 and built in",
        of_the_package: f"{file}:2 and built in",  # the file is no rival of its package
        **dict.fromkeys(by_name, "built in and package bench-mine 1 (bench_mine)"),
    }
    for report, both in offers.items():
        said = [one.what for one in report.findings if one.status == "failed"]
        offered = f"two plugins offer the defense 'fine_tuning': {both}: every run"
        assert any(one.startswith(offered) for one in said), report
        assert "contract" in failed(report)


@pytest.mark.parametrize("seconds", ["nan", "inf", "1e300", "0"])
def test_a_time_that_no_check_takes_is_a_wrong_request(bench, seconds: str) -> None:
    status, out, said = bench("check", "asr", "--timeout", seconds)
    assert (status, out) == (2, "")
    assert "--timeout" in said
    assert "unexpected" not in said


def test_a_file_that_cannot_be_loaded_has_failed_with_its_line(bench, write_plugin) -> None:
    file = write_plugin("@hookimpl\ndef bench_defenses():\n    return [1 / 0]\n")
    status, out, _ = bench("check", file)
    assert status == 1
    assert "line 4: ZeroDivisionError" in out
    assert "mend:" in out


def test_what_is_shipped_keeps_every_rule(bench) -> None:
    metrics = ("asr", "clean_accuracy", "robust_accuracy", "der")
    status, out, _ = bench("check", "none", "fine_tuning", *metrics, "bw3x3", "digits", "--json")
    found = json.loads(out)
    assert status == 0, out
    assert [report["passed"] for report in found] == [True] * 8
    assert {one["status"] for report in found for one in report["findings"]} == {"passed"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["mesa", "pixel_baseline", "oracle", "rgb3x3", "small-resnet", "resnet18"]
)
def test_the_rest_of_what_is_shipped_keeps_every_rule(name: str) -> None:
    found = check(name)
    assert found.passed, found


def test_the_tiny_case_is_a_backdoor_that_works() -> None:
    case = tiny_case()
    assert case.asr(case.model()) > 0.95
    assert case.clean_accuracy(case.model()) > 0.95
    assert case.asr(case.model(backdoored=False)) < 0.2
