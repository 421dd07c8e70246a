"""What the README shows must work as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from benchmark.context import RunContext
from benchmark.contracts import ImageSet, View
from benchmark.plugins import load_plugins
from benchmark.types import DatasetInfo

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text("utf-8"), re.S | re.M)


def test_the_one_file_defense_loads_and_repairs(tmp_path: Path) -> None:
    file = tmp_path / "my_defense.py"
    file.write_text(blocks("python")[0], encoding="utf-8")
    spec = load_plugins([file]).get("defense", "mine").spec
    options = spec.options.model_validate({"retrain": {"epochs": 1}})
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 2))
    before = model[1].weight.detach().clone()
    clean = ImageSet(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]))
    view = View("mine", DatasetInfo(2, (8, 8)), {"model": model, "clean": clean})
    outcome = spec.factory(options).repair(view, RunContext(torch.device("cpu"), 0))
    assert len(outcome.models) == 1
    # Black images have no weight gradient: what learns is the bias.
    assert torch.equal(outcome.models[0][1].weight, before)
    assert not torch.equal(outcome.models[0][1].bias, torch.nn.Linear(1, 2).bias)


def test_the_first_two_shell_blocks_are_the_two_commands() -> None:
    first, second = blocks("sh")[:2]
    assert first.count("\n") == second.count("\n") == 1
    assert "bench run --defense mesa" in first
    assert "pytest" in second


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", README.read_text("utf-8")))
def test_links_lead_somewhere(link: str) -> None:
    assert (README.parent / link).exists()
