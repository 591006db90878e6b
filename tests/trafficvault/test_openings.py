"""Openings: what a running process keeps of block files, how much, and for how long."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support import Order, Usage, approved, ingest, new_vault, opened, usage
from tests.trafficvault.block_vault import give_blocks
from trafficvault import blocks, docket, partitions, warrants
from trafficvault.coverage import SignedWarrant
from trafficvault.errors import FaultError, RefusedError
from trafficvault.holdings import StoredFile
from trafficvault.keys import Admission, Released
from trafficvault.openings import Openings
from trafficvault.search import Search
from trafficvault.vault import Vault


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """Three days with blocks."""
    vault = new_vault(tmp_path)
    ingest(vault, "mvno_pipe", usage([Usage(at=f"202611{day}120000") for day in (10, 11, 12)]), "S4PGWM000001")
    give_blocks(vault)
    return vault


def files_of(vault: Vault) -> list[StoredFile]:
    """Its files by day."""
    with vault.catalogue.reading() as tx:
        return sorted(vault.holdings.living_files(tx), key=lambda file: file.day)


def admission_of(vault: Vault) -> Admission:
    """A warrant over everything, admitted."""
    found = docket.load(vault, approved(vault, Order()))
    assert found.signed is not None
    return vault.keys.admit(found.signed)


def released(vault: Vault, admission: Admission, file: StoredFile, *categories: str) -> list[Released]:
    """The keys of some categories of a file."""
    return [vault.keys.release(admission, file.record_class, file.day, category, file.reach) for category in categories]


def test_a_directory_is_read_once(vault: Vault) -> None:
    """The second asking reads nothing: the file may even be gone."""
    openings, admission, (file, *_) = Openings(), admission_of(vault), files_of(vault)
    keys = released(vault, admission, file, "frame", "who", "when")
    first = openings.blocks(vault.layout, keys, file.file_id)
    next(vault.layout.records.rglob(f"{file.file_id}.blocks")).unlink()
    again = openings.blocks(vault.layout, keys, file.file_id)

    assert again.outline is first.outline
    assert set(again.categories) == {"frame", "who", "when"}
    with pytest.raises(FaultError):
        Openings().blocks(vault.layout, keys, file.file_id)


def test_what_is_kept_holds_no_key(vault: Vault) -> None:
    """Each asking brings its keys: what an earlier one was allowed, a later one is not; without who it gets none."""
    openings, admission, (file, *_) = Openings(), admission_of(vault), files_of(vault)
    openings.blocks(vault.layout, released(vault, admission, file, "frame", "who", "when", "how_much"), file.file_id)
    narrow = openings.blocks(vault.layout, released(vault, admission, file, "frame", "who"), file.file_id)

    assert set(narrow.categories) == {"frame", "who"}
    with pytest.raises(RefusedError, match="when was not opened"):
        narrow.every(["start"]).__next__()
    with pytest.raises(RefusedError, match="who was not opened"):
        openings.blocks(vault.layout, released(vault, admission, file, "frame", "when"), file.file_id)
    with pytest.raises(RefusedError, match="not the frame key"):
        openings.blocks(vault.layout, released(vault, admission, file, "who"), file.file_id)


def test_what_is_kept_of_one_generation_opens_nothing_for_another(vault: Vault) -> None:
    """Tokens for day keys of another generation are looked up as any: there are none, and two generations don't mix."""
    openings, admission, (file, *_) = Openings(), admission_of(vault), files_of(vault)
    keys = released(vault, admission, file, "frame", "who")
    openings.blocks(vault.layout, keys, file.file_id)
    others = [replace(one, day_generation=2) for one in keys]

    with pytest.raises(RefusedError, match="not in the ring"):
        openings.blocks(vault.layout, others, file.file_id)
    with pytest.raises(RefusedError, match="others of one class and day"):
        openings.blocks(vault.layout, [keys[0], others[1]], file.file_id)


def test_what_is_kept_has_a_bound(vault: Vault) -> None:
    """What was asked for longest ago is dropped first."""
    admission, files = admission_of(vault), files_of(vault)
    probe = Openings()
    keys = [released(vault, admission, file, "frame", "who") for file in files]
    size = max(
        probe.blocks(vault.layout, key, file.file_id).outline.directory.nbytes
        for key, file in zip(keys, files, strict=True)
    )
    openings = Openings(most_bytes=2 * size)
    places = [openings.blocks(vault.layout, keys[at], files[at].file_id).place for at in (0, 1, 0, 2)]

    assert len(openings) == 2
    assert [place in openings for place in places] == [True, False, True, True]
    openings.forget(places[0])
    openings.forget(places[0])
    assert len(openings) == 1


def test_a_renewal_empties_it(vault: Vault) -> None:
    """With the next generation of the ring nothing is left of what was kept under the one before."""
    openings, (file, other, *_) = Openings(), files_of(vault)
    openings.blocks(vault.layout, released(vault, admission_of(vault), file, "frame", "who"), file.file_id)
    vault.keys.renew((), lambda generation: _to_generation(vault, generation))
    admission = vault.keys.admit(_signed(vault))
    openings.blocks(vault.layout, released(vault, admission, other, "frame", "who"), other.file_id)
    assert len(openings) == 1


@pytest.mark.parametrize("by", ["another process", "this process"])
@pytest.mark.parametrize(("module", "act"), [(blocks, "rows_of"), (partitions, "read_released")])
def test_what_was_open_when_keys_died_answers_nothing(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, module: ModuleType, act: str, by: str
) -> None:
    """Files that are open, with blocks or without, do not outlive their keys: what is read after is not shown."""
    if module is partitions:
        for path in vault.layout.records.rglob("*.blocks"):
            path.unlink()
    found, real = docket.load(vault, approved(vault, Order())), getattr(module, act)
    assert found.signed is not None
    search = Search(vault, found.signed, warrants.scope_of(found.document), vault.clock.now())
    dying = opened(vault) if by == "another process" else vault
    destroyed = list[str]()

    def late(*arguments: Any) -> Any:
        if not destroyed:
            destroyed.extend(name for name in dying.keys.key_ids() if "2026-11-11" in name)
            dying.keys.renew(destroyed, lambda generation: _to_generation(dying, generation))
        return real(*arguments)

    monkeypatch.setattr(module, act, late)
    with pytest.raises(RefusedError, match=r"keys were destroyed meanwhile|destroyed keys meanwhile"):
        list(search.stretches(lambda step: None, with_neighbours=False))
    assert len(destroyed) == 5


def _to_generation(vault: Vault, generation: int) -> None:
    with vault.catalogue.transaction() as tx:
        tx.set_meta("generation", str(generation))


def _signed(vault: Vault) -> SignedWarrant:
    found = docket.load(vault, approved(vault, Order(reference="PV-2")))
    assert found.signed is not None
    return found.signed
