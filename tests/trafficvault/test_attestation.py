"""Every kind of certificate that the vault issues holds offline, with its proof, by the public key alone."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import NOW, Order, Usage, approved, ingest, new_vault, opened, signed_in, usage
from tests.trafficvault import short_location
from tests.trafficvault.prepared_vault import Prepared
from trafficvault import attestation, certificates, checkpoints, expire, proposals, signing, withdrawal
from trafficvault.audit import AuditLog
from trafficvault.vault import Vault

HOLD = Order(reference="PV-2026-000300", hold_for="P20D", legal_basis="126ni Sv")


def proved(vault: Vault) -> set[str]:
    """What the vault's certificates are of, each checked as somebody does who has file, public key and checkpoint."""
    note = str(checkpoints.make(vault)["note"])
    kinds = set()
    for one in certificates.listing(vault):
        export = json.loads(signing.canonical(certificates.export(vault, one["id"])))
        verdict = attestation.check(export, vault.settings.public_key, note)
        assert (verdict.certificate, len(verdict.proved), verdict.open) == (one["id"], 3, ())
        kinds.add(one["what"])
    return kinds


def test_every_certificate_holds(stored: Vault, prepared: Prepared) -> None:
    """Of records, rejections, held batches, rows, and keys that nothing is kept under."""
    made = withdrawal.propose(stored, signed_in(stored, "otto"), prepared.committed, "the wrong file")
    withdrawal.carry_out(
        stored, signed_in(stored, "ada"), proposals.approve(stored, signed_in(stored, "ada"), made.proposal_id)
    )
    vault = opened(stored, NOW + timedelta(days=170))
    expire.expire(vault, signed_in(vault, "otto"))
    approved(vault, HOLD)
    for days in (178, 185, 200):
        vault = opened(vault, NOW + timedelta(days=days))
        expire.expire(vault, signed_in(vault, "otto"))
    vault.keys.ensure(["voip/2026-11-10/who"])
    expire.expire(vault)
    assert proved(vault) == {"records", "rejections", "held", "rows", "keys"}


def test_those_of_the_audit_log_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And those whose entries were dropped with their segments."""
    defaults = AuditLog.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "entries_per_segment", 4)
    vault = new_vault(tmp_path)
    ingest(vault, "mvno_pipe", usage([Usage()]), "S4PGWM000001")
    for days in (200, 201, 202, 203, 204, 600, 601):
        vault = opened(vault, NOW + timedelta(days=days))
        expire.expire(vault, signed_in(vault, "otto"))
    assert proved(vault) >= {"records", "audit"}
    with vault.catalogue.reading() as tx:
        assert [row for row in tx.select("certificates", kind="records") if row["line"] is not None]


def test_those_of_a_category_hold(tmp_path: Path) -> None:
    """Of a location that ends before its call."""
    vault = opened(short_location.new(tmp_path), short_location.GONE)
    issued = expire.expire(vault).certificates
    assert [body["categories"] for body in issued if body["what"] == "records"] == [["where"]]
    assert "records" in proved(vault)
