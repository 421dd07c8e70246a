"""The tiny case as the harness would run it: the jobs of a real plan, carried out by a worker."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.config import Config
from benchmark.granted import usable_memory
from benchmark.jobs import Job, Report, TrialJob, VictimJob
from benchmark.kit.case import TinyCase
from benchmark.kit.findings import Book, Rule
from benchmark.kit.places import last_line
from benchmark.kit.subject import Subject
from benchmark.plan import Machine, make_plan
from benchmark.store.artifacts import ArtifactStore
from benchmark.worker import perform


@dataclass(frozen=True)
class Bench:
    """The tiny case and the jobs in which a defense or an attack meets it."""

    case: TinyCase
    subject: Subject
    config: Config
    timeout_s: float

    def trial(self) -> TrialJob:
        """Return the job of the defense on the tiny victim."""
        for planned in self._plan().jobs:
            job = planned.job
            if isinstance(job, TrialJob) and job.defense.name == self.subject.name:
                # Metrics run in this process; the subject's neighbours must not answer for it.
                metrics = tuple(one for one in job.metrics if one.origin["kind"] == "builtin")
                artifact = self._artifacts.add(self.case.victim)
                return job.model_copy(update={"artifact": artifact, "metrics": metrics})
        raise AssertionError("a plan holds every defense that was asked for")

    def attack(self) -> VictimJob:
        """Return the job of the attack's first instance on the tiny clean model."""
        for planned in self._plan().jobs:
            if isinstance(planned.job, VictimJob):
                artifact = self._artifacts.add(self.case.base)
                return planned.job.model_copy(update={"artifact": artifact})
        raise AssertionError("an attack without instances is refused before")

    def perform(self, job: Job, device: str = "cpu") -> Report:
        """Carry out a job in a process of its own, and reload and score what it wrote."""
        setup = job.setup.model_copy(update={"device": device})
        job = job.model_copy(update={"setup": setup})
        progress = Path(self.case.folder.name) / "progress"
        return Report.model_validate_json(perform(job.model_dump_json(), str(progress)))

    @property
    def _artifacts(self) -> ArtifactStore:
        return ArtifactStore(Path(self.case.folder.name) / "results")

    def _plan(self) -> Any:
        machine = Machine(
            device="cpu",
            workers=1,
            cores=1,
            memory_mib=usable_memory() // 2**20,
            timeout_s=self.timeout_s,
            out=str(Path(self.case.folder.name) / "results"),
        )
        return make_plan(self.config, self.case.dataset, machine)


_OUTCOME = re.compile(r"must return an Outcome|Outcome\.models|holds no model")


def blame(report: Report, root: Path, book: Book) -> None:
    """Note a failed job under the rule that it broke."""
    where = last_line(report.log, root)
    if report.error.startswith("UndeclaredKnowledge"):
        blame_reading(report.error.partition(": ")[2], where, book)
    elif _OUTCOME.search(report.error):
        book.fail(
            Rule.CONTRACT,
            report.error,
            where=where,
            mend="return Outcome([model]) with one or more repaired torch modules",
        )
    else:
        book.reached(Rule.CONTRACT)
        book.fail(
            Rule.ARTIFACT,
            report.error,
            where=where,
            mend="it must end by itself within the time limit and give a model of the "
            "architecture that it was given, with finite weights of the same shapes and types",
        )


def blame_reading(text: str, where: str, book: Book) -> None:
    """Note that a defense read what it had not declared."""
    book.fail(
        Rule.KNOWLEDGE,
        text,
        where=where,
        mend="do without it, or add it to needs: every table then shows that it is told",
    )


def numbers(report: Report) -> str:
    """Return what was measured on the tiny case, in words."""
    before, after = report.before, report.metrics
    if not after:
        return f"ASR {before['asr']:.0%}, clean accuracy {before['clean_accuracy']:.0%} here"
    asr, accuracy = (after.get(name) for name in ("asr", "clean_accuracy"))
    if asr is None or accuracy is None:
        return "scored"
    return (
        f"on the tiny case: ASR {before['asr']:.0%} → {asr:.0%}, "
        f"clean accuracy {before['clean_accuracy']:.0%} → {accuracy:.0%}"
    )
