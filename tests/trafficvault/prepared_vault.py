"""A vault that is filled once, for tests that copy it: records, a gap, a rejected row, a held file, a warrant."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from tests.support import NOW, Order, Usage, approved, ingest, layout_at, new_vault, usage
from trafficvault import app
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.vault import Vault

HELD_FILE = "WLR-DEMO-000018.CDR"


@dataclass(frozen=True, slots=True)
class Prepared:
    """Where the prepared vault lies, and the ids of what is in it."""

    directory: Path
    warrant: str
    committed: str
    held: str

    def copy(self, directory: Path) -> None:
        """Copies vault and keys below `directory`; its reserve, large and empty, stays behind."""
        for name in ("vault", "vault.keys"):
            shutil.copytree(self.directory / name, directory / name, ignore=shutil.ignore_patterns("reserve"))

    def opened(self, directory: Path) -> Vault:
        """A copy of it below `directory`, opened to write."""
        self.copy(directory)
        return app.open_vault(layout_at(directory), Disk(), SetClock(NOW), writer=True)


def prepare(directory: Path) -> Prepared:
    """Files 1 and 3 with five records and a bad row, a held file, and an approved warrant of two questions."""
    vault = new_vault(directory)
    rows = [Usage(at=f"202611{day:02d}1200{second:02d}") for day in (10, 11) for second in range(2)]
    committed = ingest(vault, "mvno_pipe", usage(rows) + "broken\n", "S4PGWM000001")
    ingest(vault, "mvno_pipe", usage([Usage(kind="MO", at="20261112120000", seconds=60)]), "S4PGWM000003")
    held = ingest(vault, "wlr_fixed", bundled(HELD_FILE), HELD_FILE)
    assert held.status == "held"
    warrant = approved(vault, Order(questions=("activity", "contacts")))
    vault.catalogue.close()
    return Prepared(directory, warrant, committed.batch_id, held.batch_id)


def bundled(name: str) -> bytes:
    """One of the files of the demonstration."""
    return resources.files("trafficvault").joinpath("demo_files", name).read_bytes()
