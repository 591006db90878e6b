"""An old copy of everything that a vault seals, kind by kind: what lives opens, what is dead does not, and a key that
came back is found by each kind that it opens.
"""

from __future__ import annotations

import hashlib
import shutil
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from ingest.record import CATEGORIES
from tests.support import NOW, Order, approved, opened
from tests.trafficvault import short_location
from tests.trafficvault.kept_files import kept_vault
from tests.trafficvault.prepared_vault import Prepared
from tests.trafficvault.proof_house import expired
from tests.trafficvault.test_withdrawal import withdrawn
from trafficvault import attempts, carving, compact, expire, holds, kinds, lids, rewrite
from trafficvault.against import Trial, against
from trafficvault.errors import FaultError
from trafficvault.layout import hold_key_id
from trafficvault.provider import from_environment
from trafficvault.rewrite import Why
from trafficvault.sealed_parquet import Place
from trafficvault.thinning import Going
from trafficvault.vault import Vault

OTHER = "voip/2027-06-01"
"""A day that no vault here has: whose keys dead ones come back as."""
PRESERVE = Order(reference="PV-2026-000300", hold_for="P90D", legal_basis="126ni Sv")


def copy_of(vault: Vault, place: str = "copy") -> Path:
    """A copy of the vault directory as it is now."""
    return Path(shutil.copytree(vault.layout.vault, vault.layout.vault.with_name(place)))


def tried(vault: Vault, copy: Path, *, with_held: bool = False) -> Trial:
    """The copy, tried with today's keys."""
    return against(vault, copy, from_environment, with_held=with_held)


def of_kind(found: Trial, kind: str) -> list[tuple[str, bool]]:
    """State of each thing of that kind, and whether it opened."""
    return [(one.state, one.is_open) for one in found.files if one.kind == kind]


def key_of(vault: Vault, name: str) -> bytes:
    """A key of today's ring."""
    return vault.keys.custody("verify").key(name)


def back(vault: Vault, **dead: bytes) -> None:
    """Dead keys are in the ring again, as those of another day's categories."""
    for category, key in dead.items():
        vault.keys._random = partial(_again, key)
        vault.keys.ensure([f"{OTHER}/{category}"])


def _again(key: bytes, size: int) -> bytes:
    assert len(key) == size
    return key


def at(vault: Vault, moment: datetime) -> Vault:
    """The vault opened at `moment`, which its clock is believed for."""
    path = vault.layout.policy
    path.write_text(path.read_text().replace('max_clock_step = "P7D"', 'max_clock_step = "P4000D"'))
    return opened(vault, moment)


def test_everything_of_today_lives(stored: Vault) -> None:
    """Records, blocks, seen blocks, rejections, a held batch, entries, a warrant, the names of files: each opens."""
    compact.compact(stored)
    found = tried(stored, copy_of(stored), with_held=True)
    assert set(found.kinds()) == {
        *(kinds.RECORDS, kinds.BLOCKS, kinds.SEEN, kinds.SEGMENT, "rejections", "held batch"),
        *(attempts.NAMES, attempts.ROWS["warrants"]),
    }
    assert {(one.state, one.is_open) for one in found.files} == {("living", True)}
    assert found.dead == ()


def test_everything_that_expired_is_shut(stored: Vault) -> None:
    """After all terms not one opens, whatever it is; the verdict tells each kind with its numbers."""
    compact.compact(stored)
    copy = copy_of(stored)
    late, _ = expired(stored)
    found = tried(late, copy)
    dead = {one.kind for one in found.dead}
    assert dead == {kinds.RECORDS, kinds.BLOCKS, kinds.SEEN, "rejections", "held batch", attempts.NAMES}
    assert found.faults == ()
    told = found.sentences()
    assert "  block file: 3 tried, 3 dead (0 readable)" in told
    assert "  held batch: 1 tried, 1 dead (0 readable)" in told
    assert "  audit segment: 1 tried, 1 living (1 readable)" in told
    assert "verdict: nothing that should be unreadable could be opened" in told


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("mobile_usage/2026-11-10/frame", kinds.RECORDS),
        ("mobile_usage/2026-11-10/who", kinds.BLOCKS),
        ("rejections/mobile_usage/2026-11-20", "rejections"),
        ("rejections/mobile_usage/2026-11-20", attempts.NAMES),
        ("held/telephony/2026-11-20", "held batch"),
    ],
)
def test_a_key_that_came_back_is_found_by_what_it_opens(stored: Vault, key: str, kind: str) -> None:
    """Under another name it opens the dead thing, which is a fault with that name."""
    compact.compact(stored)
    copy, dead = copy_of(stored), key_of(stored, key)
    late, _ = expired(stored)
    back(late, how_much=dead)
    faults = [(one.kind, one.opened_by) for one in tried(late, copy).faults]
    assert (kind, f"{OTHER}/how_much") in faults


def test_a_seen_block_takes_the_three_keys_of_a_day(stored: Vault) -> None:
    """Two of the dead keys open nothing; with the third the seen block of that day opens."""
    copy = copy_of(stored)
    dead = {category: key_of(stored, f"mobile_usage/2026-11-10/{category}") for category in CATEGORIES}
    late, _ = expired(stored)
    back(late, who=dead["who"], when=dead["when"])
    assert tried(late, copy).faults == ()
    back(late, how_much=dead["how_much"])
    assert [(one.kind, one.opened_by) for one in tried(late, copy).faults] == [(kinds.SEEN, f"{OTHER}/who")]


def test_a_category_that_ended_is_tried_apart(tmp_path: Path) -> None:
    """The location of a living day: neither a column of the record file nor a section of the block file opens; with its
    key back both do. One that is only due is told as such.
    """
    vault = short_location.new(tmp_path)
    compact.compact(vault)
    copy, dead = copy_of(vault), key_of(vault, "mobile_usage/2026-11-10/where")
    due = tried(opened(vault, short_location.GONE), copy)
    assert set(of_kind(due, attempts.ENDED_CATEGORY)) == {("due", True)}

    late = opened(vault, short_location.GONE)
    expire.expire(late)
    found = tried(late, copy)
    shut = [one for one in found.files if one.kind == attempts.ENDED_CATEGORY]
    assert {one.file.rpartition(".")[2] for one in shut} == {"parquet: where", "blocks: where"}
    assert {(one.state, one.is_open) for one in shut} == {("expired", False)}
    assert set(of_kind(found, kinds.RECORDS)) == {("living", True)}
    back(late, where=dead)
    assert {one.kind for one in tried(late, copy).faults} == {attempts.ENDED_CATEGORY}
    assert len(tried(late, copy).faults) == len(shut)


def test_what_a_rewritten_day_had_before_is_dead(stored: Vault) -> None:
    """Files that compaction had replaced, which no certificate names, lay under the retired keys, too."""
    delivered, keys = copy_of(stored), {c: key_of(stored, f"mobile_usage/2026-11-10/{c}") for c in CATEGORIES}
    compact.compact(stored)
    everything = Going(("start",), lambda record_class, rows: pl.int_range(rows.height, eager=True) == 0)
    rewrite.remove(stored, [("mobile_usage", date(2026, 11, 10))], everything, Why("test", "a test", None, {}))
    found = tried(stored, delivered)
    assert sorted(of_kind(found, kinds.RECORDS)) == [("expired", False), ("living", True), ("living", True)]
    assert ("living", True) in of_kind(tried(stored, copy_of(stored, "after")), kinds.RECORDS)
    back(stored, frame=keys["frame"])
    assert [one.kind for one in tried(stored, delivered).faults] == [kinds.RECORDS]


def test_a_kept_file_is_dead_after_its_days(tmp_path: Path) -> None:
    """While it is kept it opens; when it is due it opens until the next expiry, and a day later it should not."""
    vault, _ = kept_vault(tmp_path)
    vault = at(vault, NOW)
    copy = copy_of(vault)
    (name,) = {name for name in vault.keys.key_ids() if name.startswith("raw/")}
    dead = key_of(vault, name)
    assert of_kind(tried(vault, copy), "kept file") == [("living", True)]
    over = NOW + timedelta(days=8)
    assert of_kind(tried(at(vault, over - timedelta(hours=20)), copy), "kept file") == [("due", True)]
    late = at(vault, over + timedelta(days=2))
    assert of_kind(tried(late, copy), "kept file") == [("expired", True)]
    assert [one.kind for one in tried(late, copy).faults] == ["kept file"]
    expire.expire(late)
    assert of_kind(tried(late, copy), "kept file") == [("expired", False)]
    back(late, who=dead)
    assert [one.kind for one in tried(late, copy).faults] == ["kept file"]


def test_what_lay_beside_a_withdrawn_batch_is_told_as_decided(stored: Vault, prepared: Prepared) -> None:
    """Its rows are dead; its rejections and its name open, under a key that others share, until that dies."""
    copy = copy_of(stored)
    withdrawn(stored, prepared.committed)
    found = tried(stored, copy)
    assert of_kind(found, "rejections") == [("beside", True)]
    assert sorted(set(of_kind(found, attempts.NAMES))) == [("beside", True), ("living", True)]
    assert sorted(of_kind(found, kinds.RECORDS)) == [("expired", False), ("expired", False), ("living", True)]
    assert found.faults == ()
    assert any("decision 0019" in one and "2 of 2 readable" in one for one in found.sentences())
    late, _ = expired(stored)
    assert of_kind(tried(late, copy), "rejections") == [("expired", False)]


def test_what_a_hold_keeps_ends_with_it(stored: Vault) -> None:
    """It lives while the hold binds, is due when that is over, and should be unreadable a day later; nobody who may not
    read the docket is told.
    """
    stored = at(stored, NOW)
    hold = approved(stored, PRESERVE)
    carving.carve(stored, [("mobile_usage", date(2026, 11, 10), "expiry")])
    copy, key = copy_of(stored), key_of(stored, hold_key_id(hold))

    def carves(vault: Vault) -> set[tuple[str, bool]]:
        found = tried(vault, copy, with_held=True)
        return {(one.state, one.is_open) for one in found.files if one.file.startswith(f"holds/{hold}/")}

    assert carves(stored) == {("living", True)}
    quiet = tried(stored, copy)
    assert not {one.kind for one in quiet.files} & attempts.DOCKET
    assert any(one.startswith("not tried: what holds keep") for one in quiet.sentences())
    for moment, state in ((timedelta(days=90, hours=1), "due"), (timedelta(days=92), "expired")):
        assert carves(at(stored, NOW + moment)) == {(state, True)}
    late = at(stored, NOW + timedelta(days=92))
    expire.expire(late)
    assert carves(late) == {("expired", False)}
    with late.catalogue.transaction() as tx:
        row = tx.get(holds.TABLE, id=hold)
        assert row is not None
        tx.put(holds.TABLE, **row | {"state": holds.LOST})
    back(late, who=key)
    assert carves(late) == {("expired", True)}
    with late.catalogue.transaction() as tx:
        tx.delete(holds.TABLE, id=hold)
    assert carves(late) == {("unknown", True)}


def test_the_copy_is_left_as_it_was(stored: Vault) -> None:
    """Not one byte of it changes and no file comes beside, also where the catalogue has a write-ahead log; what was
    committed there alone is tried.
    """
    warrant = approved(stored, PRESERVE)
    copy = copy_of(stored)
    assert (copy / "catalogue.db-wal").stat().st_size > 0

    def bytes_of() -> dict[str, str]:
        files = [path for path in copy.rglob("*") if path.is_file()]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = bytes_of()
    found = tried(stored, copy, with_held=True)
    assert bytes_of() == before
    assert [one.state for one in found.files if one.file == f"catalogue.db: warrants {warrant}"] == ["living"]


def test_half_written_and_strange_files_are_told(stored: Vault) -> None:
    """What ends before its keys were written is shut; a whole one is tried as what it is; of other files it is told how
    many, by no name.
    """
    copy = copy_of(stored)
    day = next((copy / "records").glob("*/*"))
    whole = next(day.glob("*.parquet"))
    whole.with_name(f"{whole.name}.part-01").write_bytes(whole.read_bytes())
    whole.with_name("00ff.blocks.part-02").write_bytes(b"half")
    (copy / "compacting" / "spill").mkdir(parents=True)
    (copy / "compacting" / "spill" / "range-1").write_bytes(b"rows")
    (copy / "31612345678.txt").write_text("a stranger")
    found = tried(stored, copy)
    assert sorted(of_kind(found, attempts.HALF)) == [("expired", False), ("living", True)]
    told = "\n".join(found.sentences())
    assert "not tried: 1 files that no vault directory has" in told
    assert "31612345678" not in told
    assert "their key was never written anywhere" in told


@pytest.mark.parametrize("root", ["held", "rejections", "audit", "records"])
def test_a_file_of_another_form_is_not_taken_for_unreadable(stored: Vault, root: str) -> None:
    """Of each kind: what does not begin or end as it should is named, and nothing is said of the rest."""
    compact.compact(stored)
    copy = copy_of(stored)
    for path in [path for path in (copy / root).rglob("*") if path.is_file() and path.suffix != ".parquet"]:
        kept = path.read_bytes()
        path.write_bytes(b"something else\n")
        with pytest.raises(FaultError, match=r"reading|opening|audit"):
            tried(stored, copy)
        path.write_bytes(kept)


def test_a_day_that_is_due_opens_until_the_next_expiry(stored: Vault) -> None:
    """It is told apart, and is no fault; a day later, when nobody expired it, it is. What lies under a day of
    which the vault knows nothing should not open, and the key is named that opens it all the same.
    """
    copy = copy_of(stored)
    day = next((copy / "records" / "mobile_usage").glob("2026-11-10"))
    shutil.copytree(day, copy / "records" / "voip" / "2026-01-01")

    def of_first(now: datetime) -> set[tuple[str, bool]]:
        found = tried(at(stored, now), copy)
        return {(one.state, one.is_open) for one in found.files if "/2026-11-10/" in one.file}

    plan = expire.plan(stored, NOW + timedelta(days=175))
    (due,) = (item.due for item in plan if (item.kind, item.day) == ("records", date(2026, 11, 10)))
    assert due is not None
    assert of_first(due - timedelta(minutes=1)) == {("living", True)}
    assert of_first(due) == {("due", True)}
    assert any(one.startswith("of what is due: 2 of 2") for one in tried(at(stored, due), copy).sentences())
    assert of_first(due + timedelta(days=2)) == {("expired", True)}
    strange = {one.kind: one for one in tried(stored, copy).files if "/2026-01-01/" in one.file}
    assert {one.state for one in strange.values()} == {"unknown"}
    assert not strange[kinds.SEEN].is_open
    assert strange[kinds.RECORDS].opened_by == "mobile_usage/2026-11-10/frame"


def test_a_clock_that_jumped_makes_nothing_a_fault(stored: Vault) -> None:
    """What is due is judged by the last moment that the log believes."""
    copy = copy_of(stored)
    assert {one.state for one in tried(opened(stored, NOW + timedelta(days=900)), copy).files} == {"living"}


def test_what_has_no_section_or_another_form_is_told(tmp_path: Path) -> None:
    """A block file without a location has none to be tried; of one whose form is unknown nothing is said."""
    vault = short_location.new(tmp_path)
    compact.compact(vault)
    key, day = key_of(vault, "mobile_usage/2026-11-10/who"), date(2026, 11, 10)
    (path,) = vault.layout.partition("mobile_usage", day).glob("*.blocks")
    place = Place("mobile_usage", day, path.stem)
    assert len(lids.on_section(path, place, key, "where")) == 1
    (whole,) = vault.layout.partition("mobile_usage", day).glob("*.parquet")
    frame = key_of(vault, "mobile_usage/2026-11-10/frame")
    assert len(lids.on_columns(whole, place, frame, "where")) == 3
    with pytest.raises(FaultError, match="of another form"):
        lids.on_section(path, place, bytes(32), "where")
    content = bytearray(whole.read_bytes())
    content[-12] ^= 1
    whole.write_bytes(content)
    with pytest.raises(FaultError, match="its footer opens and is damaged"):
        lids.on_columns(whole, place, frame, "where")


@pytest.mark.parametrize("named", ['{"keyMaterialType":x}', '{"keyMaterialType":"\xff"}', '{"keyMaterialType":1}'])
def test_a_damaged_name_of_a_key_is_a_fault(tmp_path: Path, named: str) -> None:
    """What stands in clear at the end of a record file is read, not trusted: no bit of it is an internal error."""
    path, content = tmp_path / "one.parquet", named.encode("latin-1")
    path.write_bytes(b"PARE" + content + len(content).to_bytes(4, "little") + b"PARE")
    with pytest.raises(FaultError, match="not of its form"):
        lids.on_records(path, Place("internet", date(2026, 11, 20), "one"))
