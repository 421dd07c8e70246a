"""What the fuzz tests throw things at."""

import pytest
from fuzzing import fuzzed


@pytest.fixture(scope="module")
def bench(tiny_run, tmp_path_factory):
    """The real entry point on finished results, for the tests of one file."""
    with fuzzed(tiny_run, tmp_path_factory.mktemp("fuzzed")) as thrown_at:
        yield thrown_at
