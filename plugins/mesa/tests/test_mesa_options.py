"""Options of MESA that do not fit together are refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest
from bench_mesa.options import MesaOptions
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"levels": (0.9, 1.1, 0.5)}, "levels must lie in"),
        ({"levels": (0.9, 0.0, 0.5)}, "levels must lie in"),
        ({"levels": (0.9, -0.5, 0.5)}, "levels must lie in"),
        ({"levels": (0.9, float("nan"), 0.5)}, "finite"),
        ({"levels": ()}, "at least 1 item"),
        ({"levels": (0.9, 0.5)}, "one number for each"),
        ({"samples": (5, 5)}, "one number for each"),
        ({"samples": (4, 3, -1)}, "must not be negative"),
        ({"samples": (0, 0, 0)}, "not all zero"),
        ({"alpha": -0.1}, "greater than or equal to 0"),
        ({"batch_size": 7, "images_a_trigger": 4}, "must hold the images of two triggers"),
        ({"images_a_trigger": 0}, "greater than or equal to 1"),
        ({"batch_size": 1}, "greater than or equal to 2"),
        ({"epochs": 0}, "greater than or equal to 1"),
        ({"keep_triggers": 0}, "greater than or equal to 1"),
        ({"mean_rate": 0}, "greater than 0"),
        ({"betas": (0.9,)}, "not permitted"),
    ],
)
def test_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        MesaOptions.model_validate(options)


@pytest.mark.parametrize(
    "options",
    [
        {"levels": (1.0,), "samples": (10,)},
        {"levels": (0.5, 0.9), "samples": (0, 1)},
        {"alpha": 0},
        {"mean_rate": 1},
        {"batch_size": 8, "images_a_trigger": 4},
    ],
)
def test_accepted(options: dict[str, Any]) -> None:
    MesaOptions.model_validate(options)


def test_options_cannot_change_after_they_are_made() -> None:
    with pytest.raises(ValidationError):
        MesaOptions().epochs = 3  # type: ignore[misc]
