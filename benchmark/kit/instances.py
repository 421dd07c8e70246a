"""The rules of an attack's grid, which a plan asks for without torch."""

from __future__ import annotations

from dataclasses import replace

from benchmark.config import Config
from benchmark.errors import UserError
from benchmark.kit.findings import Book, Rule
from benchmark.kit.places import definition
from benchmark.loading.faults import blamed
from benchmark.rehearsal import rehearse


def judge_instances(config: Config, book: Book) -> None:
    """Note whether the one attack of a run answers a plan: instances, and always the same."""
    [attack], info = config.attacks, config.dataset.spec.info
    where = definition(attack.spec.instances)
    try:
        # What a run refuses, and nothing else; the other components have checks of their own.
        rehearse(replace(config, defenses=(), metrics=()))
        with blamed(attack.found.origin):
            found, again = (list(attack.spec.instances(attack.options, info)) for _ in range(2))
            same = found == again
    except UserError as error:
        book.fail(
            Rule.CONTRACT,
            str(error),
            where=where,
            mend="instances(options, info) returns a list of AttackInstance(Trigger(name, pixels), "
            f"target), also for {info.num_classes} classes and images of {info.image_size}",
        )
        return
    if not same:
        book.fail(
            Rule.DETERMINISM,
            "instances() answers differently when it is asked again",
            where=where,
            mend="draw from random.Random(derive_seed(...)), never from the global generator",
        )
