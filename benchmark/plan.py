"""A resolved request → jobs: what has to be done, in what order, under which identity. No torch.

Identities and seeds are hashes of exactly the axes that matter. A base model knows data, model,
recipe and seed; a victim also the attack, its trigger and target; a trial also the defense.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from benchmark.builtin.imported import telling_files
from benchmark.config import Chosen, Config
from benchmark.data import PreparedDataset
from benchmark.errors import UserError
from benchmark.identity import derive_seed, identity
from benchmark.jobs import BaseJob, Component, Job, Setup, Split, TrialJob, VictimJob
from benchmark.loading.faults import blamed
from benchmark.records import TrialRecord
from benchmark.specs import DefenseSpec
from benchmark.types import AttackInstance, Role

FORMAT = 1
"""Part of every identity; raised when the meaning of a payload or of a number changes."""
TRIAL_FORMAT = 2
"""Part of every trial's besides. 2: a defense's seed comes from the victim's weights."""

_ORDER = [Role.RANKED, Role.ORACLE, Role.CONTROL, Role.FLOOR]


@dataclass(frozen=True)
class Machine:
    """Where and under which limits jobs run; decides no identity."""

    device: str
    workers: int
    cores: int
    memory_mib: int
    timeout_s: float | None
    out: str
    gpus: tuple[str, ...] = ()
    """The GPUs that workers share, as `CUDA_VISIBLE_DEVICES` names them."""


@dataclass(frozen=True)
class Planned:
    """A job and the plain facts that its record will hold."""

    job: Job
    label: str
    """What a person sees while it runs."""
    needs: str
    """Identity of the job whose model it starts from; empty for a base model."""
    facts: dict[str, Any]
    payload: dict[str, Any]
    block: int
    """Number of the victim that it belongs to: early victims are finished before late ones."""
    without: Mapping[str, str] = field(default_factory=dict)
    """Metrics that do not apply to the trial, each with the reason."""


@dataclass(frozen=True)
class Plan:
    """All jobs of a run, those on which others depend first."""

    config: Config
    machine: Machine
    jobs: tuple[Planned, ...]

    @property
    def trials(self) -> tuple[Planned, ...]:
        """The trials alone."""
        return tuple(planned for planned in self.jobs if isinstance(planned.job, TrialJob))


def deciding_parts(instance: AttackInstance) -> dict[str, Any]:
    """Return what of an instance is in its victim's identity: all but names and where files lie."""
    parts: dict[str, Any] = {"trigger": instance.trigger.pixels, "target": instance.target}
    if instance.trigger.place is not None:
        parts["place"] = instance.trigger.place
    if instance.model is not None:
        parts["weights"] = asdict(instance.model)
        del parts["weights"]["path"]
    return parts


def make_plan(config: Config, dataset: PreparedDataset, machine: Machine) -> Plan:
    """Return the jobs of every (seed, attack instance, defense)."""
    count, fraction = dataset.test_count, config.split.defense_fraction
    if not 0 < round(count * fraction) < count:
        raise UserError(
            f"split.defense_fraction = {fraction:g} leaves no test image to one of the two parts",
            f"there are {count}",
        )
    planner = _Planner(config, dataset, machine)
    return Plan(config, machine, tuple(planner.jobs()))


@dataclass(frozen=True)
class _Planner:
    config: Config
    dataset: PreparedDataset
    machine: Machine

    def jobs(self) -> Iterator[Planned]:
        block = 0
        info = self.dataset.info
        grids = [(one, list(one.spec.instances(one.options, info))) for one in self.config.attacks]
        needs_base = any(instance.model is None for _, grid in grids for instance in grid)
        first = self.config.request.first_seed
        for seed in range(first, first + self.config.seeds):
            base = self._base(seed)
            if needs_base:
                yield base
            for attack, instances in grids:
                group = self._group(attack, instances)
                for instance in instances:
                    victim = self._victim(base, attack, instance, seed, block)
                    yield victim
                    yield from self._trials(victim, attack, instance, seed, block, group)
                    block += 1

    def _base(self, seed: int) -> Planned:
        payload = {
            "format": FORMAT,
            "data": self.dataset.fingerprint,
            "model": self.config.model.deciding,
            "recipe": self.config.recipe.model_dump(mode="json"),
            "seed": seed,
        }
        key = identity("base", payload)
        cores = self.machine.cores if self.machine.device == "cpu" else self.config.run.threads
        # Everything else waits for it, so a base model has all cores and the memory to itself;
        # the time limit is for attacks and defenses.
        setup = self._setup(threads=cores, memory_mib=None)
        job = BaseJob(
            id=key,
            setup=setup.model_copy(update={"timeout_s": None}),
            recipe=self.config.recipe,
            seed=derive_seed("base", key),
        )
        return Planned(job, f"base model, seed {seed}", "", self._facts(seed), payload, -1)

    def _victim(
        self, base: Planned, attack: Chosen, instance: AttackInstance, seed: int, block: int
    ) -> Planned:
        brought = instance.model is not None
        payload = {
            **(self._brought(seed) if brought else {"base": base.job.id}),
            "attack": attack.deciding,
            "split": self.config.split.model_dump(mode="json"),
            **deciding_parts(instance),
        }
        key = identity("victim", payload)
        name, trigger = attack.spec.name, instance.trigger.name
        # Of a brought model the recipe of a base model decides nothing, its seed neither.
        axes = (key,) if brought else (base.job.id, name, trigger, instance.target)
        job = VictimJob(
            id=key,
            setup=self._job_setup,
            attack=attack.component(),
            instance=instance,
            seed=derive_seed("attack", *axes),
            split=self._split(seed),
            base="" if brought else base.job.id,
        )
        facts = self._facts(seed) | {
            "attack": name,
            "trigger": trigger,
            "target": instance.target,
        }
        label = f"attack {name} {trigger}{_seed_note(seed)}"
        return Planned(job, label, job.base, facts, payload, block)

    def _brought(self, seed: int) -> dict[str, Any]:
        """Return what decides, beside its weights, a victim that starts from no base model.

        The seed is among it: it decides which images the defense is given.
        """
        return {
            "format": FORMAT,
            "data": self.dataset.fingerprint,
            "model": self.config.model.deciding,
            "seed": seed,
        }

    def _trials(
        self,
        victim: Planned,
        attack: Chosen,
        instance: AttackInstance,
        seed: int,
        block: int,
        group: str,
    ) -> Iterator[Planned]:
        for defense in sorted(self.config.defenses, key=lambda one: _ORDER.index(one.spec.role)):
            yield self._trial(victim, attack, instance, defense, seed, block, group)

    def _trial(
        self,
        victim: Planned,
        attack: Chosen,
        instance: AttackInstance,
        defense: Chosen,
        seed: int,
        block: int,
        group: str,
    ) -> Planned:
        with blamed(defense.found.origin):
            spec = defense.spec.under(defense.options)
        payload = {
            "format": TRIAL_FORMAT,
            "victim": victim.job.id,
            "defense": defense.deciding,
        }
        repeat = seed if instance.model is not None else 0
        if repeat:  # once, these had the random numbers of seed 0, and were no repeats
            payload["repeat"] = repeat
        key = identity("trial", payload)
        job = TrialJob(
            id=key,
            setup=self._job_setup,
            defense=defense.component(),
            needs=tuple(sorted(spec.needs)),
            metrics=self._metrics(spec),
            backdoored=attack.spec.plants_backdoor,
            instance=instance,
            split=self._split(seed),
            victim=victim.job.id,
            repeat=repeat,
        )
        facts = victim.facts | {
            "group": group,
            "variant_id": identity("variant", defense.deciding),
            "defense": spec.name,
            "version": spec.version,
            "variant": ", ".join(f"{key}={value}" for key, value in defense.by_hand.items()),
            "setting": self.config.setting,
            "knowledge": tuple(sorted(spec.needs)),
            "role": str(spec.role),
            "min_asr": self.config.run.min_asr if attack.spec.plants_backdoor else None,
            "victim": victim.job.id,
        }
        label = f"{spec.name} on {attack.spec.name} {instance.trigger.name}{_seed_note(seed)}"
        return Planned(job, label, victim.job.id, facts, payload, block, self._without(spec))

    def _metrics(self, defense: DefenseSpec) -> tuple[Component, ...]:
        """Return the metrics that apply to what the defense gives."""
        return tuple(
            metric.component()
            for metric in self.config.metrics
            if metric.spec.reads <= defense.gives
        )

    def _without(self, defense: DefenseSpec) -> dict[str, str]:
        """Return the other metrics, with what they would need."""
        lacking = {
            metric.spec.name: sorted(metric.spec.reads - defense.gives)
            for metric in self.config.metrics
        }
        return {name: f"the defense gives no {', no '.join(w)}" for name, w in lacking.items() if w}

    def _group(self, attack: Chosen, instances: Sequence[AttackInstance]) -> str:
        """Return the hash of all that the trials of one leaderboard have in common."""
        parts = {
            "format": [FORMAT, TRIAL_FORMAT],
            "data": self.dataset.fingerprint,
            "model": self.config.model.deciding,
            "attack": attack.deciding,
            "split": self.config.split.model_dump(mode="json"),
        }
        if any(instance.model is None for instance in instances):  # else no base model is trained
            parts["recipe"] = self.config.recipe.model_dump(mode="json")
        return identity("group", parts)

    def _facts(self, seed: int) -> dict[str, Any]:
        return {"dataset": self.dataset.name, "model": self.config.model.spec.name, "seed": seed}

    def _split(self, seed: int) -> Split:
        data = self.dataset.fingerprint
        return Split(
            seed=derive_seed("split", data, seed),
            defense_fraction=self.config.split.defense_fraction,
            places_seed=derive_seed("places", data, seed),
        )

    @cached_property
    def _job_setup(self) -> Setup:
        return self._setup()

    def _setup(self, *, threads: int | None = None, memory_mib: int | None = -1) -> Setup:
        """Return the shared setup; the default memory limit is a fair share of 80 %."""
        machine, run = self.machine, self.config.run
        share = run.memory_mib or int(machine.memory_mib * 0.8 / machine.workers)
        return Setup(
            dataset=self.dataset,
            model=self.config.model.component(),
            device=machine.device,
            threads=threads or run.threads,
            plugin_threads=run.threads,
            timeout_s=machine.timeout_s,
            memory_mib=share if memory_mib == -1 else memory_mib,
            disk_mib=run.disk_mib,
            seal=run.seal,
            readable=run.readable,
            secret=self._secret(),
            keep_models=run.keep_models,
            out=machine.out,
        )

    def _secret(self) -> tuple[str, ...]:
        """Return what was named that holds scoring images, triggers or targets."""
        asked = self.config.request
        named = [asked.data_dir] if asked.data_dir else []
        named += [told for file in asked.attack_files for told in telling_files(file)]
        return tuple(str(path.absolute()) for path in named)


def _seed_note(seed: int) -> str:
    return f", seed {seed}" if seed else ""


def trial_record(planned: Planned, **found: Any) -> TrialRecord:
    """Return the record of a planned trial with what was found."""
    if found.get("status") == "done":  # of one that failed, the failure is the reason
        found["empty"] = {**planned.without, **found.get("empty", {})}
    return TrialRecord(trial=planned.job.id, payload=planned.payload, **{**planned.facts, **found})
