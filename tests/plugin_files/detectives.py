"""Two defenses that say whether there is a backdoor: one always sees it, one never."""

from __future__ import annotations

from typing import Any

from benchmark.api import DefenseSpec, Outcome, Output, View, hookimpl

GIVES = frozenset({Output.MODEL, Output.TARGET})


class Alarmist:
    """Names class 1, whatever the model."""

    target: int | None = 1

    def __init__(self, options: Any) -> None:
        self.options = options

    def repair(self, view: View, run: Any) -> Outcome:
        return Outcome([view.model], target=self.target)


class Calm(Alarmist):
    """Says that there is no backdoor, whatever the model."""

    target = None


@hookimpl
def bench_defenses() -> list[DefenseSpec]:
    return [
        DefenseSpec(name="alarmist", version="1", summary="cries", factory=Alarmist, gives=GIVES),
        DefenseSpec(name="calm", version="1", summary="sleeps", factory=Calm, gives=GIVES),
    ]
