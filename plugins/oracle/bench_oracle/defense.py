"""Retrain with the true trigger (supplement of Qiao, Yang, Li, NeurIPS 2019, C 3)."""

from __future__ import annotations

import copy

from bench_oracle.plugin import OracleOptions
from benchmark.api import Outcome, View
from benchmark.primitives import RunContext, fine_tune


class Oracle:
    """The ideal case: no search, the original trigger in every epoch."""

    def __init__(self, options: OracleOptions) -> None:
        self.options = options

    def repair(self, view: View, run: RunContext) -> Outcome:
        """Retrain on clean images of which a part carries the trigger and its true label."""
        trigger = view.trigger
        model = fine_tune(
            copy.deepcopy(view.model),
            view.clean,
            self.options.retrain,
            run,
            trigger_of_epoch=lambda _epoch: trigger,
            stage="retrain",
        )
        return Outcome([model])
