"""Versions of the policy: which rules when, what a second person must agree to, and that nothing comes back."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import FAST, PASSWORD, opened, signed_in
from tests.thorough import as_many
from tests.trafficvault.short_location import FIRST, asked, deliver, entry, new, rules
from trafficvault import adoption, app, expire, policies, proposals, retention, status
from trafficvault.errors import RefusedError, UsageError
from trafficvault.policies import Version
from trafficvault.policy import Policy
from trafficvault.policy_file import parse
from trafficvault.vault import Vault

DAY = timedelta(days=1)
ZONES = ("Europe/Amsterdam", "America/Havana", "UTC")
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """The vault of `short_location`, three months for usage, a month for its location."""
    return new(tmp_path, rules("P1M", "P3M"))


def written(vault: Vault, text: str, at: datetime | None = None) -> Vault:
    """The vault opened again after policy.toml was edited."""
    vault.layout.policy.write_text(text)
    return opened(vault, at)


def adopted(vault: Vault) -> Vault:
    """The vault after two persons agreed to policy.toml."""
    made = adoption.propose(vault, signed_in(vault, "ada"))
    adoption.carry_out(
        vault, signed_in(vault, "aukje"), proposals.approve(vault, signed_in(vault, "aukje"), made.proposal_id)
    )
    return opened(vault)


def known(vault: Vault) -> list[Version]:
    """Its versions."""
    with vault.catalogue.reading() as tx:
        return policies.versions(tx)


def term(vault: Vault, category: str = "when") -> str:
    """How long the policy in force keeps usage."""
    return str(vault.policy.require_term("mobile_usage", category))


def test_the_first_version_is_that_of_init(vault: Vault) -> None:
    """One version from the beginning, by nobody, and opening again adds none."""
    (first,) = known(opened(vault))
    assert (first.number, first.effect, first.persons) == (1, FIRST, ())
    assert first.policy == vault.policy


def test_what_is_proposed_is_what_stands_there_now(vault: Vault) -> None:
    """An edit after the vault was opened: text, digest and what it shortens are of one reading."""
    late = written(vault, rules("P1M", "P2M"), FIRST + DAY)
    text = rules("P7D", "P3M")
    late.layout.policy.write_text(text)
    told = ("where of mobile_usage would be kept 7 days instead of 1 month",)
    assert adoption.plan(late).shortens == told
    made = adoption.propose(late, signed_in(late, "ada"))
    assert (made.body["text"], tuple(made.body["shortens"])) == (text, told)
    assert made.body["digest"] == parse(text).digest
    late.layout.policy.write_text(rules("P1M", "P3M"))
    with pytest.raises(RefusedError, match="shortens no term"):
        adoption.propose(late, signed_in(late, "ada"))


def test_what_shortens_nothing_is_taken_over(vault: Vault) -> None:
    """A longer term rules as soon as a writer opens the vault, is a version, and stands in the audit log."""
    later = written(vault, rules("P2M", "P4M"), FIRST + DAY)
    assert (term(later), term(later, "where"), later.shortens) == ("P4M", "P2M", ())
    assert [item.effect for item in known(later)] == [FIRST, FIRST + DAY]
    entry = later.audit.show(1)[0]
    assert (entry["act"], entry["detail"]["version"]) == ("policy-changed", 2)
    assert len(known(opened(later))) == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (rules("P1M", "P2M"), "mobile_usage would be kept 2 months instead of 3 months"),
        (rules("P7D", "P3M"), "where of mobile_usage would be kept 7 days instead of 1 month"),
        (rules("P1M", "P90D"), "mobile_usage would be kept 90 days instead of 3 months"),
        (rules("P1M", "P3M").replace("Europe/Amsterdam", "UTC"), "on the calendar of UTC instead of Europe/Amsterdam"),
        (
            rules("P1M", "P3M").replace('term = "P3M"', 'term = { until = "end_of_service", cap = "P3M" }', 1),
            "telephony would be kept until end of service, at most 3 months instead of 3 months",
        ),
        (rules("P1M", "P3M", more='audit_term = "P1D"\n'), "the audit log would be kept 1 day instead of 1 year"),
    ],
    ids=["a class", "a category", "perhaps shorter", "another calendar", "an event before the cap", "the audit log"],
)
def test_what_shortens_a_term_does_not_rule(vault: Vault, text: str, sentence: str) -> None:
    """The version in force goes on ruling, and `status` says that policy.toml differs and why."""
    later = written(vault, text)
    assert later.policy == vault.policy
    assert any(sentence in found for found in later.shortens), later.shortens
    assert len(known(later)) == 1
    assert any("policy.toml differs" in told and sentence in told for told in status.status(later).attention)


def test_a_class_is_not_shortened_in_two_steps(vault: Vault) -> None:
    """Taken out of policy.toml and put in again with a shorter term, it is held against what it was kept for."""
    whole = rules("P1M", "P3M")
    without = whole.replace('["telephony"]', "[]")
    assert len(known(written(vault, without))) == 2
    again = written(vault, whole.replace('term = "P3M"', 'term = "P1D"', 1))
    assert any("telephony would be kept 1 day instead of 3 months" in found for found in again.shortens), again.shortens
    assert written(vault, whole).shortens == ()


@pytest.mark.parametrize("other", ['"P3M"', '{ until = "end_of_service", after = "P30D", cap = "P12M" }'])
def test_an_event_that_comes_earlier_shortens(other: str) -> None:
    """Without the entry that kept a class for a period, or that waited longer after the event, records go sooner."""

    def of(terms: list[str]) -> Policy:
        rows = [entry(f"e{number}", "X", ["binding"]) for number, _ in enumerate(terms)]
        texts = [row.replace('"X"', term) for row, term in zip(rows, terms, strict=True)]
        return parse('zone = "Europe/Amsterdam"\nregion = "NL"\n' + "".join(texts))

    until = '{ until = "end_of_service", after = "P1D", cap = "P24M" }'
    told = list(policies.shortenings(of([until, other]), of([until])))
    assert told == ["binding would be kept until an event that comes earlier, or that nothing waited for"]


def test_two_persons_adopt_a_shorter_term_after_its_plan(vault: Vault) -> None:
    """The plan names what would be due; an administrator proposes, another person approves, and it rules."""
    late = written(vault, rules("P7D", "P14D"), FIRST + 16 * DAY)
    plan = adoption.plan(late)
    assert [(item.kind, item.day.day, item.categories[0]) for item in plan.due] == [
        ("records", 10, "who"), ("records", 11, "who"), ("rejections", 12, "who"),
    ]  # fmt: skip
    assert expire.expire(late).certificates == ()
    with pytest.raises(RefusedError, match="takes one of the roles administrator"):
        adoption.propose(late, signed_in(late, "olga"))
    made = adoption.propose(late, signed_in(late, "ada"))
    with pytest.raises(RefusedError, match="a second person must approve"):
        proposals.approve(late, signed_in(late, "ada"), made.proposal_id)
    with pytest.raises(RefusedError, match="a proposal of kind policy, open"):
        adoption.carry_out(late, signed_in(late, "ada"), made)
    assert term(opened(late)) == "P3M"
    after = adopted(late)
    assert (term(after), after.shortens) == ("P14D", ())
    assert known(after)[-1].persons == ("ada", "aukje")
    assert after.audit.show(1)[0]["act"] == "policy-adopted"
    assert len(expire.expire(after).certificates) == 3


def test_nothing_to_adopt_is_refused(vault: Vault) -> None:
    """A policy.toml that shortens nothing needs no second person."""
    with pytest.raises(RefusedError, match="it shortens no term"):
        adoption.propose(vault, signed_in(vault, "ada"))
    vault.layout.policy.unlink()
    with pytest.raises(UsageError, match=r"reading policy\.toml"):
        adoption.plan(vault)


def test_what_was_agreed_to_is_the_text_of_then(vault: Vault) -> None:
    """An edit after the proposal is not adopted with it; and one that rules meanwhile makes it void."""
    late = written(vault, rules("P7D", "P2M"))
    made = adoption.propose(late, signed_in(late, "ada"))
    late = written(late, rules("P7D", "P1M"))
    agreed = proposals.approve(late, signed_in(late, "aukje"), made.proposal_id)
    adoption.carry_out(late, signed_in(late, "aukje"), agreed)
    after = opened(late)
    assert (term(after), after.shortens[0]) == ("P2M", "telephony would be kept 1 month instead of 2 months")
    again = adoption.propose(after, signed_in(after, "ada"))
    other = written(after, rules("P7D", "P5M"))
    approved = proposals.approve(other, signed_in(other, "aukje"), again.proposal_id)
    with pytest.raises(RefusedError, match="another one rules by now"):
        adoption.carry_out(other, signed_in(other, "aukje"), approved)


def test_a_version_rules_from_its_date(vault: Vault) -> None:
    """Until the local midnight of `from` the one before rules; going back to that takes the other one away."""
    text = rules("P1M", "P4M", more="from = 2026-12-01\n")
    midnight = datetime(2026, 11, 30, 23, tzinfo=UTC)
    later = written(vault, text)
    assert (term(later), later.shortens, known(later)[-1].effect) == ("P3M", (), midnight)
    assert term(opened(vault, midnight - timedelta(seconds=1))) == "P3M"
    assert term(opened(vault, midnight)) == "P4M"
    back = written(vault, rules("P1M", "P3M"), FIRST + DAY)
    assert len(known(back)) == 3
    assert term(opened(back, midnight + DAY)) == "P3M"


def test_a_date_to_come_is_held_against_what_would_rule_then(vault: Vault) -> None:
    """What would take the place of a longer version is shortening that one, though not the one of today."""
    written(vault, rules("P1M", "P6M", more="from = 2026-12-01\n"))
    later = written(vault, rules("P1M", "P4M", more="from = 2027-01-01\n"))
    assert later.shortens == tuple(
        f"{name} would be kept 4 months instead of 6 months" for name in ("telephony", "mobile_usage")
    )


def test_a_longer_term_revives_nothing(vault: Vault, tmp_path: Path) -> None:
    """Days of which a record had ended stay under the shorter term: refused when they come, and due as before."""
    end = datetime(2027, 2, 11, 0, 30, tzinfo=UTC)  # 10 November is due after three months, 11 November is not
    due = {item.day.day: item.due for item in expire.plan(opened(vault, end)) if "when" in item.categories}
    later = written(vault, rules("P1M", "P6M"), end)
    assert term(later) == "P6M"
    assert {item.day.day: item.due for item in expire.plan(later) if "when" in item.categories} == due
    receipt = deliver(later, [("gone", "2026-11-09T12:00:00Z"), ("kept", "2026-11-12T12:00:00Z")])
    assert (receipt.expired, receipt.stored) == (1, 1)
    expire.expire(later)
    assert deliver(later, [("again", "2026-11-10T12:00:00Z"), ("ok", "2026-11-13T12:00:00Z")]).expired == 1
    much_later = opened(vault, end + 60 * DAY)
    states = {item.day.day: item.action for item in expire.plan(much_later) if item.kind == "records"}
    assert (states[12], states[13]) == ("keep", "keep")


def test_an_administrator_alone_shortens_nothing(vault: Vault) -> None:
    """A second administrator may approve; the role alone does not let one person do both."""
    ada = signed_in(vault, "ada")
    app.add_person(vault, "bea", ("administrator",), PASSWORD, (ada,), FAST)
    late = written(vault, rules("P1M", "P2M"))
    made = proposals.approve(late, signed_in(late, "bea"), adoption.propose(late, ada).proposal_id)
    assert adoption.carry_out(late, ada, made)[0].startswith("version 2 of the policy rules from 20")


def _policy(months: int, zone: str) -> Policy:
    return parse(rules("P1M", f"P{months}M").replace("Europe/Amsterdam", zone))


@pytest.mark.no_cover
@given(
    terms=st.lists(
        st.tuples(
            st.integers(1, 6), st.sampled_from(["Europe/Amsterdam", "America/Havana", "UTC"]), st.integers(1, 100)
        ),
        min_size=1,
        max_size=5,
    ),
    days=st.lists(st.integers(-250, 600), min_size=1, max_size=8),
)
@settings(max_examples=as_many(60))
def test_what_one_version_ended_no_later_one_gives_back(terms: list[tuple[int, str, int]], days: list[int]) -> None:
    """Over any history: a record that had reached its term under a version that ruled has reached it ever after."""
    known, moment = [], START
    for number, (months, zone, lasting) in enumerate(terms, start=1):
        known.append(Version(number, _policy(months, zone), moment, moment, ()))
        moment += lasting * DAY + timedelta(hours=7)
    anchors = [START + step * DAY + timedelta(hours=step % 24, minutes=59) for step in days]
    gone: set[datetime] = set()
    for at in [START + step * DAY for step in range(0, (moment - START).days + 200, 9)]:
        current = policies.in_force(known, at)
        assert current is not None
        ruling = policies.with_lapses(current.policy, [item for item in known if item.effect <= at], at)
        kept = ruling.require_term("mobile_usage")
        ended = {anchor for anchor in anchors if retention.expires_at(anchor, kept, ruling.zone) <= at}
        assert gone <= ended
        gone |= ended
        for anchor in ended:
            day = anchor.date()
            assert retention.begins(day, kept, ruling.zone) <= at
            assert retention.due(day, kept, ruling.zone) - retention.expires_at(anchor, kept, ruling.zone) < 6 * DAY


def test_in_force_is_the_newest_that_has_begun() -> None:
    """Before all of them the first; one that another overtook never rules."""
    first, second, third = (
        Version(number, _policy(number, "UTC"), START + days * DAY, START, ())
        for number, days in ((1, 0), (2, 20), (3, 10))
    )
    versions = [first, second, third]
    assert policies.in_force([], START) is None
    assert policies.in_force(versions, START - DAY) is first
    assert policies.in_force(versions, START + 9 * DAY) is first
    assert policies.in_force(versions, START + 10 * DAY) is third
    assert policies.in_force(versions, START + 30 * DAY) is third
    lapsed = policies.with_lapses(third.policy, versions, START + 30 * DAY).lapses["mobile_usage", "when", None]
    assert [(str(item.lasts), item.last_day) for item in lapsed] == [("P1M", date(2025, 12, 11))]


def test_a_longer_term_of_a_purpose_gives_it_nothing_back(tmp_path: Path) -> None:
    """What a warrant did not see any more it does not see again, though another purpose kept it all the time."""

    def of(months: int, more: str = 'purpose = "lawful-request"') -> str:
        head = rules().split("[[entry]]")[0]
        bills = entry("bills", "P1Y", ["mobile_usage"], more='purpose = "billing"' if more else "")
        return head + bills + entry("requests", f"P{months}M", ["mobile_usage"], more=more)

    moment = datetime(2026, 12, 11, 0, 30, tzinfo=UTC)  # a month after the records of 10 November
    vault = new(tmp_path, of(1))
    for number, text in enumerate((of(6), of(6, ""))):
        later = written(vault, text, moment)
        assert later.shortens == ()
        rows, _ = asked(later, tmp_path / f"out-{number}")
        assert rows["record_id"].to_list() == ["r-1", "r-2"]


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ("lawful-request", 'purpose = "lawful-request"'),
        ("portability", 'purpose = "consent"\nportable = true'),
    ],
    ids=["a warrant's", "what is portable"],
)
@pytest.mark.parametrize(
    ("before", "kept"), [("P1M", "P1Y"), (None, "P1M")], ids=["its own term was shorter", "nothing was kept for it"]
)
def test_a_longer_term_of_a_part_gives_it_nothing_back(part: str, named: str, before: str | None, kept: str) -> None:
    """Neither what that part had ended, nor what had ended as a whole when the part had no entry yet."""

    def of(number: int, its: str | None, whole: str) -> Version:
        own = "" if its is None else entry("own", its, ["mobile_usage"], more=named)
        text = rules().split("[[entry]]")[0] + own + entry("bills", whole, ["mobile_usage"], more='purpose = "billing"')
        moment = START + (number - 1) * 90 * DAY
        return Version(number, parse(text), moment, moment, ())

    known, at = [of(1, before, kept), of(2, "P6M", "P1Y")], START + 90 * DAY
    ruling = policies.with_lapses(known[1].policy, known, at).part(part)
    kept_now = ruling.require_term("mobile_usage")
    assert retention.expires_at(at - 40 * DAY, kept_now, ruling.zone) < at
    assert retention.expires_at(at - 20 * DAY, kept_now, ruling.zone) > at + 100 * DAY
