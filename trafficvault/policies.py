"""The versions of the policy: which one rules at a moment, and what had lapsed under those before it.

A term is a property of the day: the version in force rules every day that is held, from its date of effect on. A
version that was entered rules from then on, or from the local midnight of the date that it names (`from`), until a
later one does. A later version that lasts longer gives nothing back: each UTC day of which the earlier one had ended a
record, when it stopped ruling, stays under it as a whole (`Lapse`). So a day dies when the term it was kept under says,
no record of it outlives its own, and no stored row has to be taken out of a day that others of it stay in.

A version that shortens a term is entered by two persons (`trafficvault.adoption`); any other by an edit of policy.toml.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from ingest.record import CLASSES, WHEN
from trafficvault import policy_file, register_terms, retention, signing
from trafficvault.catalogue import Row, Transaction
from trafficvault.period import Period
from trafficvault.policy import DISCLOSING, PORTING, SHORTER, Policy
from trafficvault.terms import Lapse, Term
from trafficvault.zones import day_start

TABLE = "policies"
_CATEGORIES = (WHEN, *SHORTER)
_PARTS = (None, DISCLOSING, PORTING)
"""The whole of a policy, and what is served inside terms of its own."""
_DAY = timedelta(days=1)
_END = "end_of_service"


@dataclass(frozen=True, slots=True)
class Version:
    """One version: its number, from 1, the policy, from when it rules, when it was entered, and the two persons who
    agreed to it; none where it shortened nothing.
    """

    number: int
    policy: Policy
    effect: datetime
    entered: datetime
    persons: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """The form of `--json`."""
        return {
            "version": self.number,
            "digest": self.policy.digest,
            "effect": signing.instant(self.effect),
            "entered": signing.instant(self.entered),
            "persons": list(self.persons),
        }


@dataclass(frozen=True, slots=True)
class Ruling:
    """Which policy rules; what policy.toml would shorten, and while that says something it does not rule; whether it is
    still to be entered as a version, and whether that waits for a clock that is believed.
    """

    policy: Policy
    shortens: tuple[str, ...] = ()
    is_new: bool = False
    waits: bool = False


def versions(tx: Transaction) -> list[Version]:
    """Every version that was entered, the first one first."""
    return versions_of(tx.select(TABLE, order_by="number"))


def versions_of(rows: Iterable[Row]) -> list[Version]:
    """The versions that `rows` of the table tell, in their order."""
    return [_version(row) for row in rows]


def enter(tx: Transaction, text: str, now: datetime, persons: Sequence[str] = ()) -> Version:
    """Enters the policy that `text` writes as the newest version."""
    rules = policy_file.parse(text)
    number = len(tx.select(TABLE)) + 1
    found = Version(number, rules, effect_of(rules, now), now, tuple(persons))
    tx.put(
        TABLE,
        number=number,
        digest=rules.digest,
        text=text,
        effect_at=signing.instant(found.effect),
        entered_at=signing.instant(now),
        persons=signing.canonical(list(persons)).decode(),
    )
    return found


def ruling_number(tx: Transaction, rules: Policy, now: datetime) -> int:
    """The number of the version that `rules` is at `now`: it only grows, also when an earlier text rules again."""
    begun = [row for row in tx.select(TABLE) if datetime.fromisoformat(row["effect_at"]) <= now]
    # A process that was opened just before another version began goes on under its own.
    mine = [row["number"] for row in begun if row["digest"] == rules.digest]
    return max(mine or [row["number"] for row in begun], default=0)


def effect_of(rules: Policy, now: datetime) -> datetime:
    """From when `rules` would rule, entered at `now`: the local midnight of its own date, where that is to come."""
    return now if rules.since is None else max(now, day_start(rules.since, rules.zone))


def ruling(known: Sequence[Version], written: Policy, now: datetime) -> Ruling:
    """What rules at `now`, where policy.toml holds `written`.

    That does, when it is the newest version and its date has come, or when it would shorten nothing. Before the first
    version was entered it rules.
    """
    current = in_force(known, now)
    if current is None:
        return Ruling(written, is_new=True)
    kept = with_lapses(current.policy, known, now)
    if written.digest == known[-1].policy.digest:
        return Ruling(kept)
    effect = effect_of(written, now)
    # Held against the one it would take the place of, which may be another than that of today.
    replaced = in_force(known, effect) or current
    shortens = tuple(shortenings(replaced.policy, written, [version.policy for version in known]))
    if shortens:
        return Ruling(kept, shortens)
    return Ruling(kept if effect > now else with_lapses(written, known, now), is_new=True)


def in_force(known: Sequence[Version], now: datetime) -> Version | None:
    """The newest of the versions whose date of effect has come; None before the first was entered."""
    begun = [version for version in known if version.effect <= now]
    return begun[-1] if begun else next(iter(known), None)


def ruled(tx: Transaction, moment: datetime, otherwise: Policy) -> Policy:
    """The policy that ruled at `moment`, as it was taken then; `otherwise` before the first was entered."""
    known = [version for version in versions(tx) if version.entered <= moment]
    found = in_force(known, moment)
    return otherwise if found is None else with_lapses(found.policy, known, moment)


def with_lapses(rules: Policy, known: Sequence[Version], now: datetime) -> Policy:
    """`rules` with what had lapsed under the versions of `known` that have ruled before it: as a whole, and for each
    part of it that is served inside a term of its own. What had lapsed as a whole had lapsed for every part.
    """
    found: dict[tuple[str, str, str | None], tuple[Lapse, ...]] = {}
    bare = replace(rules, lapses={})
    for version, stopped in _reigns(known, rules, now):
        its_zone = version.policy.zone
        for part in _PARTS:
            mine, its = bare.part(part), version.policy.part(part)
            for key in ((record_class, category, part) for record_class in CLASSES for category in _CATEGORIES):
                new, old = mine.term_of(*key[:2]), its.term_of(*key[:2])
                if new is not None and old is not None and not _is_covered(new, rules.zone, old, its_zone):
                    lapse = Lapse(old.lasts, its_zone, _last_begun(old, its_zone, stopped))
                    found[key] = (*found.get(key, ()), lapse)
    for record_class, category, _ in [key for key in found if key[2] is None]:
        for part in _PARTS[1:]:
            key = record_class, category, part
            found[key] = tuple(dict.fromkeys((*found.get(key, ()), *found[record_class, category, None])))
    return replace(rules, lapses=found)


def shortenings(before: Policy, after: Policy, earlier: Sequence[Policy] = ()) -> Iterator[str]:
    """What would end earlier under `after` than under `before`, a sentence each.

    A class that `after` does not cover ends not at all, which `status` names as wrong; it is no shortening. One that
    `before` does not cover is held against the last of the `earlier` policies that did: else one person could shorten
    a term in two steps, by taking the class out and putting it in again. The terms of audit log and registers
    are among them.
    """
    if before.zone != after.zone:
        yield f"terms would be counted on the calendar of {after.zone} instead of {before.zone}"
    if not after.audit_term.covers(before.audit_term):
        yield f"the audit log would be kept {_instead(after.audit_term, before.audit_term)}"
    if not after.end_of_service_wait.covers(before.end_of_service_wait):
        told = _instead(after.end_of_service_wait, before.end_of_service_wait)
        yield f"an end of service that a file told would wait {told}"
    for register in register_terms.WRITTEN:
        old_term, new_term = before.terms.of(register), after.terms.of(register)
        if not new_term.covers(old_term):
            yield f"the register of {register} would be kept {_instead(new_term, old_term)}"
    for record_class in CLASSES:
        ruled = next((one for one in (before, *reversed(earlier)) if one.entry_of(record_class)), None)
        if ruled is None or after.entry_of(record_class) is None:
            continue
        pair: tuple[Term, Term] | None = None
        for category in _CATEGORIES:
            old, new = ruled.require_term(record_class, category), after.require_term(record_class, category)
            # A category that ends with its record, before and after, is told with it.
            if _is_shorter(new, old) and (old, new) != pair:
                pair = pair or (old, new)
                what = record_class if category == WHEN else f"{category} of {record_class}"
                yield f"{what} would be kept {_instead(new, old)}"
        if pair is None and _may_end_earlier(ruled, after, record_class):
            yield f"{record_class} would be kept until an event that comes earlier, or that nothing waited for"


def _instead(new: Period | Term, old: Period | Term) -> str:
    return f"{new.words('en')} instead of {old.words('en')}"


def waits(policy: Policy) -> dict[str, Period]:
    """The classes that are kept until the end of the service, with how long after it: the longest where entries
    differ. A class that any entry keeps for a period of its own is kept for that.
    """
    found: dict[str, Period] = {}
    for record_class in policy.classes():
        terms: list[Term] = [entry.term for entry in policy.entries if entry.covers(record_class, WHEN)]
        if all(term.until == _END for term in terms):
            longest = terms[0].after
            for term in terms[1:]:
                longest = longest if longest.covers(term.after) else term.after
            found[record_class] = longest
    return found


def _may_end_earlier(before: Policy, after: Policy, record_class: str) -> bool:
    """Whether the end of a service would take records that it did not take, or sooner than it did."""
    old, new = waits(before).get(record_class), waits(after).get(record_class)
    return new is not None and (old is None or not new.covers(old))


def _is_shorter(new: Term, old: Term) -> bool:
    if not new.lasts.covers(old.lasts):
        return True
    # The event may come before the cap.
    return new.until is not None and (old.until is None or not new.after.covers(old.after))


def _is_covered(mine: Term, zone: str, its: Term, its_zone: str) -> bool:
    """Whether whatever the earlier term `its` has ended, `mine` has ended too."""
    return zone == its_zone and its.lasts.covers(mine.lasts)


def _reigns(known: Sequence[Version], rules: Policy, now: datetime) -> Iterator[tuple[Version, datetime]]:
    """The versions that ruled before `rules` does, and when each stopped."""
    for index, version in enumerate(known):
        stopped = min((later.effect for later in known[index + 1 :]), default=now)
        # One that another overtook before its date of effect never ruled.
        if version.effect < min(stopped, now) and version.policy.digest != rules.digest:
            yield version, min(stopped, now)


def _last_begun(term: Term, zone: str, moment: datetime) -> date:
    """The last UTC day of which a record had reached `term` at `moment`."""
    day = (moment - term.lasts.least).astimezone(UTC).date() + _DAY
    while retention.begins(day, term, zone) > moment:
        day -= _DAY
    return day


@lru_cache(maxsize=64)
def _parsed(text: str) -> Policy:
    """The policy of a version, whose text never changes; a question that goes on from a hold asks for all of them."""
    return policy_file.parse(text)


def _version(row: Row) -> Version:
    return Version(
        row["number"],
        _parsed(row["text"]),
        datetime.fromisoformat(row["effect_at"]),
        datetime.fromisoformat(row["entered_at"]),
        tuple(json.loads(row["persons"])),
    )
