"""Ahead: what holds cover of a day is carved some days before it is due, by every expiry that has the keys.

So a vault that is locked when the day is due drops its files on time, hold or none: there is nothing left to carve.
What such a process can know without keys is one single value of the catalogue, in clear: until when everything was
carved, for which holds (a digest of rows that lie there in clear as well), and when. Days that are due later, files
that came since and holds that changed since are not covered by it; then the order to keep what is held goes before the
term.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from trafficvault import carving, holds, signing
from trafficvault.retention import Item
from trafficvault.vault import Vault

SPAN: Final = timedelta(days=7)
"""How long before it is due a day is carved: as long as the clock may jump by default."""
META: Final = "carved_ahead"
"""The `meta` row of what was carved: `at`, `until`, and `holds`, the digest of those that were looked at."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """What was carved: everything that is due until `until`, as files and holds were at `at`."""

    at: datetime
    until: datetime
    holds: str

    def covers(self, item: Item, files: Iterable[Mapping[str, Any]]) -> bool:
        """Whether nothing is left to carve of `item`, a whole day, among all `files` of the catalogue."""
        days = {(item.day + timedelta(days=step)).isoformat() for step in (0, 1)}
        mine = (row for row in files if row["record_class"] == item.record_class and row["day"] in days)
        late = any(datetime.fromisoformat(row["created_at"]) > self.at for row in mine)
        return item.due is not None and item.due <= self.until and not late


def carve(vault: Vault, items: Iterable[Item], causes: Mapping[tuple[str, date], str]) -> None:
    """Carves what holds cover of the whole days among `items` that are due within `SPAN`, for the same `causes` as when
    they are. A hold that is over by then keeps nothing of them. The caller holds the writer's lock.
    """
    now = vault.clock.now()
    dies = {
        (item.record_class, item.day): item.due
        for item in items
        if item.kind == "records" and item.ends_day and item.due is not None and now < item.due <= now + SPAN
    }
    with vault.catalogue.reading() as tx:
        # Before they are looked at: one that is registered meanwhile is not among them.
        looked_at = digest_of(tx.select(holds.TABLE))
    carving.carve(vault, [(*place, causes[place]) for place in dies], dies)
    with vault.catalogue.transaction() as tx:
        told = {"at": signing.instant(now), "until": signing.instant(now + SPAN), "holds": looked_at}
        tx.set_meta(META, signing.canonical(told).decode())


def told(text: str | None, rows: Iterable[Mapping[str, Any]]) -> Ahead | None:
    """What the value of `META` says, if it says it of the holds that `rows` of the catalogue are; a value of another
    form says nothing.
    """
    try:
        content = json.loads(text or "null")
        found = Ahead(signing.moment(content["at"]), signing.moment(content["until"]), str(content["holds"]))
    except (ValueError, KeyError, TypeError):
        # Nobody can check its seal here. Without it more stays, and with the keys the catalogue is found changed.
        return None
    return found if found.holds == digest_of(rows) else None


def digest_of(rows: Iterable[Mapping[str, Any]]) -> str:
    """Which holds there are, and until when each binds."""
    binding = [[row["id"], row["state"], row["until"]] for row in rows if row["state"] in holds.BINDING]
    return signing.digest({"holds": sorted(binding)})
