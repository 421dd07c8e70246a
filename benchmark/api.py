"""The public face for plugin authors. Importing it does not import torch.

Fast building blocks (stamp, fine-tune, predict, frozen classifier) are in `benchmark.primitives`.
"""

from benchmark.contracts import (
    Attack,
    DatasetSource,
    Defense,
    Evidence,
    ImageSet,
    LoadedDataset,
    Metric,
    ModelBuilder,
    Outcome,
    View,
)
from benchmark.errors import JobFault, UndeclaredKnowledge, UserError
from benchmark.events import RunEvent, RunResult, TrialEvent, TrialResult
from benchmark.hookspecs import hookimpl
from benchmark.identity import derive_seed
from benchmark.precision import Precision
from benchmark.recipe import FineTune
from benchmark.specs import (
    CHOOSES,
    AttackSpec,
    DatasetSpec,
    DefenseSpec,
    MetricSpec,
    ModelSpec,
    Options,
    PresetOptions,
    added,
    lazy,
)
from benchmark.types import AttackInstance, DatasetInfo, Knowledge, Output, Role, Trigger

__all__ = [
    "CHOOSES",
    "Attack",
    "AttackInstance",
    "AttackSpec",
    "DatasetInfo",
    "DatasetSource",
    "DatasetSpec",
    "Defense",
    "DefenseSpec",
    "Evidence",
    "FineTune",
    "ImageSet",
    "JobFault",
    "Knowledge",
    "LoadedDataset",
    "Metric",
    "MetricSpec",
    "ModelBuilder",
    "ModelSpec",
    "Options",
    "Outcome",
    "Output",
    "Precision",
    "PresetOptions",
    "Role",
    "RunEvent",
    "RunResult",
    "TrialEvent",
    "TrialResult",
    "Trigger",
    "UndeclaredKnowledge",
    "UserError",
    "View",
    "added",
    "derive_seed",
    "hookimpl",
    "lazy",
]
