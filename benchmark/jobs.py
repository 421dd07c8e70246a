"""Jobs as the driver sends them to a worker, and reports as they come back: JSON both ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from benchmark.data import PreparedDataset
from benchmark.identity import derive_seed
from benchmark.loading.importing import refuse_changed
from benchmark.loading.origin import Kind, Origin
from benchmark.recipe import BaseRecipe
from benchmark.types import AttackInstance


class Message(BaseModel):
    """Base of everything that travels between processes."""

    # Diagnostics hold NaN: a loss that diverges is what one wants to see.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class Component(Message):
    """A plugin's spec and the options to build it with, found again by where it came from.

    A plugin file's origin has its digest: a process that finds another file there refuses it.
    """

    kind: Kind
    name: str
    version: str
    origin: dict[str, Any]
    options: dict[str, Any]

    @property
    def code_version(self) -> str:
        """Return the version, and of a file the start of its hash: other code has another one.

        Somebody who edits one file does not think of raising its version. Of a package the version
        alone tells: code that is edited in place under the same version is taken for the same.
        """
        return " ".join(filter(None, (self.version, self.origin.get("digest", "")[:12])))


class Setup(Message):
    """What all jobs of one data set, model and machine share."""

    dataset: PreparedDataset
    model: Component
    device: str
    threads: int
    """That torch computes this job with."""
    plugin_threads: int
    """Of attacks and defenses; every job finds it in its environment."""
    timeout_s: float | None
    memory_mib: int | None
    disk_mib: int | None
    seal: bool
    readable: tuple[str, ...]
    secret: tuple[str, ...]
    """What the request names that no defense may read: the data set's files, attack files."""
    keep_models: bool
    """Whether the weights of repaired models stay in `out`."""
    out: str


class Split(Message):
    """How the test images are divided, and where the scoring images are stamped."""

    seed: int
    defense_fraction: float
    places_seed: int


class BaseJob(Message):
    """Train a clean model."""

    kind: Literal["base"] = "base"
    id: str
    setup: Setup
    recipe: BaseRecipe
    seed: int


class VictimJob(Message):
    """Turn a base model into a backdoored one."""

    kind: Literal["victim"] = "victim"
    id: str
    setup: Setup
    attack: Component
    instance: AttackInstance
    seed: int
    split: Split
    base: str
    """Identity of the base model's job; empty if the instance brings a model of its own."""
    artifact: str = ""
    """SHA-256 of the base model's weights; the driver fills it in."""


class TrialJob(Message):
    """Run a defense on a victim and score what it wrote."""

    kind: Literal["trial"] = "trial"
    id: str
    setup: Setup
    defense: Component
    needs: tuple[str, ...]
    metrics: tuple[Component, ...]
    backdoored: bool
    instance: AttackInstance
    split: Split
    victim: str
    """Identity of the backdoored model's job."""
    artifact: str = ""
    """SHA-256 of the backdoored model's weights; the driver fills it in."""
    repeat: int = 0
    """Number of the seed where the weights cannot tell it, as of a model that is brought; else 0.

    Weights that were made here are other ones for each seed.
    """

    @property
    def seed(self) -> int:
        """Return the defense's seed, which knows of the attack only what the weights tell.

        A hash of the victim's identity would be known to whoever knows the grid: a defense could
        find trigger and target by trying them. Nor does it know the defense's options: variants of
        one defense share their random numbers.
        """
        repeat = (self.repeat,) if self.repeat else ()
        return derive_seed("defense", self.artifact, self.defense.name, *repeat)


Job = BaseJob | VictimJob | TrialJob
_JOB: TypeAdapter[Job] = TypeAdapter(Annotated[Job, Field(discriminator="kind")])


def parse_job(text: str) -> Job:
    """Return the job of a JSON text."""
    return _JOB.validate_json(text)


def components_of(job: Job) -> Iterator[Component]:
    """Yield the plugins that a job needs: its model, then what it runs and measures with."""
    yield job.setup.model
    match job:
        case VictimJob():
            yield job.attack
        case TrialJob():
            yield job.defense
            yield from job.metrics


def refuse_changed_files(job: Job) -> None:
    """Raise `PluginChanged` if a plugin file of the job is not what it was when it was planned."""
    for component in components_of(job):
        refuse_changed(Origin.from_json(component.origin))


class Cost(Message):
    """What a job's own process used."""

    seconds: float = 0.0
    peak_memory_mib: float = 0.0
    forward_images: int = 0
    backward_images: int = 0


class Report(Message):
    """What a worker sends back for a job."""

    id: str
    status: Literal["done", "failed"]
    error: str = ""
    cost: Cost = Cost()
    artifacts: tuple[str, ...] = ()
    triggers_artifact: str = ""
    recovered_target: int | None = None
    before: dict[str, float] = {}
    """Base and victim: what was measured on them. Trial: the victim's numbers."""
    metrics: dict[str, float | None] = {}
    spread: dict[str, dict[str, float]] = {}
    empty: dict[str, str] = {}
    log: str = ""
    series: list[dict[str, Any]] = []
    environment: dict[str, Any] = {}
