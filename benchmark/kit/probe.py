"""The process in which one plugin's components are checked.

usage: python -m benchmark.kit.probe REQUEST FINDINGS

A line of JSON is added to FINDINGS for each component, as soon as it has been checked.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from benchmark.config import Config
from benchmark.errors import UserError
from benchmark.kit import early
from benchmark.kit.configure import Asked, configure
from benchmark.kit.findings import Book, Rule
from benchmark.kit.instances import judge_instances
from benchmark.kit.places import source_root
from benchmark.kit.subject import Subject
from benchmark.loading.origin import KINDS, Kind, Origin
from benchmark.plugins import load_origin

if TYPE_CHECKING:
    from benchmark.kit.bench import Bench
    from benchmark.kit.case import TinyCase

METHODS: dict[Kind, str] = {
    "defense": "repair",
    "attack": "attack",
    "metric": "compute",
    "dataset": "load",
    "model": "build",
}


@dataclass
class _Check:
    """One component on its way through the rules."""

    subject: Subject
    spec: Any
    book: Book
    options: BaseModel | None = None
    asked: Asked | None = None
    config: Config | None = None
    seconds: float = field(default=0.0)


def main() -> None:
    """Check the components of the request, which all come from one plugin."""
    request = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    findings = Path(sys.argv[2])
    subjects = [
        Subject(**{**one, "origin": Origin.from_json(one["origin"]), "keys": tuple(one["keys"])})
        for one in request["subjects"]
    ]
    checks = _before_torch(subjects, request)
    case: TinyCase | None = None
    for check in checks:
        started = time.monotonic()
        if check.options is not None:
            from benchmark.kit.case import TinyCase

            if case is None and check.subject.kind in ("defense", "attack"):
                case = TinyCase.make()
            _with_torch(check, case)
        seconds = check.seconds + time.monotonic() - started
        line = {"findings": [asdict(one) for one in check.book.findings()], "seconds": seconds}
        with findings.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _before_torch(subjects: list[Subject], request: dict[str, Any]) -> list[_Check]:
    """Import the plugin, and check what can be checked without torch."""
    root = source_root(subjects[0].origin)
    seen: list[str] = []
    with early.watching_torch(root, seen):
        specs = load_origin(subjects[0].origin)
    checks = []
    for subject in subjects:
        expected = KINDS[subject.kind][1]
        found = (s for s in specs if isinstance(s, expected) and s.name == subject.name)
        check = _Check(subject, next(found), Book(subject.kind))
        started = time.monotonic()
        check.book.reached(Rule.CONTRACT)
        early.judge_import(seen, check.book)
        early.judge_options(check.spec, check.book)
        if subject.kind == "defense" and not check.book.failed(Rule.OPTIONS):
            early.judge_terms(check.spec, check.book)
        check.seconds = time.monotonic() - started
        checks.append(check)
    for check in checks:
        _configure(check, request, root)
        _judge_name(check.subject, check.book)
    return checks


def _judge_name(subject: Subject, book: Book) -> None:
    """Note that another plugin offers the same: no run would know which is meant."""
    if subject.collision:
        book.fail(
            Rule.CONTRACT,
            f"{subject.collision}: every run that sees both is refused",
            where=subject.where,
            mend="give it another name, or uninstall the other",
        )


def _configure(check: _Check, request: dict[str, Any], root: Path) -> None:
    """Make the options as a run would; an attack is asked for its instances, as by a plan."""
    data_dir = Path(request["data_dir"]) if request["data_dir"] else None
    asked = Asked(request["sets"], data_dir, request["timeout_s"], request["known"])
    book, kind = check.book, check.subject.kind
    try:
        config = configure(check.subject, asked)
    except UserError as error:
        if not book.failed(Rule.OPTIONS):
            mend = "a run with the preset quick has to work without any --set"
            book.fail(Rule.OPTIONS, str(error), mend=mend)
        return
    chosen = {
        "defense": lambda: next(c for c in config.defenses if c.spec.name == check.subject.name),
        "attack": lambda: config.attacks[0],
        "metric": lambda: next(c for c in config.metrics if c.spec.name == check.subject.name),
        "dataset": lambda: config.dataset,
        "model": lambda: config.model,
    }[kind]()
    check.asked, check.config = asked, config
    if kind == "attack":
        seen: list[str] = []
        with early.watching_torch(root, seen):
            judge_instances(config, book)
        if seen:
            early.judge_import(seen, book)
        if book.failed(Rule.CONTRACT):
            return
    check.options = chosen.options


def _with_torch(check: _Check, case: TinyCase | None) -> None:
    """Apply the rules that need torch."""
    subject, book, root = check.subject, check.book, source_root(check.subject.origin)
    assert check.options is not None
    assert check.asked is not None
    method = METHODS[subject.kind]
    made = early.judge_factory(check.spec, check.options, method, root, book)
    if made is None:
        return
    match subject.kind:
        case "defense":
            from benchmark.kit.rules.defense import judge_defense

            judge_defense(check.spec.under(check.options), _bench(check, case), root, book)
        case "attack":
            from benchmark.kit.rules.attack import judge_attack

            judge_attack(_bench(check, case), root, book)
        case "metric":
            from benchmark.kit.rules.metric import judge_metric

            judge_metric(check.spec, made, root, book)
        case "dataset":
            from benchmark.kit.rules.dataset import judge_dataset

            spec = check.spec.under(check.options, check.asked.data_dir)
            judge_dataset(spec, made, check.options, check.asked.data_dir, root, book)
        case "model":
            from benchmark.kit.rules.model import judge_model

            judge_model(made, root, book)


def _bench(check: _Check, case: TinyCase | None) -> Bench:
    from benchmark.kit.bench import Bench

    assert case is not None
    assert check.config is not None
    assert check.asked is not None
    return Bench(case, check.subject, check.config, check.asked.timeout_s)


if __name__ == "__main__":
    main()
