"""What every test shares: how much chance property tests take, new vaults, and none of the outer environment."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from importlib import import_module
from pkgutil import walk_packages

import pytest
from coverage import Coverage
from hypothesis import HealthCheck, settings

from tests.founding import FOUNDERS
from tests.thorough import as_many

MEMORY = "/dev/shm"
ROOM = 4 << 30
"""How many bytes there must be free: what tests leave until the last of them ends is a tenth of that."""

# No deadline: the machine that runs CI is as slow as it is. In CI the examples are the same each time, and
# fewer; elsewhere they differ, and a failure prints how to repeat it.
settings.register_profile(
    "desk", max_examples=as_many(60), deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("ci", settings.get_profile("desk"), max_examples=as_many(30), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")


def pytest_configure() -> None:
    """Vaults lie in memory where that has room for them: no test is about power cuts, and each syncs often."""
    if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM:
        os.environ["TMPDIR"] = tempfile.tempdir = MEMORY


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Coverage sees what our modules define, but not how tests are collected, which takes twice as long under it."""
    measuring = Coverage.current()
    # The process that hands tests to others collects none.
    if measuring is None or session.config.pluginmanager.hasplugin("dsession"):
        return (yield)
    for package in ("ingest", "queries", "trafficvault"):
        for module in walk_packages(import_module(package).__path__, f"{package}."):
            if not module.name.endswith(".__main__"):
                import_module(module.name)
    measuring.stop()
    try:
        return (yield)
    finally:
        measuring.start()


@pytest.fixture(scope="session", autouse=True)
def _founders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Vaults that are new are founded once."""
    FOUNDERS.keep(tmp_path_factory.mktemp("founded"))
    yield
    FOUNDERS.keep(None)


@pytest.fixture(autouse=True)
def _other_vaults() -> None:
    """A test that asks for two new vaults gets two that differ."""
    FOUNDERS.begin()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the vault, the passwords or the terminal of the person who runs it."""
    for name in [*os.environ]:
        if name.startswith("TRAFFICVAULT_") or name in {"COLUMNS", "LINES", "FORCE_COLOR"}:
            monkeypatch.delenv(name)
