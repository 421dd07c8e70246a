"""What a container grants, read from trees of control groups as Linux lays them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.granted import (
    granted_cores,
    granted_memory,
    usable_cores,
    usable_memory,
    visible_cores,
)

Tree = tuple[Path, Path]


def tree(folder: Path, own: str, **files: str) -> Tree:
    """Write control groups below `folder`; in a name `__` is `/` and `DOT` is `.`."""
    for name, text in files.items():
        file = folder / "groups" / name.replace("__", "/").replace("DOT", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    (folder / "own").write_text(own, "utf-8")
    return folder / "groups", folder / "own"


def test_a_container_sees_its_own_limits_at_the_root(tmp_path: Path) -> None:
    files = {"cpuDOTmax": "150000 100000\n", "memoryDOTmax": "8589934592\n"}
    found = tree(tmp_path, "0::/\n", **files)
    assert granted_cores(*found) == 1.5
    assert granted_memory(*found) == 8 * 2**30


def test_the_smallest_limit_around_a_batch_job_holds(tmp_path: Path) -> None:
    found = tree(
        tmp_path,
        "0::/slurm/job_7/step_0\n",
        slurm__job_7__cpuDOTmax="400000 100000",
        slurm__job_7__memoryDOTmax="4294967296",
        slurm__job_7__step_0__cpuDOTmax="max 100000",
        slurm__job_7__step_0__memoryDOTmax="max",
        slurm__other__memoryDOTmax="1",
    )
    assert granted_cores(*found) == 4
    assert granted_memory(*found) == 4 * 2**30


@pytest.mark.parametrize("path", ["/docker/abc", "/"])
def test_version_1_in_a_container(tmp_path: Path, path: str) -> None:
    """The path is the host's, and of the tree only the container's part is there."""
    found = tree(
        tmp_path,
        f"4:memory:{path}\n2:cpu,cpuacct:{path}\n0::/\n",
        memory__memoryDOTlimit_in_bytes="2147483648",
        **{
            "cpu,cpuacct__cpuDOTcfs_quota_us": "200000",
            "cpu,cpuacct__cpuDOTcfs_period_us": "100000",
        },
    )
    assert granted_cores(*found) == 2
    assert granted_memory(*found) == 2 * 2**30


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"cpuDOTmax": "max 100000", "memoryDOTmax": "max"},
        {"cpuDOTmax": "", "memoryDOTmax": "lots"},
        {"cpu__cpuDOTcfs_quota_us": "-1", "cpu__cpuDOTcfs_period_us": "100000"},
    ],
)
def test_without_a_limit_there_is_none(tmp_path: Path, files: dict[str, str]) -> None:
    found = tree(tmp_path, "2:cpu:/\n0::/\n", **files)
    assert granted_cores(*found) == float("inf")
    assert granted_memory(*found) == float("inf")


def test_this_machine_has_cores_and_memory() -> None:
    assert 1 <= usable_cores() <= visible_cores()
    assert usable_memory() > 2**26
