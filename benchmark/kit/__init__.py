"""What a plugin author holds in hand: the conformance check, and a tiny case to test against.

A plugin's own test is one line, with the fixture of `benchmark.pytest_plugin`::

    def test_it_keeps_the_contract(bench_check):
        bench_check("my_defense")

Importing this module does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmark.kit.checking import Checked, check
from benchmark.kit.findings import Finding, Report, Rule

if TYPE_CHECKING:
    from benchmark.kit.case import TinyCase

__all__ = ["Checked", "Finding", "Report", "Rule", "check", "tiny_case"]


def tiny_case() -> TinyCase:
    """Return a backdoored model, its images and its trigger: trained in about a second.

    Importing torch is left to this call. See `TinyCase` for what it offers a test.
    """
    from benchmark.kit.case import TinyCase

    return TinyCase.make()
