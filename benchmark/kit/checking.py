"""Check plugins: each in a process of its own, which cannot take this one with it. No torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path

from benchmark.errors import UserError
from benchmark.kit.configure import Asked, refuse_sets
from benchmark.kit.findings import APPLIES, Finding, Report, Rule
from benchmark.kit.subject import Subject, find_subjects
from benchmark.loading.origin import Kind

LONGEST_S = 3600
"""For one run on the tiny case."""
_SLACK_S = 60.0
"""What a process may take besides the jobs of its components."""


@dataclass(frozen=True)
class Checked:
    """The reports on everything that was asked for."""

    reports: tuple[Report, ...]

    @property
    def passed(self) -> bool:
        """True if every component keeps every rule."""
        return all(report.passed for report in self.reports)

    def __str__(self) -> str:
        """Return all findings as text."""
        return "\n\n".join(map(str, self.reports))


def check(
    *targets: str | Path,
    sets: Mapping[str, str] | None = None,
    data_dir: Path | None = None,
    timeout_s: float = 60.0,
) -> Checked:
    """Check components by name, or all that plugin files offer, against every rule.

    A text that ends in `.py` or holds a slash is a file. `sets` are options, such as
    `{"my_defense.epochs": "1"}`; `data_dir` is for data sets that read files; `timeout_s` is for
    one run of a defense or attack on the tiny case. Raises `UserError` for an unknown name, for
    an option that nothing of what is checked takes, and for a time that is not from 1 to 3600 s.
    Costs about five seconds for one component, most of it for importing torch.
    """
    if not 1 <= timeout_s <= LONGEST_S:
        raise UserError(f"a timeout of {timeout_s:g} s; from 1 to {LONGEST_S}")
    subjects: list[Subject] = []
    reports: list[Report] = []
    for target in targets:
        found, broken = find_subjects(target)
        subjects += found
        reports += broken
    subjects = list(dict.fromkeys(subjects))
    known: dict[Kind, set[str]] = {}
    for subject in subjects:
        known.setdefault(subject.kind, set()).update(subject.keys)
    asked = Asked(dict(sets or {}), data_dir, timeout_s, known)
    if not reports:  # what could not be loaded may be what an option is for
        refuse_sets(subjects, asked)
    request = {
        "sets": asked.sets,
        "data_dir": str(data_dir) if data_dir else None,
        "timeout_s": timeout_s,
        "known": {kind: sorted(keys) for kind, keys in known.items()},
    }
    for _, group in groupby(subjects, key=lambda subject: subject.origin):
        reports += _check_plugin(list(group), request)
    return Checked(tuple(reports))


def _check_plugin(subjects: Sequence[Subject], request: Mapping[str, object]) -> list[Report]:
    """Check components of one plugin; whoever ends the process has failed, the others go on."""
    reports: list[Report] = []
    while len(reports) < len(subjects):
        left = subjects[len(reports) :]
        lines, end = _probe(left, request)
        for subject, line in zip(left, lines, strict=False):
            findings = tuple(_finding(one) for one in line["findings"])
            reports.append(_report(subject, findings, line["seconds"]))
        if len(lines) < len(left):
            reports.append(_broken(left[len(lines)], end))
    return reports


def _probe(subjects: Sequence[Subject], request: Mapping[str, object]) -> tuple[list[dict], str]:
    """Run the checking process; returns its findings, and how it ended if it left some out."""
    with tempfile.TemporaryDirectory(prefix="bench-check-", ignore_cleanup_errors=True) as folder:
        told, findings = Path(folder) / "request.json", Path(folder) / "findings.jsonl"
        plain = [{**asdict(one), "origin": one.origin.to_json()} for one in subjects]
        told.write_text(json.dumps({**request, "subjects": plain}), encoding="utf-8")
        limit = _SLACK_S + 6 * float(str(request["timeout_s"])) * len(subjects)
        # One thread and one order of hashes, as a plugin has in a run.
        one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "benchmark.kit.probe", str(told), str(findings)],
                env={**os.environ, **one},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=limit,
                check=False,
            )
            said = done.stdout.decode("utf-8", errors="replace").strip().splitlines()
            end = f"the checking process ended with status {done.returncode}"
            end += f": {said[-1]}" if said else ""
        except subprocess.TimeoutExpired:
            end = f"the checking process was still at it after {limit:.0f} s"
        written = findings.read_text("utf-8").splitlines() if findings.exists() else []
        return [json.loads(line) for line in written], end


def _finding(plain: Mapping[str, str]) -> Finding:
    return replace(Finding(**plain), rule=Rule(plain["rule"]))  # type: ignore[arg-type]


def _report(subject: Subject, findings: tuple[Finding, ...], seconds: float) -> Report:
    return Report(subject.kind, subject.name, subject.where, findings, seconds)


def _broken(subject: Subject, end: str) -> Report:
    log = "after a run `bench show TRIAL --log` prints its log"
    mend = f"let errors be exceptions, and end by returning; {log}"
    first = Finding(Rule.CONTRACT, "failed", end, subject.where, mend)
    rest = [
        Finding(rule, "not checked", "it did not get that far")
        for rule in APPLIES[subject.kind]
        if rule is not Rule.CONTRACT
    ]
    return _report(subject, (first, *rest), 0.0)
