"""What makes a node unfit for a run: other software than the driver's. It takes no Ray."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.executors.node import carry_out
from benchmark.executors.parcel import Parcel, Proof
from benchmark.executors.survey import CODE, differences, installed, look

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def here():
    return replace(look(), faults=())


def test_other_code_is_a_difference_and_another_git_revision_is_none(here):
    changed = replace(here, software={**installed(), CODE: "other", "git_revision": "1f0c2a9e"})
    [said] = differences(here, changed)
    assert said.startswith("other code of the harness (git revision 1f0c2a9e) than the driver ")
    # A document was changed, or there is no git.
    for revision in ("1f0c2a9e-dirty", ""):
        noted = replace(here, software={**installed(), "git_revision": revision})
        assert not list(differences(here, noted))


def test_a_node_with_other_code_carries_out_no_job():
    driver = {**installed(), CODE: "other"}
    parcel = Parcel("a job that is not looked at", "", Proof("", ""), driver, {})
    answer = carry_out(parcel, {})
    assert answer.refused.startswith("node ")
    assert "other code of the harness" in answer.refused


def test_the_code_is_that_of_every_module(tmp_path):
    shutil.copytree(ROOT / "benchmark", tmp_path / "benchmark")
    show = "from benchmark.executors.survey import installed; print(installed()['harness_code'])"

    def digest():
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-c", show]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True
        )
        return done.stdout.strip()

    assert digest() == installed()[CODE]
    with (tmp_path / "benchmark" / "report" / "rows.py").open("a") as file:
        file.write("# edited\n")
    assert digest() != installed()[CODE]
