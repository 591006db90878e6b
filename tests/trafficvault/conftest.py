"""The prepared vault: filled once, copied for each test that wants it."""

from __future__ import annotations

from pathlib import Path

import pytest

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
