"""What `mesa` is, without importing torch."""

from __future__ import annotations

from bench_mesa.options import MesaOptions, ShortOptions
from benchmark.api import DefenseSpec, Knowledge, Output, PresetOptions, hookimpl, lazy

PRESETS: PresetOptions = {
    # Fewer passes than the paper's 50: two CPU cores, two minutes or three hours.
    "quick": {
        **{"epochs": 5, "batch_size": 32, "lr": 1e-3, "hidden": 128, "statistic_hidden": 128},
        **{"cache_mib": 0, "keep_triggers": 64},  # two trials at once, and all in 2 GiB
        "precision": "auto",
    },
    "cifar10-cpu": {"epochs": 8, "precision": "auto"},
    "cifar100-cpu": {"epochs": 8, "precision": "auto", "hidden": 2048},
    "cifar100-rgb": {"hidden": 2048},
}
SHORT_PRESETS: PresetOptions = {
    # An epoch of MESA's search has 40 steps here: too few for three sub-models, and its retraining
    # is too slow for two epochs. Chosen on the plain square, eight seeds: docs/quick.md.
    "quick": {
        **PRESETS["quick"],
        **{"epochs": 1, "batch_size": 16, "levels": (0.9,), "samples": (10,)},
        **{"retrain.epochs": 2, "retrain.lr": 0.05},
        **{"retrain.batch_size": 32, "retrain.poison_ratio": 0.5},
    },
    "cifar10-cpu": {**PRESETS["cifar10-cpu"], "epochs": 1},
    "cifar100-cpu": {**PRESETS["cifar100-cpu"], "epochs": 1},
    "cifar100-rgb": PRESETS["cifar100-rgb"],
}

PAPER = (
    "Qiao, Yang, Li: Defending Neural Backdoors via Generative Distribution Modeling, "
    "NeurIPS 2019, arXiv 1910.04749"
)
GIVEN = frozenset(
    {
        Knowledge.WEIGHTS,
        Knowledge.CLEAN_IMAGES,
        Knowledge.TRIGGER_SIZE,
        Knowledge.TARGET_CLASS,
    }
)
GIVES = frozenset({Output.MODEL, Output.TRIGGERS})


def terms(options: MesaOptions) -> tuple[frozenset[Knowledge], frozenset[Output]]:
    """Return what these options need and give: a target class that is found need not be told."""
    if options.target == "detect":
        return GIVEN - {Knowledge.TARGET_CLASS}, GIVES | {Output.TARGET}
    return GIVEN, GIVES


@hookimpl
def bench_defenses() -> list[DefenseSpec]:
    """Offer MESA, and a variant of it at a fifth of the cost."""
    return [
        DefenseSpec(
            name="mesa",
            version="2",
            summary="model the distribution of triggers with max-entropy generators, "
            "retrain with samples of it",
            factory=lazy("bench_mesa.defense:Mesa"),
            options=MesaOptions,
            needs=GIVEN,
            gives=GIVES,
            terms=terms,
            paper=PAPER,
            presets=PRESETS,
        ),
        DefenseSpec(
            name="mesa_short",
            version="2",
            summary="MESA with a short search, and a short retraining in which a fifth of the "
            "images is stamped, each with one of many triggers",
            factory=lazy("bench_mesa.defense:Mesa"),
            options=ShortOptions,
            needs=GIVEN,
            gives=GIVES,
            terms=terms,
            paper=f"after {PAPER}",
            presets=SHORT_PRESETS,
        ),
    ]
