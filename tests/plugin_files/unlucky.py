"""Defenses that fail after they have said and noted something."""

from __future__ import annotations

import time

from benchmark.api import DefenseSpec, Knowledge, hookimpl


class Unlucky:
    """Notes two losses, then raises, or sleeps until it is ended."""

    def __init__(self, sleeps: bool) -> None:
        self.sleeps = sleeps

    def repair(self, view, run):
        print("the search begins")
        for epoch in range(2):
            run.record("search", epoch=epoch, loss=2.0 - epoch)
        run.record("examples", image=0)
        if self.sleeps:
            time.sleep(3600)
        raise ArithmeticError("the loss is no number")


@hookimpl
def bench_defenses():
    needs = frozenset({Knowledge.WEIGHTS})
    return [
        DefenseSpec("unlucky", "1", "raises", lambda _: Unlucky(sleeps=False), needs=needs),
        DefenseSpec("sleepy", "1", "sleeps", lambda _: Unlucky(sleeps=True), needs=needs),
    ]
