"""The vaults that the acts of `acts.py` are done to, each made in a directory of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.scenarios.test_crash import WLR
from tests.support import NOW, OTHER, SUBSCRIBER, Order, Usage, answer, approved, ingest, layout_at, signed_in, usage
from tests.support import new_vault as founded
from tests.trafficvault import rights_house
from tests.trafficvault.kept_files import AT, calls
from tests.trafficvault.key_choices import answering, choice
from tests.trafficvault.test_endings import END, NUMBER, binding
from tests.trafficvault.test_erasure import erasing
from tests.trafficvault.test_segments import enter
from tests.trafficvault.test_trimming import LEAP
from trafficvault import (
    adoption,
    app,
    backup,
    compact,
    docket,
    endings,
    expire,
    holding,
    holds,
    intake,
    proposals,
    replacement,
    rereading,
    rotation,
    withdrawal,
)
from trafficvault.clock import SetClock
from trafficvault.compaction import Selection
from trafficvault.durable import Disk
from trafficvault.policy_file import preset_text
from trafficvault.proposals import Proposal
from trafficvault.vault import Vault

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class House:
    """A vault below a directory, as a process finds it at `now`, on a disk of its own."""

    directory: Path
    now: datetime
    disk: Disk

    def opened(self) -> Vault:
        """The vault, opened by the next writer."""
        layout, clock = layout_at(self.directory), SetClock(self.now)
        return app.open_vault(layout, self.disk, clock, writer=True, ask=answering())


def new_vault(directory: Path, now: datetime = NOW) -> Vault:
    """A vault that believes its clock, and works in the room there is."""
    path, text = directory / "policy.toml", preset_text("telecom")
    text = text.replace('max_clock_step = "P7D"', 'max_clock_step = "P4000D"')
    path.write_text(text.replace('min_free = "1GiB"', "min_free = 0"))
    return founded(directory, str(path), now)


def filled(directory: Path, now: datetime = NOW) -> Vault:
    """Two files with records of two days, each with a bad row."""
    vault = new_vault(directory, now)
    rows = [Usage(at=f"202611{day}1200{second:02d}") for day in (18, 19) for second in range(2)]
    ingest(vault, "mvno_pipe", usage(rows) + "broken\n", "S4PGWM000001")
    others = [Usage(at=f"202611{day}130000", msisdn=OTHER, a=OTHER, b=SUBSCRIBER) for day in (18, 19)]
    ingest(vault, "mvno_pipe", usage(others) + "broken too\n", "S4PGWM000002")
    return vault


def kept(directory: Path) -> Vault:
    """Two files of a proxy's calls of one day, each with a bad row; both are kept as they came, for a week."""
    vault = new_vault(directory)
    for number, caller in enumerate((SUBSCRIBER, OTHER)):
        ingest(
            vault, "kamailio_flatstore", calls(2, AT + number * timedelta(hours=1), caller) + "broken\n", f"{number}"
        )
    return vault


def preserving(hold_for: str) -> Order:
    """An order to preserve what the first subscriber had."""
    since, until = "2026-05-01T00:00:00Z", "2026-12-01T00:00:00Z"
    return Order(start=since, end=until, reference="PV-9", hold_for=hold_for, legal_basis="126ni Sv")


def held(vault: Vault, hold_for: str = "P60D") -> str:
    """A hold of what the first subscriber had."""
    return approved(vault, preserving(hold_for))


def batch_of(vault: Vault, status: str = "committed") -> str:
    """The first batch that is `status`."""
    return next(one.batch_id for one in intake.batches(vault) if one.status == status)


def agreed(vault: Vault, made: Proposal, by: str = "ada") -> None:
    """A second person approves it, and nobody has carried it out yet."""
    proposals.approve(vault, signed_in(vault, by), made.proposal_id)


def one_to_withdraw(directory: Path) -> Vault:
    """A batch with a bad row, kept bytes and rows that a hold covers, approved to go; another of the same day."""
    vault = kept(directory)
    compact.compact(vault)
    held(vault)
    agreed(vault, withdrawal.propose(vault, signed_in(vault, "otto"), batch_of(vault), "the wrong file"))
    return vault


def held_to_withdraw(directory: Path) -> Vault:
    """A batch that is held, approved to go, and two of the same day that stay."""
    vault = filled(directory)
    assert ingest(vault, "wlr_fixed", WLR.read_bytes(), "WLR").status == "held"
    agreed(vault, withdrawal.propose(vault, signed_in(vault, "otto"), batch_of(vault, "held"), "the wrong file"))
    return vault


def one_to_replace(directory: Path) -> Vault:
    """A batch, and the file that is approved to take its place: with one record more and two fewer."""
    vault = filled(directory)
    path = directory / "right"
    path.write_text(usage([Usage(at=f"202611{day}120000") for day in (17, 18, 19)]))
    _, made = replacement.propose(
        vault, signed_in(vault, "otto"), batch_of(vault), "mvno_pipe", None, path, "it lacked a day"
    )
    agreed(vault, made)
    return vault


def one_to_reread(directory: Path) -> Vault:
    """A batch whose kept bytes are approved to be read again."""
    vault = kept(directory)
    agreed(vault, rereading.propose(vault, signed_in(vault, "otto"), batch_of(vault), "read by the wrong feed"))
    return vault


def with_service(directory: Path) -> Vault:
    """Two days of a subscriber whose service ended, as two persons say, another's on the first, a hold on neither."""
    vault = new_vault(directory)
    days = [("2026-11-10", "S-1", NUMBER), ("2026-11-11", "S-1", NUMBER), ("2026-11-10", "S-2", f"+{OTHER}")]
    lines = [binding(f"{day}T08:00:00Z", whose, number) for day, whose, number in days]
    assert ingest(vault, "native_ndjson", "".join(lines), "bindings").stored == 3
    made = endings.propose(vault, signed_in(vault, "otto"), {"subscriber": "S-1"}, END)
    proposals.approve(vault, signed_in(vault, "ada"), made.proposal_id)
    return vault


def one_to_erase(directory: Path) -> Vault:
    """A subject whose erasure was approved."""
    vault = rights_house.housed(directory, str(erasing(directory, "mobile_usage")))
    rights_house.granted(vault, rights_house.ask("erase"))
    return vault


def under_passphrase(directory: Path) -> Vault:
    """A vault whose keys lie under a passphrase."""
    vault = filled(directory)
    rotation.move(vault, signed_in(vault, "ada"), choice("passphrase"), answering())
    return vault


def held_under_passphrase(directory: Path) -> Vault:
    """A day that is due in two days and of which a hold covers the records, and one that lives, under a passphrase."""
    vault = old_and_new(directory)
    rotation.move(vault, signed_in(vault, "ada"), choice("passphrase"), answering())
    held(vault)
    return vault


def with_escrow_key(directory: Path) -> Vault:
    """A day that is due tomorrow, one that lives, a public key, and a place for the copy."""
    vault = old_and_new(directory)
    public = X25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (directory / "escrow.pem").write_bytes(public)
    (directory / "safe").mkdir()
    return vault


def old_and_new(directory: Path) -> Vault:
    """A day that is due in two days and one that lives."""
    vault = new_vault(directory)
    rows = [Usage(at=f"20260521120{number}00") for number in range(2)] + [Usage(at="20261119120000")]
    ingest(vault, "mvno_pipe", usage(rows) + "broken\n", "S4PGWM000001")
    return vault


def old_and_held(directory: Path) -> Vault:
    """The same, with a hold; and a file that is held and due half a year later."""
    vault = old_and_new(directory)
    held(vault)
    assert ingest(vault, "wlr_fixed", WLR.read_bytes(), "WLR").status == "held"
    return vault


def with_shorter_policy(directory: Path) -> Vault:
    """A shorter term that two persons agreed to."""
    vault = old_and_new(directory)
    vault.layout.policy.write_text(vault.layout.policy.read_text().replace('"P6M"', '"P5M"'))
    vault.catalogue.close()
    vault = House(directory, NOW, Disk()).opened()
    agreed(vault, adoption.propose(vault, signed_in(vault, "ada")), "aukje")
    return vault


def with_carves(directory: Path, hold_for: str = "P10D") -> Vault:
    """A hold that carved what it covers of a day that died since."""
    vault = old_and_new(directory)
    held(vault, hold_for)
    vault.catalogue.close()
    vault = House(directory, NOW + 3 * DAY, Disk()).opened()
    expire.expire(vault)
    return vault


def approved_again(directory: Path) -> Vault:
    """An order that was approved when its freeze was over, and what the freeze had kept of a day that died."""
    vault = old_and_new(directory)
    hold = docket.register(vault, signed_in(vault, "olga"), preserving("P60D").toml())
    vault.catalogue.close()
    vault = House(directory, NOW + 2.9 * DAY, Disk()).opened()
    expire.expire(vault)
    vault.catalogue.close()
    vault = House(directory, NOW + 3.1 * DAY, Disk()).opened()
    docket.approve(vault, signed_in(vault, "piet"), hold)
    return vault


def one_to_release(directory: Path) -> Vault:
    """The same, with a release that two persons agreed to."""
    vault = with_carves(directory, "P60D")
    (hold,) = {row.hold_id for row in holds.listing(vault)}
    agreed(vault, holding.propose_release(vault, signed_in(vault, "olga"), hold), "piet")
    return vault


def one_to_extend(directory: Path) -> Vault:
    """The same, with an extension by a month."""
    vault = with_carves(directory)
    (hold,) = {row.hold_id for row in holds.listing(vault)}
    until = (NOW + 40 * DAY).isoformat()
    agreed(vault, holding.propose_extension(vault, signed_in(vault, "olga"), hold, until), "piet")
    return vault


def of_two_months(directory: Path) -> Vault:
    """A UTC day with three records of one month and one of the next, which begins a term of its own."""
    vault = new_vault(directory, LEAP)
    moments = ("20270228080000", "20270228120000", "20270228230000", "20270301003000")
    ingest(vault, "mvno_pipe", usage([Usage(at=at) for at in moments]), "S4PGWM000001")
    return vault


def with_disclosure(directory: Path) -> Vault:
    """A package that was handed over, and what was asked for it."""
    vault = filled(directory)
    answer(vault, Order(), directory / "package")
    return vault


def with_log(directory: Path) -> Vault:
    """A vault whose log has several segments."""
    vault = new_vault(directory)
    ingest(vault, "kamailio_flatstore", calls())
    enter(vault, 10)
    return vault


def to_restore(directory: Path) -> Vault:
    """A backup, and a vault that was lost after a day had expired since."""
    vault = old_and_new(directory)
    backup.backup(vault, directory / "backup")
    vault.catalogue.close()
    late = House(directory, NOW + 3 * DAY, Disk()).opened()
    expire.expire(late)
    return late


def to_restore_with_log(directory: Path) -> Vault:
    """A backup, and a vault that was lost with all but its log, in which since then a day had expired, of which a hold
    kept something; it was extended, another warrant refused, a person disabled, a proposal left open.
    """
    vault = old_and_new(directory)
    hold = held(vault)
    other = docket.register(vault, signed_in(vault, "olga"), Order(reference="PV-10").toml())
    backup.backup(vault, directory / "backup")
    until = (NOW + 70 * DAY).isoformat()
    agreed(vault, made := holding.propose_extension(vault, signed_in(vault, "olga"), hold, until), "piet")
    holding.extend(vault, signed_in(vault, "piet"), made.proposal_id)
    docket.refuse(vault, signed_in(vault, "piet"), other, "not signed")
    holding.propose_release(vault, signed_in(vault, "olga"), hold)
    app.disable_person(vault, "otto", (signed_in(vault, "ada"),))
    vault.catalogue.close()
    late = House(directory, NOW + 3 * DAY, Disk()).opened()
    expire.expire(late)
    return late


def delivered(directory: Path) -> Vault:
    """A vault to which a file comes that repeats rows, brings others, and has a bad one."""
    vault = filled(directory)
    more = [Usage(at=f"20261118{hour}0000") for hour in (12, 14)]
    (directory / "S4PGWM000003").write_text(usage(more) + "broken\n")
    return vault


def to_compact(directory: Path) -> Vault:
    """One day that was merged before, and another; both with files that came late."""
    vault = filled(directory)
    compact.compact(vault, Selection(unsettled=True))
    ingest(vault, "mvno_pipe", usage([Usage(at=f"202611{day}160000") for day in (18, 19)]), "S4PGWM000004")
    return vault


def one_held(directory: Path) -> Vault:
    """A batch that is held."""
    vault = filled(directory)
    assert ingest(vault, "wlr_fixed", WLR.read_bytes(), "WLR").status == "held"
    return vault
