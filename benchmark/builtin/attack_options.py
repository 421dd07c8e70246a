"""Options of the shipped attacks: which instances of the grid, and how to poison."""

from __future__ import annotations

from pydantic import Field

from benchmark.builtin.triggers import BlackWhiteOptions, ColourOptions, Names
from benchmark.recipe import Poisoning
from benchmark.specs import CHOOSES


class BlackWhiteAttack(BlackWhiteOptions, Poisoning):
    """Options of `bw3x3`; the poisoning defaults are the paper's (supplement, C)."""


class CleanModelOptions(BlackWhiteOptions):
    """Options of `clean`: what defenses are told of a model that nobody attacked."""

    triggers: Names | None = Field(
        ("0",),
        description="triggers stamped to measure a model that does not know them",
        json_schema_extra=CHOOSES,
    )


class ColourAttack(ColourOptions, Poisoning):
    """Options of `rgb3x3`; the poisoning defaults are the paper's (supplement, C)."""
