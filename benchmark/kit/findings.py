"""What a check found: a finding for each rule, with the place and how to mend it. No torch."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from benchmark.loading.origin import Kind

Status = Literal["passed", "failed", "not checked"]


class Rule(StrEnum):
    """What every plugin has to keep to, in the order in which it is checked."""

    CONTRACT = "contract"
    IMPORT = "import"
    OPTIONS = "options"
    ARTIFACT = "artifact"
    KNOWLEDGE = "knowledge"
    DETERMINISM = "determinism"
    INPUTS = "inputs"
    GLOBALS = "globals"
    DEVICE = "device"


DEMANDS: Mapping[Rule, str] = {
    Rule.CONTRACT: "the spec, and what its functions return, are what benchmark.api describes",
    Rule.IMPORT: "importing the plugin does not import torch",
    Rule.OPTIONS: "defaults are valid, unknown keys are refused, values survive JSON",
    Rule.ARTIFACT: "the harness can run it, and reload and score what it gives",
    Rule.KNOWLEDGE: "it reads only what its spec declares",
    Rule.DETERMINISM: "the same seed gives the same result to the last bit",
    Rule.INPUTS: "what it is given is left as it was",
    Rule.GLOBALS: "global random generators and torch's settings are left as they were",
    Rule.DEVICE: "it computes where the harness says",
}

_ALL_BUT_KNOWLEDGE = tuple(rule for rule in Rule if rule is not Rule.KNOWLEDGE)

APPLIES: Mapping[Kind, tuple[Rule, ...]] = {
    "defense": tuple(Rule),
    "attack": _ALL_BUT_KNOWLEDGE,
    "metric": tuple(rule for rule in Rule if rule is not Rule.DEVICE),
    "dataset": tuple(rule for rule in _ALL_BUT_KNOWLEDGE if rule is not Rule.INPUTS),
    "model": tuple(rule for rule in _ALL_BUT_KNOWLEDGE if rule is not Rule.INPUTS),
}
"""Kind of component → the rules that mean something for it."""


@dataclass(frozen=True)
class Finding:
    """How one component stands to one rule."""

    rule: Rule
    status: Status
    what: str
    """What is wrong, or what was seen; one line."""
    where: str = ""
    """`file:line`, if it is known."""
    mend: str = ""
    """What to do about it; empty if the rule is kept."""


@dataclass
class Book:
    """Collects findings while a component of one kind is checked."""

    kind: Kind
    _failures: dict[Rule, list[Finding]] = field(default_factory=dict)
    _kept: dict[Rule, str] = field(default_factory=dict)

    def fail(self, rule: Rule, what: str, *, where: str = "", mend: str) -> None:
        """Note that a rule is broken; the same words are noted once."""
        finding = Finding(rule, "failed", " ".join(what.split()), where, mend)
        failures = self._failures.setdefault(rule, [])
        if finding not in failures:
            failures.append(finding)

    def reached(self, *rules: Rule, what: str = "") -> None:
        """Note that rules were looked at: each is kept unless a failure is noted."""
        for rule in rules:
            self._kept[rule] = what

    def failed(self, rule: Rule) -> bool:
        """Say whether a failure of the rule is noted."""
        return rule in self._failures

    def findings(self) -> tuple[Finding, ...]:
        """Return at least one finding for each rule that applies."""
        return tuple(finding for rule in APPLIES[self.kind] for finding in self._of(rule))

    def _of(self, rule: Rule) -> list[Finding]:
        if rule in self._failures:
            return self._failures[rule]
        if rule in self._kept:
            return [Finding(rule, "passed", self._kept[rule] or DEMANDS[rule])]
        return [Finding(rule, "not checked", "it did not get that far")]


@dataclass(frozen=True)
class Report:
    """Everything that was found about one component."""

    kind: str
    """A kind of component; `plugin` for a file of which a part could not be loaded."""
    name: str
    origin: str
    findings: tuple[Finding, ...]
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """True if every rule was checked and is kept."""
        return all(finding.status == "passed" for finding in self.findings)

    def __str__(self) -> str:
        """Return the findings as lines that a person can act on."""
        verdict = "passed" if self.passed else "FAILED"
        head = f"{self.kind} {self.name} ({self.origin}): {verdict} in {self.seconds:.1f} s"
        return "\n".join([head, *(in_lines(finding) for finding in self.findings)])


_SIGN: Mapping[Status, str] = {"passed": "ok", "failed": "FAILED", "not checked": "-"}


def in_lines(finding: Finding) -> str:
    """Return a finding as indented lines: the rule, what is wrong, where, how to mend it."""
    margin = " " * 22
    told = f"\n{margin}".join(_wrapped(finding.what, 78))
    lines = [f"  {_SIGN[finding.status]:<7}{finding.rule:<13}{told}"]
    if finding.where:
        lines.append(f"{margin}where: {finding.where}")
    if finding.mend:
        mend = _wrapped(finding.mend, 70)
        lines += [f"{margin}mend:  {mend[0]}", *(f"{margin}       {part}" for part in mend[1:])]
    return "\n".join(lines)


def _wrapped(text: str, width: int) -> list[str]:
    """Return lines of whole words: a path or an option can be copied as it stands."""
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)
