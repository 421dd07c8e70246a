"""A `PYTHONPATH` of relative folders: what the driver imports, a job imports too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
STEP = """
import sys
from pathlib import Path

import beside
from benchmark.sandbox.keeper import forget_nursery
from benchmark.sandbox.trusted import carry_out_step

print(carry_out_step("beside:told", "found", 1, Path(sys.argv[1]), 100.0))
forget_nursery()
"""


def test_a_relative_pythonpath_holds_in_the_processes_of_jobs(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "work").mkdir()
    code = "def told(text):\n    return text + ' beside'\n"
    (tmp_path / "lib" / "beside.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", STEP, str(tmp_path / "work")],
        env={**os.environ, "PYTHONPATH": f"lib{os.pathsep}{ROOT}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout == "found beside\n", done.stderr
