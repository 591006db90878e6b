"""The prepared vault, filled once and copied for each test that wants it; an audit log, new for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trafficvault.log_house import House, new_house
from tests.trafficvault.prepared_vault import Prepared, prepare
from trafficvault.vault import Vault


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The vault of `tests.trafficvault.prepared_vault`; nobody writes to it."""
    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def stored(prepared: Prepared, tmp_path: Path) -> Vault:
    """A copy of it, opened to write."""
    return prepared.opened(tmp_path)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """The log of `tests.trafficvault.log_house`."""
    with new_house(tmp_path) as fresh:
        yield fresh
