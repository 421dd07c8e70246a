"""The rules of `bench check` as tests: `pytest --bench-check NAME|FILE`, and a fixture.

A plugin's own tests need one line::

    def test_it_keeps_every_rule(bench_check):
        bench_check("my_defense")

pytest loads this module wherever the harness is installed, so it imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from benchmark.kit.findings import Finding, Report


class BrokenRule(Exception):
    """A rule that the plugin does not keep; shown without a traceback, which would be ours."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, which are those of `bench check`."""
    group = parser.getgroup("bench", "backdoor-bench")
    group.addoption(
        "--bench-check",
        action="append",
        default=[],
        metavar="NAME|FILE",
        help="Hold a plugin against every rule of the harness, one test a rule; repeatable.",
    )
    group.addoption(
        "--bench-set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="An option for --bench-check, as for bench run; repeatable.",
    )
    group.addoption(
        "--bench-data-dir",
        type=Path,
        metavar="DIR",
        help="Folder with the files of a data set that --bench-check names.",
    )
    group.addoption(
        "--bench-timeout",
        type=float,
        default=60.0,
        metavar="S",
        help="Seconds that --bench-check grants one run on the tiny case.",
    )


@pytest.fixture
def bench_check() -> Callable[..., None]:
    """Check components by name, or plugin files, as `bench check` does; fails with what it found.

    Takes what `benchmark.kit.check` takes.
    """

    def check_all(*targets: str | Path, **options: Any) -> None:
        from benchmark.kit import check

        found = check(*targets, **options)
        if not found.passed:
            pytest.fail(str(found), pytrace=False)

    return check_all


def pytest_configure(config: pytest.Config) -> None:
    """Collect nothing else, unless a path is given as well."""
    given = config.args_source is pytest.Config.ArgsSource.ARGS
    if config.getoption("--bench-check") and not given:
        config.args = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Add one test for each rule of what `--bench-check` names."""
    targets = session.config.getoption("--bench-check")
    if targets:
        items += _Targets.from_parent(session, name="bench-check").tests(targets)


class _Targets(pytest.Collector):
    """What all `--bench-check` name: options may be for one of them."""

    def collect(self) -> list[pytest.Item]:
        """Return nothing: `tests` is asked instead."""
        return []

    def tests(self, targets: Sequence[str]) -> list[pytest.Item]:
        """Check now, and return one test for each finding."""
        from benchmark.errors import UserError
        from benchmark.kit import check
        from benchmark.settings import parse_sets

        asked = self.config.getoption
        try:
            reports = check(
                *targets,
                sets=parse_sets(asked("--bench-set")),
                data_dir=asked("--bench-data-dir"),
                timeout_s=asked("--bench-timeout"),
            ).reports
        except UserError as error:
            raise pytest.UsageError(f"--bench-check: {error}") from error
        return [
            _Test.from_parent(self, name=f"{report.name}::{finding.rule}", found=(report, finding))
            for report in reports
            for finding in report.findings
        ]


class _Test(pytest.Item):
    """One rule for one component."""

    def __init__(self, *, found: tuple[Report, Finding], **rest: Any) -> None:
        super().__init__(**rest)
        self.report, self.finding = found

    def runtest(self) -> None:
        """Pass, fail, or be skipped, as the rule was."""
        if self.finding.status == "not checked":
            pytest.skip(self.finding.what)
        if self.finding.status == "failed":
            raise BrokenRule

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *_: Any) -> str:
        """Say which rule is broken, where, and how to mend it."""
        if not isinstance(excinfo.value, BrokenRule):
            return str(super().repr_failure(excinfo))
        from benchmark.kit.findings import in_lines

        return f"{self.report.kind} {self.report.name} ({self.report.origin})\n" + in_lines(
            self.finding
        )

    def reportinfo(self) -> tuple[str, int | None, str]:
        """Return where the test is from, and its name."""
        return self.report.origin, None, f"bench check {self.name}"
