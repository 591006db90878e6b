"""What a forensic examiner finds: every byte of both directories, before and after, and every key that he has on every
file that he has.

He knows the product: he derives keys as it does, and tries each that he can open, on every category of every file.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sqlite3
from contextlib import closing, suppress
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from ingest.record import BY_NAME, CATEGORIES, FRAME, category_of
from tests.scenarios.test_backup_proof import opened_keys
from tests.scenarios.test_markers import MARKERS, encodings, marked
from tests.support import NOW, Order, answer, every_byte, ingest, new_vault, opened, signed_in
from tests.trafficvault.prepared_vault import HELD_FILE, bundled
from tests.trafficvault.test_withdrawal import withdrawn
from trafficvault import expire, intake, providers, sealed_parquet, sealing
from trafficvault.durable import Disk
from trafficvault.errors import VaultError
from trafficvault.layout import Layout
from trafficvault.provider import from_environment
from trafficvault.ring import open_ring, ring_generations
from trafficvault.sealed_parquet import Place
from trafficvault.vault import Vault
from trafficvault.verify import verify

OLD, LIVING = date(2026, 5, 20), date(2026, 11, 10)
LATE = NOW + timedelta(days=3)
HELD = "0201234567"
"""A number in the file that is held."""
FIRST_ROW, SECOND_ROW = "marker-record-013-0", "marker-record-013-1"


def planted(directory: Path) -> tuple[Vault, str]:
    """A vault with marked records of an old and a living day, a rejected row, a held file, and a package outside; and
    the batch of the living day.
    """
    vault = new_vault(directory)
    receipts = [
        ingest(vault, "native_ndjson", marked(2).replace(f"{LIVING}", f"{day}") + bad, f"marker-bestand-015-{day}")
        for day, bad in ((OLD, marked(1, good=False)), (LIVING, ""))
    ]
    assert [(one.stored, one.rejected) for one in receipts] == [(2, 1), (2, 0)]
    assert HELD.encode() in bundled(HELD_FILE)
    assert ingest(vault, "wlr_fixed", bundled(HELD_FILE), "marker-bestand-015-held").status == "held"
    order = Order(targets=[("msisdn", MARKERS["a_number"])], start="2026-05-01T00:00:00Z", end="2026-11-20T00:00:00Z")
    assert answer(vault, order, directory / "package").records == 4
    return vault, receipts[1].batch_id


def image(vault: Vault, directory: Path) -> Layout:
    """A copy of both directories, as an examiner makes one."""
    found = Layout(directory / "vault", directory / "vault.keys")
    shutil.copytree(vault.layout.vault, found.vault, ignore=shutil.ignore_patterns("reserve"))
    shutil.copytree(vault.layout.keys, found.keys)
    return found


def in_clear(*directories: Path) -> set[str]:
    """The markers that stand in a byte of these directories, SQLite pages and write-ahead log among them, or a name."""
    content = every_byte(*directories)
    assert len(content) > 1000
    told = {**MARKERS, "customer": "marker-klant-014", "file": "marker-bestand-015", "held": HELD}
    return {name for name, value in told.items() if any(needle in content for needle in encodings(value))}


def pool(vault_id: str, *layouts: Layout) -> dict[tuple[str, str], bytes]:
    """Every key that opens: each ring of each directory, under each epoch key of each directory."""
    found: dict[tuple[str, str], bytes] = {}
    for layout in layouts:
        provider = providers.open_(layout, Disk(), vault_id, from_environment)
        for source in layouts:
            for generation in ring_generations(source):
                try:
                    ring = open_ring(source.ring(generation).read_bytes(), provider.unseal, vault_id, generation)
                except VaultError:
                    continue
                found |= {(f"{source.keys.parent.name}/{generation}", name): key for name, key in ring.keys.items()}
    return found


def readable(layout: Layout, day: date, keys: dict[tuple[str, str], bytes]) -> set[str]:
    """The marked values that the record files of that day give up, to who tries all of `keys` on every category."""
    found: set[str] = set()
    for path in sorted((layout.records / "telephony" / day.isoformat()).glob("*.parquet")):
        for generation in (1, 2):
            place = Place("telephony", day, path.stem, generation)
            derived = {sealing.derive(key, "file", place.file_id) for key in keys.values()}
            for frame in derived:
                if _opens(path, place, {FRAME: frame}):
                    found |= _values(path, place, frame, derived)
    return found


def _values(path: Path, place: Place, frame: bytes, derived: set[bytes]) -> set[str]:
    found: set[str] = set()
    for category in CATEGORIES:
        columns = [name for name in MARKERS if name in BY_NAME and category_of(name, place.record_class) == category]
        for key in {frame} if category == FRAME else derived:
            keys = {category: key} | {FRAME: frame}
            if columns and _opens(path, place, keys, columns):
                opened_ = sealed_parquet.unwrap(path, place, keys, columns)
                rows: pl.DataFrame = sealed_parquet.collect(sealed_parquet.scan(path, opened_, columns), place)
                found |= {str(value) for name in columns for value in rows[name].drop_nulls().to_list()}
    return found


def _opens(path: Path, place: Place, keys: dict[str, bytes], columns: list[str] | None = None) -> bool:
    try:
        sealed_parquet.unwrap(path, place, keys, columns or [])
    except VaultError:
        return False
    return True


def unsealed(layout: Layout, kind: str, keys: dict[tuple[str, str], bytes]) -> int:
    """How many sealed files of rejections or held batches some key opens."""
    count = 0
    for path in (layout.vault / kind).rglob("*.sealed"):
        for key in keys.values():
            try:
                sealing.unseal_file(key, path, f"{kind} {path.stem}")
            except VaultError:
                continue
            count += 1
    return count


def delivered(layout: Layout, keys: dict[tuple[str, str], bytes]) -> set[str]:
    """The names of delivered files that the pages of a catalogue give up to who tries all of `keys`."""
    with closing(sqlite3.connect(layout.catalogue)) as connection:
        rows = connection.execute("SELECT id, sealed FROM batches").fetchall()
    found: set[str] = set()
    for (batch, sealed), key in itertools.product(rows, keys.values()):
        with suppress(VaultError):
            found.add(json.loads(sealing.unseal(key, bytes.fromhex(sealed), f"batch {batch}"))["file"])
    return found


def test_an_expired_day_is_nowhere_and_opens_with_nothing_of_today(tmp_path: Path) -> None:
    """In clear it never was. With today's keys neither today's vault nor an old copy of it gives a value of the day up;
    with the keys of then the copy does, until the moment that the certificate names.
    """
    vault, _ = planted(tmp_path)
    before = image(vault, tmp_path / "before")
    assert in_clear(before.vault, before.keys) == set()
    assert MARKERS["imsi"] in (tmp_path / "package" / "records.csv").read_text()

    late = opened(vault, LATE)
    issued = expire.expire(late).certificates
    assert [one["day"] for one in issued if one["what"] == "records"] == [OLD.isoformat()]
    after = image(late, tmp_path / "after")
    assert in_clear(after.vault, after.keys) == set()

    today, then = pool(late.settings.id, after), pool(late.settings.id, before)
    assert readable(after, OLD, today) == set()
    assert readable(before, OLD, today) == set()
    assert FIRST_ROW in readable(before, LIVING, today) | readable(after, LIVING, today)
    told = readable(before, OLD, then)
    assert {MARKERS["a_number"], MARKERS["imsi"], MARKERS["start_cell"], FIRST_ROW} <= told
    final = (late.clock.now() + late.policy.key_copies_within.delta()).strftime("%Y-%m-%d")
    assert all(one["final_at"].startswith(final) for one in issued)


def test_rejected_rows_and_held_files_open_with_nothing_after_their_term(tmp_path: Path) -> None:
    """An old copy of them, and of the pages with the names of their files, opens with the keys of then; with those of
    today it does not once they have expired.
    """
    vault, _ = planted(tmp_path)
    before = image(vault, tmp_path / "before")
    then = pool(vault.settings.id, before)
    assert (unsealed(before, "rejections", then), unsealed(before, "held", then)) == (1, 1)
    assert "marker-bestand-015-held" in delivered(before, then)

    late = opened(vault, NOW + timedelta(days=200))
    expire.expire(late, signed_in(late, "otto"))
    today = pool(late.settings.id, image(late, tmp_path / "after"))
    assert (unsealed(before, "rejections", today), unsealed(before, "held", today)) == (0, 0)
    assert delivered(before, today) == delivered(late.layout, today) == set()
    assert in_clear(late.layout.vault, late.layout.keys) == set()


def test_a_withdrawn_batch_opens_with_nothing_of_today(tmp_path: Path) -> None:
    """Its day lives on, and the copy of its file from before gives nothing up; another day's does."""
    vault, living = planted(tmp_path)
    before = image(vault, tmp_path / "before")
    withdrawn(vault, living)
    after = image(vault, tmp_path / "after")
    today = pool(vault.settings.id, after)

    assert in_clear(after.vault, after.keys) == set()
    assert readable(before, LIVING, today) == set()
    assert readable(after, LIVING, today) == set()
    assert FIRST_ROW in readable(before, OLD, today)
    assert SECOND_ROW in readable(before, LIVING, pool(vault.settings.id, before))
    assert verify(vault).faults == ()


def test_a_withdrawn_held_file_opens_with_nothing_after_the_next_expiry(tmp_path: Path) -> None:
    """Nothing else lay under its key, which dies then; what was rejected that day keeps its own until its term."""
    vault, _ = planted(tmp_path)
    before = image(vault, tmp_path / "before")
    withdrawn(vault, next(one.batch_id for one in intake.batches(vault) if one.status == "held"))
    expire.expire(vault)
    today = pool(vault.settings.id, image(vault, tmp_path / "after"))
    assert (unsealed(before, "held", today), unsealed(before, "rejections", today)) == (0, 1)
    assert unsealed(before, "held", pool(vault.settings.id, before)) == 1


def test_an_old_ring_opens_with_no_key_of_today(tmp_path: Path) -> None:
    """The ring of then, put beside today's keys: its epoch key is gone from them, and so is every key in it."""
    vault, _ = planted(tmp_path)
    before = image(vault, tmp_path / "before")
    late = opened(vault, LATE)
    expire.expire(late)
    after = image(late, tmp_path / "after")
    for generation in ring_generations(before):
        shutil.copy(before.ring(generation), after.ring(generation))
    both = pool(late.settings.id, after)

    assert readable(before, OLD, both) == set()
    assert not [name for name in opened_keys(after.keys, late.settings.id) if OLD.isoformat() in name]
