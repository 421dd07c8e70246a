"""Trials as `Store.trials_frame()` gives them, for tests of what reports make of them."""

import math

import pandas as pd

DEFAULTS = {
    **{"group": "g", "variant_id": "mesa", "status": "done", "dataset": "digits", "model": "small"},
    **{"attack": "bw3x3", "trigger": "0", "target": 0, "defense": "mesa", "version": "1"},
    **{"variant": "", "setting": "quick", "knowledge": ("weights",), "role": "ranked", "seed": 0},
    **{
        "victim": "",
        "weights": "",
        "min_asr": 0.9,
        "repeats": 1,
        "asr_before": 0.99,
        "asr_after": 0.05,
    },
    **{"asr_after_std": math.nan, "asr_after_max": math.nan, "base_clean_accuracy": 0.95},
    **{"clean_accuracy_before": 0.94, "clean_accuracy_after": 0.93, "der": 0.9, "seconds": 2.0},
    **{"robust_accuracy_before": 0.0, "robust_accuracy_after": 0.9, "peak_memory_mib": 100.0},
    **{"forward_images": 10, "backward_images": 5, "detection": math.nan, "false_alarm": math.nan},
}


def frame(*trials: dict) -> pd.DataFrame:
    """Trials with their differences from the defaults; the trigger names the victim."""
    full = [DEFAULTS | t for t in trials]
    return pd.DataFrame([t | {"victim": t["victim"] or f"v{t['trigger']}"} for t in full])


def several(defense: str, asrs: list[float], **fields) -> list[dict]:
    made = {"defense": defense, "variant_id": defense} | fields
    return [made | {"trigger": str(n), "asr_after": asr} for n, asr in enumerate(asrs)]
