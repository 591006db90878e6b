"""The command line, on a copy of the prepared vault and where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trafficvault.cli.commandline import CommandLine
from tests.trafficvault.prepared_vault import Prepared


@pytest.fixture
def line(prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line on a copy of the prepared vault."""
    prepared.copy(tmp_path)
    return CommandLine(tmp_path, monkeypatch)


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line where there is no vault yet."""
    return CommandLine(tmp_path, monkeypatch)
