"""Defenses and an attack that fail after they have said and noted something."""

from __future__ import annotations

import time

from benchmark.api import (
    AttackInstance,
    AttackSpec,
    DefenseSpec,
    Knowledge,
    Trigger,
    hookimpl,
)
from benchmark.builtin.attack_options import BlackWhiteAttack

PLANE = ((1.0, 0.0), (0.0, 1.0))


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


class Locked:
    """Prints and raises."""

    def __init__(self, _options) -> None:
        pass

    def attack(self, model, train, instance, run):
        print("tried every door")
        raise ValueError("all doors are locked")


@hookimpl
def bench_attacks():
    trigger = Trigger("0", (PLANE, PLANE, PLANE))
    return [
        AttackSpec(
            name="locked",
            version="1",
            summary="raises",
            instances=lambda options, info: [AttackInstance(trigger, 1)],
            factory=Locked,
            options=BlackWhiteAttack,
        )
    ]


@hookimpl
def bench_defenses():
    needs = frozenset({Knowledge.WEIGHTS})
    return [
        DefenseSpec("unlucky", "1", "raises", lambda _: Unlucky(sleeps=False), needs=needs),
        DefenseSpec("sleepy", "1", "sleeps", lambda _: Unlucky(sleeps=True), needs=needs),
    ]
