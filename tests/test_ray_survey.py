"""What makes a node unfit for a run: other software than the driver's. It takes no Ray."""

from dataclasses import replace

import pytest

from benchmark.environment import software
from benchmark.executors.node import carry_out
from benchmark.executors.parcel import Parcel, Proof
from benchmark.executors.survey import differences, look


@pytest.fixture(scope="module")
def here():
    return look()


def at(found, revision):
    return replace(found, software={**software(), "git_revision": revision}, faults=())


def test_another_git_revision_is_a_difference_where_both_are_known(here):
    driver, node = at(here, "1f0c2a9e6b1d"), at(here, "6b1d0f77a92c-dirty")
    [said] = differences(driver, node)
    assert said == (
        "the harness at git revision 6b1d0f77a92c-dirty, the driver's is 1f0c2a9e6b1d: "
        "install one on both"
    )
    assert not list(differences(driver, driver))
    # One that was installed from an archive knows none.
    assert not list(differences(driver, at(here, "")))
    assert not list(differences(at(here, ""), node))


def test_a_node_at_another_git_revision_carries_out_no_job():
    if not software()["git_revision"]:
        pytest.skip("neither a checkout nor installed from one")
    driver = {**software(), "git_revision": "1f0c2a9e6b1d"}
    parcel = Parcel("a job that is not looked at", "", Proof("", ""), driver, {})
    answer = carry_out(parcel, {})
    assert answer.refused.startswith("node ")
    assert "git revision" in answer.refused
    assert "the driver's is 1f0c2a9e6b1d" in answer.refused
