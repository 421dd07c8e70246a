"""What comes with the harness, registered through the same hooks as anybody's plugin."""

from __future__ import annotations

from benchmark.builtin.attack_options import BlackWhiteAttack, CleanModelOptions, ColourAttack
from benchmark.builtin.control_options import FineTuningOptions, RandomPatchesOptions
from benchmark.builtin.datasets import DATASETS
from benchmark.builtin.imported import ImportedOptions, imported_instances
from benchmark.builtin.model_options import ResNet18Options, SmallResNetOptions
from benchmark.builtin.triggers import bw3x3_instances, rgb3x3_instances
from benchmark.hookspecs import hookimpl
from benchmark.specs import AttackSpec, DatasetSpec, DefenseSpec, MetricSpec, ModelSpec, lazy
from benchmark.types import Knowledge, Output, Role

MESA_PAPER = "Qiao, Yang, Li, NeurIPS 2019, arXiv 1910.04749"


@hookimpl
def bench_datasets() -> list[DatasetSpec]:
    """Offer the shipped data sets."""
    return DATASETS


@hookimpl
def bench_models() -> list[ModelSpec]:
    """Offer the shipped architectures."""
    paper = "He et al., CVPR 2016, arXiv 1512.03385"
    return [
        ModelSpec(
            name="resnet18",
            version="1",
            summary="ResNet-18 for 32×32 images; width 64 is the standard one",
            factory=lazy("benchmark.builtin.models:ResNet18"),
            options=ResNet18Options,
            paper=paper,
        ),
        ModelSpec(
            name="small-resnet",
            version="1",
            summary="a full-resolution stem and three residual blocks, for two CPU cores",
            factory=lazy("benchmark.builtin.models:SmallResNet"),
            options=SmallResNetOptions,
            paper=paper,
        ),
    ]


@hookimpl
def bench_attacks() -> list[AttackSpec]:
    """Offer the two grids of the paper."""
    poisoning = lazy("benchmark.builtin.poisoning:PoisonAttack")
    return [
        AttackSpec(
            name="bw3x3",
            version="1",
            summary="51 black-and-white 3×3 triggers, poisoned by fine-tuning",
            instances=bw3x3_instances,
            factory=poisoning,
            options=BlackWhiteAttack,
            paper=MESA_PAPER,
        ),
        AttackSpec(
            name="rgb3x3",
            version="1",
            summary="10 random-colour 3×3 triggers, poisoned by fine-tuning",
            instances=rgb3x3_instances,
            factory=poisoning,
            options=ColourAttack,
            paper=MESA_PAPER,
        ),
        AttackSpec(
            name="clean",
            version="1",
            summary="no attack: what a defense costs, and claims, where there is no backdoor",
            instances=bw3x3_instances,
            factory=lazy("benchmark.builtin.poisoning:NoAttack"),
            options=CleanModelOptions,
            plants_backdoor=False,
        ),
        AttackSpec(
            name="imported",
            version="1",
            summary="backdoored models from elsewhere, each described in a file: --attack-file",
            instances=imported_instances,
            factory=lazy("benchmark.builtin.poisoning:NoAttack"),
            options=ImportedOptions,
        ),
    ]


@hookimpl
def bench_defenses() -> list[DefenseSpec]:
    """Offer the floor and the control."""
    return [
        DefenseSpec(
            name="none",
            version="1",
            summary="the undefended model: the floor",
            factory=lazy("benchmark.builtin.controls:NoDefense"),
            needs=frozenset({Knowledge.WEIGHTS}),
            role=Role.FLOOR,
        ),
        DefenseSpec(
            name="fine_tuning",
            version="1",
            summary="retrain on clean images only: what retraining does without any trigger",
            factory=lazy("benchmark.builtin.controls:FineTuning"),
            options=FineTuningOptions,
            role=Role.CONTROL,
        ),
        DefenseSpec(
            name="random_patches",
            version="1",
            summary="retrain with stamps of random colours: what searching for the trigger adds",
            factory=lazy("benchmark.builtin.controls:RandomPatches"),
            options=RandomPatchesOptions,
            needs=frozenset({Knowledge.WEIGHTS, Knowledge.CLEAN_IMAGES, Knowledge.TRIGGER_SIZE}),
            role=Role.CONTROL,
        ),
    ]


@hookimpl
def bench_metrics() -> list[MetricSpec]:
    """Offer the shipped metrics."""
    return [
        MetricSpec(
            name="asr",
            version="1",
            summary="stamped images of other classes answered with the target class",
            factory=lazy("benchmark.builtin.metrics:Asr"),
            higher_is_better=False,
        ),
        MetricSpec(
            name="clean_accuracy",
            version="1",
            summary="clean images answered with their class",
            factory=lazy("benchmark.builtin.metrics:CleanAccuracy"),
            higher_is_better=True,
        ),
        MetricSpec(
            name="robust_accuracy",
            version="1",
            summary="stamped images of other classes answered with their own class",
            factory=lazy("benchmark.builtin.metrics:RobustAccuracy"),
            higher_is_better=True,
        ),
        MetricSpec(
            name="detection",
            version="1",
            summary="the target class that the defense names is the right one",
            factory=lazy("benchmark.builtin.metrics:Detection"),
            higher_is_better=True,
            reads=frozenset({Output.TARGET}),
        ),
        MetricSpec(
            name="false_alarm",
            version="1",
            summary="the defense names a target class in a model that was never attacked",
            factory=lazy("benchmark.builtin.metrics:FalseAlarm"),
            higher_is_better=False,
            reads=frozenset({Output.TARGET}),
        ),
        MetricSpec(
            name="der",
            version="1",
            summary="defense effectiveness rating: ASR lost against clean accuracy lost",
            factory=lazy("benchmark.builtin.metrics:DefenseEffectivenessRating"),
            higher_is_better=True,
            paper="Zhu et al.: Enhancing Fine-Tuning Based Backdoor Defense with Sharpness-Aware "
            "Minimization, ICCV 2023, arXiv 2304.11823",
        ),
    ]
