"""Plans of the tiny case and what became of their jobs, for tests that run none of them."""

from pathlib import Path

from benchmark.config import Request, resolve
from benchmark.data import PreparedDataset
from benchmark.jobs import Report, TrialJob
from benchmark.keeping import Keeper
from benchmark.plan import Machine, Plan, Planned, make_plan
from benchmark.plugins import load_plugins
from benchmark.settings import parse_sets
from benchmark.store import Store, ledger, rows
from benchmark.store.layout import MODEL
from benchmark.store.transaction import transaction
from benchmark.types import DatasetInfo

TINY_CASE = Path(__file__).parents[1] / "plugin_files" / "tiny_case.py"
DATA = PreparedDataset(
    name="tiny",
    folder=Path("/cache/tiny"),
    info=DatasetInfo(3, (16, 16)),
    fingerprint="f" * 20,
    mean=(0.5, 0.5, 0.5),
    std=(0.2, 0.2, 0.2),
    train_count=240,
    test_count=150,
    class_names=("red", "green", "blue"),
)
MACHINE = Machine(
    device="cpu", workers=2, cores=4, memory_mib=8000, timeout_s=60.0, out="/somewhere/results"
)


def plan(*sets: str, **request) -> Plan:
    """Return the plan of one trigger, the ranked defense `shake` and the controls."""
    asked = {"defenses": ("shake",), "dataset": "tiny", "model": "one-conv"} | request
    if not asked.get("attack_files"):
        sets = ("attack.triggers=0", *sets)
    config = resolve(Request(**asked, sets=parse_sets(sets)), load_plugins([TINY_CASE]))
    return make_plan(config, DATA, MACHINE)


def done(planned: Planned, store: Store, weights: bytes, asr: float = 0.99) -> Report:
    """Return the report of a job that went well; `weights` are those of a model."""
    before = {"asr": asr, "clean_accuracy": 0.9}
    identity = planned.job.id
    if isinstance(planned.job, TrialJob):
        found = {"metrics": {"asr": 0.1}, "artifacts": ("a" * 64,)}
    else:
        found = {"artifacts": (store.artifacts.add(weights + identity.encode()),)}
    return Report(id=identity, status="done", before=before, **found)


def keep_done(made: Plan, store: Store, without: tuple[str, ...] = (), **report) -> None:
    """Store all jobs of a plan as done, but for the trials of the defenses `without`."""
    keeper = Keeper(store, "run")
    given = {"weights": b"weights"} | report
    for planned in made.jobs:
        if planned.facts.get("defense") not in without:
            keeper.keep(planned, done(planned, store, **given))


def forget_model(store: Store, identity: str) -> None:
    """Take a model's record away and leave all else, as `bench repair` may have to."""
    with transaction(store._connection):
        ledger.remove(store._connection, MODEL, identity)
        rows.remove(store._connection, MODEL, identity)
