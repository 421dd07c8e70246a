"""What a result was measured on: packages, plugins, revision, hardware. No torch."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("backdoor-bench", "torch", "torchvision", "numpy", "scikit-learn", "safetensors")


@lru_cache(maxsize=1)
def software() -> dict[str, Any]:
    """Return Python's and the packages' versions and the source tree's git revision, if any."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git_revision": _git_revision(),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _git_revision() -> str:
    """Return the harness's own revision: of the checkout, or of that which it was built from."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        built = Path(__file__).with_name("_revision.txt")  # .ci/revision.py writes it
        return built.read_text("utf-8").strip() if built.exists() else ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def hardware(device: str, threads: int) -> dict[str, Any]:
    """Return the processor and memory, and how they are used."""
    return {
        "system": platform.platform(terse=True),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_mib": psutil.virtual_memory().total // 2**20,
        "device": device,
        "threads": threads,
    }


@lru_cache(maxsize=1)
def _processor() -> str:
    """Return the processor's name as Linux gives it, or else as Python does."""
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
