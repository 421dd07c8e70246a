"""What the nodes of a cluster mean for a plan; no Ray is needed for that."""

import pytest

from benchmark.executors.cluster import Room, Share
from benchmark.executors.fitting import Fit, fitted
from benchmark.executors.survey import Found


def node(cores: int, memory_mib: int) -> Found:
    return Found("a host", cores, memory_mib, {}, {}, {}, ())


NODES = {"head": node(2, 4000), "one": node(16, 64_000), "two": node(8, 16_000)}


@pytest.mark.parametrize(
    ("head_cpus", "fit"),
    [
        (0, (6, 8, 48_000)),  # 4 jobs of 16,000 MiB on one node and 2 of 8,000 on the other
        (1, (6, 8, 48_000)),  # no room either
        (2, (7, 2, 28_000)),
    ],
)
def test_a_node_without_room_for_a_job_sets_no_limit(head_cpus, fit):
    rooms = [Room("head", head_cpus, 0), Room("one", 8, 0), Room("two", 4, 0)]
    share = Share(threads=2, gpus=0)
    jobs, cores, memory_mib = fit
    assert fitted("cpu", share, rooms, NODES) == Fit("cpu", share, jobs, cores, memory_mib)
