"""The vault of the benchmarks, through the product's own acts and nothing below them: whatever is rewritten behind
these acts, the benchmarks stay.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.scale import NOW
from tests.support import Order, layout_at, new_vault
from trafficvault import app, intake
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.layout import Layout
from trafficvault.receipts import Receipt
from trafficvault.vault import Vault

_COMPACT = "trafficvault.compact"
ALL_TIME = ("2026-05-27T00:00:00+02:00", "2026-11-25T01:00:00+01:00")
"""A window that holds all traffic of the benchmarks and nothing that is past its term."""


def new_house(directory: Path) -> Vault:
    """A new vault with its staff below `directory`, which takes files of any size."""
    directory.mkdir(parents=True, exist_ok=True)
    layout = new_vault(directory, now=NOW).layout
    text = layout.settings.read_text(encoding="utf-8")
    layout.settings.write_text(re.sub(r'(?m)^max_file = "[^"]*"', 'max_file = "64GiB"', text), encoding="utf-8")
    return open_house(layout)


def open_house(layout: Layout) -> Vault:
    """The vault at `layout`, opened to write."""
    return app.open_vault(layout, Disk(), SetClock(NOW), writer=True)


def house_at(directory: Path) -> Vault:
    """The vault that `new_house` made below `directory`, opened again."""
    return open_house(layout_at(directory))


def take(vault: Vault, path: Path, feed: str = "mvno_pipe") -> Receipt:
    """The act `ingest`, as the command line calls it."""
    return intake.ingest(vault, feed, None, path)


def take_all(vault: Vault, paths: Sequence[Path], feed: str = "mvno_pipe") -> list[Receipt]:
    """The act `ingest` on several files, as the command line calls it."""
    return list(intake.ingest_all(vault, feed, None, paths))


def record_bytes(vault: Vault) -> int:
    """Bytes of all files with records or derived from them, lookup structures and seen blocks included."""
    return sum(path.stat().st_size for path in vault.layout.records.rglob("*") if path.is_file())


def can_compact() -> bool:
    """Whether this version of the product has the act `compact`."""
    return importlib.util.find_spec(_COMPACT) is not None


def compact(vault: Vault) -> None:
    """The act `compact`, on everything; nothing where this version has none. Raises when it left a partition out."""
    if can_compact():
        importlib.import_module(_COMPACT).compact(vault).require_clean()


def order(
    kind: str,
    value: str,
    classes: tuple[str, ...] | None,
    question: str = "activity",
    window: tuple[str, str] = ALL_TIME,
    reference: str = "PV-2026-000123",
) -> Order:
    """A warrant for one target with every category. Equal warrants are one, so a second one has another reference."""
    return Order([(kind, value)], *window, classes=classes, questions=(question,), reference=reference)
