"""What `oracle` is, without importing torch."""

from __future__ import annotations

from pydantic import Field

from benchmark.api import DefenseSpec, FineTune, Knowledge, Options, Role, hookimpl, lazy


class OracleOptions(Options):
    """Options of `oracle`; the defaults are the paper's (supplement, C 3)."""

    retrain: FineTune = Field(FineTune(), description="the retraining's settings")


@hookimpl
def bench_defenses() -> list[DefenseSpec]:
    """Offer the oracle."""
    return [
        DefenseSpec(
            name="oracle",
            version="1",
            summary="retrain with the attacker's own trigger: the ceiling, never ranked",
            factory=lazy("bench_oracle.defense:Oracle"),
            options=OracleOptions,
            needs=frozenset({Knowledge.WEIGHTS, Knowledge.CLEAN_IMAGES, Knowledge.TRIGGER_PIXELS}),
            paper="the ideal case of Qiao, Yang, Li, NeurIPS 2019, arXiv 1910.04749",
            role=Role.ORACLE,
        )
    ]
