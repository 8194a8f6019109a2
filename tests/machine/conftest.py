"""Lend the tests of this folder machines, and show their consoles when a test fails."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.machine.machine import Machine
from tests.machine.nspawn import CACHE


@pytest.fixture(scope="session")
def debian() -> Path:
    """The Debian that machines are made of; skips where none can run at all."""
    if os.geteuid() != 0:
        pytest.skip("a machine needs root")
    if not Path("/etc/debian_version").exists():
        pytest.skip("machines are made of Debian packages, and this is not Debian")
    if not (CACHE / "VERSIONS").exists():
        # Not a skip: on a machine that can run them, silence would look like proof.
        pytest.fail(f"missing: {CACHE / 'VERSIONS'}; run: make machine", pytrace=False)
    return CACHE


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the consoles of the machines a failed test was given."""
    report = yield
    if report.failed:
        for value in item.funcargs.values():
            if isinstance(value, Machine):
                report.sections.append((f"console of {value.name}", value.console))
    return report
