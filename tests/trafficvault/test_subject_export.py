"""Subject export: a customer receives their own records and nobody else's, and never a trace of a warrant."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support import NOW, SUBSCRIBER, Order, answer, approved, every_byte, layout_at, opened, signed_in
from tests.trafficvault.rights_house import (
    HELPLINE,
    ME,
    YOU,
    answered,
    ask,
    call,
    delivered,
    granted,
    housed,
    manifest,
    records,
)
from trafficvault import answering, app, compact, delivery, docket, expire, policy_file, rights, signing
from trafficvault.clock import SetClock
from trafficvault.compaction import Selection
from trafficvault.coverage import SignedWarrant, Vouch
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError, UsageError
from trafficvault.keys import KeyStore
from trafficvault.vault import Vault


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """A vault with a subject's records among others'."""
    return housed(tmp_path)


def test_a_subject_receives_their_own_records(vault: Vault, tmp_path: Path) -> None:
    """What they made, what came to them and what their line had, in time order; nothing of others."""
    done = answered(vault, ask(), tmp_path / "answer")
    rows = records(tmp_path / "answer")
    assert (done.state, done.records, done.package) == ("answered", 4, tmp_path / "answer")
    assert [row["record_class"] for row in rows] == ["mobile_usage"] * 3 + ["internet"]
    assert [row["row"] for row in rows] == [1, 2, 3, 5]
    assert rows[0]["imsi"] == "204990000000001"
    assert rows[0]["start_cell"] == "204-99-00a1-00b1"
    assert rows[3]["public_ip"] == "192.0.2.1"
    assert delivery.verify_package(tmp_path / "answer", vault.settings.public_key)["right"] == "access"


def test_other_parties_are_masked(vault: Vault, tmp_path: Path) -> None:
    """Four digits short, where a caller showed the number; hidden where it was withheld; nowhere else at all."""
    answered(vault, ask(), tmp_path / "answer")
    mine, came, withheld, _ = records(tmp_path / "answer")
    assert (mine["a_number"], mine["b_number"]) == (ME, "+3168765xxxx")
    assert (came["a_number"], came["b_number"]) == ("+3168765xxxx", ME)
    assert (withheld["a_number"], withheld["b_number"]) == ("hidden", ME)
    content = every_byte(tmp_path / "answer")
    for secret in (YOU, HELPLINE, YOU[1:], HELPLINE[1:], "204990000000002", "0687654321"):
        assert secret.encode() not in content


def test_the_answer_is_the_same_with_and_without_a_warrant(vault: Vault, tmp_path: Path) -> None:
    """Two vaults that differ in warrants and disclosures alone give the same bytes, file by file, manifest included."""
    vault.catalogue.close()
    other = tmp_path / "other"
    for name in ("vault", "vault.keys"):
        shutil.copytree(tmp_path / name, other / name)
    watched = app.open_vault(layout_at(other), Disk(), SetClock(NOW), writer=True)
    plain = opened(vault)
    delivered_to = [answer(watched, Order(reference=f"PV-{number}"), other / f"package-{number}") for number in (1, 2)]
    assert all(done.records for done in delivered_to)
    approved(watched, Order(reference="PV-3", targets=[("msisdn", YOU)]))
    docket.register(watched, signed_in(watched, "olga"), Order(reference="PV-4").toml())
    for number, one in enumerate([ask(), ask("port")]):
        first = answered(plain, one, tmp_path / f"answer-{number}")
        second = answered(watched, one, other / f"answer-{number}")
        assert replace(first, package=None) == replace(second, package=None)
        names = sorted(path.name for path in (tmp_path / f"answer-{number}").iterdir())
        assert names == ["manifest.json", "records.csv", "records.json", "records.parquet"]
        for name in names:
            mine, its = tmp_path / f"answer-{number}" / name, other / f"answer-{number}" / name
            assert mine.read_bytes() == its.read_bytes()
    assert rights.listing(plain) == rights.listing(watched)


def test_the_answer_is_the_same_with_and_without_a_hold(tmp_path: Path) -> None:
    """A day that expired is gone for its subject, also where a hold has carved their rows of it; before and after."""
    file = tmp_path / "policy.toml"
    file.write_text(policy_file.preset_text("telecom").replace('"P6M"', '"P14D"'))
    plain = housed(tmp_path, str(file))
    plain.catalogue.close()
    other = tmp_path / "other"
    for name in ("vault", "vault.keys"):
        shutil.copytree(tmp_path / name, other / name)
    watched = app.open_vault(layout_at(other), Disk(), SetClock(NOW), writer=True)
    hold = approved(watched, Order(reference="H", hold_for="P90D", legal_basis="126ni Sv"))
    docket.register(watched, signed_in(watched, "olga"), Order(reference="F").toml())
    later = datetime(2026, 11, 26, 8, tzinfo=UTC)
    answers = []
    for vault, where in ((opened(plain), tmp_path), (watched, other)):
        answered(vault, ask(), where / "before")
        passed = opened(vault, later)
        expire.expire(passed)
        assert answered(passed, ask(received=later, until=later), where / "after").records == 1
        with passed.catalogue.reading() as tx:
            answers.append({row["hold"] for row in tx.select("carves") if row["rows"]})
    assert answers == [set(), {hold}]
    for name in ("before", "after"):
        for path in sorted((tmp_path / name).iterdir()):
            assert path.read_bytes() == (other / name / path.name).read_bytes()


def test_a_request_never_opens_what_a_hold_kept(vault: Vault) -> None:
    """Not even one that names the hold, and that two persons signed."""
    hold = approved(vault, Order(reference="H", hold_for="P90D", legal_basis="126ni Sv"))
    olga, piet = signed_in(vault, "olga"), signed_in(vault, "piet")
    request = rights.load(vault, granted(vault, ask()))
    document = {**request.document, "supplements": hold}
    digest = signing.digest(document)
    vouches = [
        Vouch(one.name, NOW, one.sign(signing.statement(act, digest, one.name, NOW)))
        for one, act in ((olga, "register"), (piet, "approve"))
    ]
    with pytest.raises(RefusedError, match="this is a customer's request"):
        vault.keys.release_held(SignedWarrant(document, vouches[0], vouches[1]), hold)


def test_the_answer_is_the_same_after_compaction(vault: Vault, tmp_path: Path) -> None:
    """How the records lie on disk changes no byte of it."""
    more = [call(f"{day}T{hour:02d}:00:00", ME, YOU) for hour in (15, 9, 9) for day in (11, 10)]
    delivered(vault, more, "second")
    delivered(vault, more[::-1], "third")
    request = granted(vault, ask())
    olga = signed_in(vault, "olga")
    answering.answer(vault, olga, request, tmp_path / "before")
    compact.compact(vault, Selection(unsettled=True))
    answering.answer(vault, olga, request, tmp_path / "after")
    for path in (tmp_path / "before").iterdir():
        assert path.read_bytes() == (tmp_path / "after" / path.name).read_bytes()


def test_portability_gives_what_rests_on_contract(vault: Vault, tmp_path: Path) -> None:
    """The classes of entries that say `portable = true`, and no other."""
    done = answered(vault, ask("port"), tmp_path / "answer")
    assert done.records == 3
    assert {row["record_class"] for row in records(tmp_path / "answer")} == {"mobile_usage"}
    assert "internet" not in manifest(tmp_path / "answer")["classes"]


def test_the_manifest_says_why_and_for_how_long(vault: Vault, tmp_path: Path) -> None:
    """Entry by entry, in both languages, with one sentence about recipients."""
    answered(vault, ask(), tmp_path / "answer")
    told = manifest(tmp_path / "answer")
    assert {entry["en"]["id"] for entry in told["why"]} >= {"mobile", "lawful-requests"}
    assert told["why"][0]["nl"]["term"] == "6 maanden"
    assert "Whether that happened in a given case is never told." in " ".join(one["en"] for one in told["sentences"])
    assert told["restricted"] is False


def test_a_stranger_is_told_that_nothing_is_kept(vault: Vault, tmp_path: Path) -> None:
    """An answer without a record is an answer, with the columns it would have had."""
    done = answered(vault, ask(identifiers=[("msisdn", "+31600000009")]), tmp_path / "answer")
    assert (done.state, done.records) == ("answered", 0)
    assert done.sentences[0].en == "We keep no data of yours."


def test_records_before_the_service_began_are_not_given(vault: Vault, tmp_path: Path) -> None:
    """A number is given out again: the window says from when on it was this person's."""
    done = answered(vault, ask(since=NOW - timedelta(days=9, hours=12)), tmp_path / "answer")
    assert [row["row"] for row in records(tmp_path / "answer")] == [3, 5]
    assert done.records == 2


def test_a_user_of_a_business_customer_is_sent_to_it(vault: Vault, tmp_path: Path) -> None:
    """Nothing is exported: the answer names the organisation, for a record of it and for an extension."""
    rows = [
        {"class": "voip", "start": "2026-11-12T08:00:00Z", "a_number": "+31201110000", "b_number": YOU, "served": "a",
         "customer": "example-trading"},
    ]  # fmt: skip
    delivered(vault, rows, "pbx")
    for one in ([("msisdn", "+31201110000")], [("extension", "1001@example-trading")]):
        done = answered(vault, ask(identifiers=one), tmp_path / "answer")
        assert (done.state, done.package) == ("routed", None)
        assert [words.en for words in done.sentences] == [
            "example-trading is the controller of these data; address your request to that organisation."
        ]
        assert not (tmp_path / "answer").exists()


def test_two_persons_are_checked_by_the_key_port(vault: Vault, tmp_path: Path) -> None:
    """Without an approval, with one's own, or after the document was changed, no key is released."""
    olga, piet = signed_in(vault, "olga"), signed_in(vault, "piet")
    request = rights.add(vault, olga, ask())
    with pytest.raises(RefusedError, match="a second person approves it"):
        answering.answer(vault, olga, request, tmp_path / "answer")
    rights.approve(vault, piet, request)
    found = rights.load(vault, request)
    assert found.signed is not None
    store: KeyStore = vault.keys
    other = {**found.document, "targets": [{**found.document["targets"][0], "value": YOU}]}
    for document, reason in (
        (other, "not over this document"),
        ({**found.document, "right": "erase"}, "not over this document"),
    ):
        with pytest.raises(RefusedError, match=reason):
            store.admit(SignedWarrant(document, found.signed.registered, found.signed.approved))
    with pytest.raises(RefusedError, match=r"has not the role approver"):
        store.admit(SignedWarrant(found.document, found.signed.registered, found.signed.registered))
    store.admit(found.signed)


def test_only_access_and_portability_open_records(vault: Vault) -> None:
    """A signed request of another kind is admitted to nothing."""
    found = rights.load(vault, granted(vault, ask("restrict")))
    assert found.signed is not None
    with pytest.raises(RefusedError, match="opens records for access and port alone"):
        vault.keys.admit(found.signed)


def test_an_existing_or_inner_directory_is_refused(vault: Vault, tmp_path: Path) -> None:
    """An answer is in clear: it goes into a new directory outside the vault."""
    request, olga = granted(vault, ask()), signed_in(vault, "olga")
    with pytest.raises(UsageError, match="exists"):
        answering.answer(vault, olga, request, tmp_path)
    with pytest.raises(UsageError, match="lies inside vault"):
        answering.answer(vault, olga, request, vault.layout.vault / "answer")
    with pytest.raises(UsageError, match="it asks for access; name the directory to make with --out"):
        answering.answer(vault, olga, request)
    told = granted(vault, ask(right="complain"))
    with pytest.raises(UsageError, match="it asks for complain, whose answer is a sentence; leave --out out, which"):
        answering.answer(vault, olga, told, tmp_path / "answer")


def test_the_log_tells_before_anything_leaves(vault: Vault, tmp_path: Path) -> None:
    """Intent, then the result with the manifest's digest; a failure leaves the intent alone, and no package."""
    request, olga = granted(vault, ask()), signed_in(vault, "olga")
    path = next(vault.layout.vault.glob("records/mobile_usage/2026-11-10/*.parquet"))
    content = path.read_bytes()
    path.write_bytes(content[:-50])
    with pytest.raises(FaultError):
        answering.answer(vault, olga, request, tmp_path / "answer")
    assert not (tmp_path / "answer").exists()
    assert rights.load(vault, request).state == "approved"
    path.write_bytes(content)
    answering.answer(vault, olga, request, tmp_path / "answer")
    acts = [entry["act"] for entry in vault.audit.show(3)]
    assert sorted(acts) == ["rights-answer", "rights-answer-intent", "rights-answer-intent"]
    assert SUBSCRIBER not in str(vault.audit.show(100))
