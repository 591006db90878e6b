"""What lies in a day of a vault, by its catalogue and on its disk."""

from __future__ import annotations

from datetime import date

from trafficvault.catalogue import Row
from trafficvault.vault import Vault

CLASS = "mobile_usage"
DAY = date(2026, 11, 10)


def rows_of(vault: Vault, day: date = DAY) -> list[Row]:
    """What the catalogue knows of the files of a day."""
    with vault.catalogue.reading() as tx:
        return tx.select("files", record_class=CLASS, day=day.isoformat())


def on_disk(vault: Vault, day: date = DAY) -> list[str]:
    """The names of the files of a day."""
    return sorted(path.name for path in vault.layout.partition(CLASS, day).iterdir())
