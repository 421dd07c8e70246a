"""Two controls: what happens with no defense, and with retraining alone."""

from __future__ import annotations

import copy
from typing import Any

from benchmark.builtin.control_options import FineTuningOptions
from benchmark.context import RunContext
from benchmark.contracts import Outcome, View
from benchmark.primitives import fine_tune


class NoDefense:
    """Returns the backdoored model as it is: the floor."""

    def __init__(self, options: Any) -> None:
        self.options = options

    def repair(self, view: View, run: RunContext) -> Outcome:
        """Return the backdoored model."""
        return Outcome([view.model])


class FineTuning:
    """Retrains on the clean images without any stamp: what retraining alone does."""

    def __init__(self, options: FineTuningOptions) -> None:
        self.options = options

    def repair(self, view: View, run: RunContext) -> Outcome:
        """Return the model after plain fine-tuning, with the other defenses' settings."""
        model = copy.deepcopy(view.model)
        return Outcome([fine_tune(model, view.clean, self.options.retrain, run, stage="retrain")])
