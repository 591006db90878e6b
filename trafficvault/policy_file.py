"""The file of a policy: what an operator writes as policy.toml, read into a policy that nobody checks again.

Parsing is total: `parse` gives a policy, or raises; `faults` names everything that is wrong with a text, a sentence
each. What one entry says is checked first, then what the entries say together: of each class it must be told, on every
day, which term is the longest, and only location may end before the rest. The presets that are shipped are such files.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date, datetime, timedelta
from importlib import resources

from ingest.record import CLASSES, DISCLOSABLE
from trafficvault import register_terms
from trafficvault.errors import UsageError
from trafficvault.period import Period
from trafficvault.policy import (
    AUDIT_TERM,
    DISCLOSING,
    END_OF_SERVICE_WAIT,
    FILE,
    FORMAT,
    FREEZE_ON_RECEIPT,
    KEEP_RAW,
    KEY_COPIES_WITHIN,
    MAX_CLOCK_STEP,
    MIN_FREE,
    PURPOSES,
    RIGHTS_DEADLINE,
    SHORTER,
    Entry,
    Policy,
)
from trafficvault.register_terms import RegisterTerms
from trafficvault.terms import EVENTS, NOTHING, Term, Words
from trafficvault.toml_table import Table, parse_table, require_region
from trafficvault.zones import zone_of

PRESETS = ("telecom", "hosting")


def preset_text(name: str) -> str:
    """The TOML of the preset `name`. Raises `UsageError` for a name that is not of `PRESETS`."""
    if name not in PRESETS:
        raise UsageError(f"looking for policy preset {name!r}: there are {', '.join(PRESETS)}")
    return resources.files("trafficvault").joinpath("presets", f"{name}.toml").read_text(encoding="utf-8")


def parse(text: str) -> Policy:
    """The policy that the TOML `text` writes. Raises `UsageError` with its first fault; `faults` gives them all."""
    policy, problems = _parse(text)
    if policy is None:
        more = f"{len(problems) - 1} more: `config check` lists them" if len(problems) > 1 else None
        raise UsageError(problems[0], hint=more)
    return policy


def faults(text: str) -> list[str]:
    """Every fault of the TOML `text`, a sentence each; none when it is a policy."""
    return _parse(text)[1]


def _parse(text: str) -> tuple[Policy | None, list[str]]:
    entries: list[Entry] = []
    problems: list[str] = []
    bare: Policy | None = None
    try:
        top = parse_table(text, FILE)
        tables = top.tables("entry")
    except UsageError as problem:
        return None, [str(problem)]
    try:
        bare = _without_entries(top)
    except UsageError as problem:
        problems.append(str(problem))
    for table in tables:
        try:
            entries.append(_entry(table))
        except UsageError as problem:
            problems.append(str(problem))
    if not tables:
        problems.append(f"reading {FILE}: it has no entry: write [[entry]] for each row of the privacy statement")
    problems += _contradictions(entries)
    if problems or bare is None:
        return None, problems
    return replace(bare, entries=tuple(entries)), []


def _without_entries(top: Table) -> Policy:
    top.whole_or("format", FORMAT, FORMAT, FORMAT)
    zone = top.text("zone")
    try:
        zone_of(zone)
    except UsageError as problem:
        raise top.fault(f"zone: {problem}") from problem
    found = Policy(
        zone=zone,
        region=require_region(top),
        entries=(),
        key_copies_within=top.period_or("key_copies_within", KEY_COPIES_WITHIN),
        min_free=top.size_or("min_free", MIN_FREE),
        max_clock_step=top.period_or("max_clock_step", MAX_CLOCK_STEP),
        audit_term=top.period_or("audit_term", AUDIT_TERM),
        freeze_on_receipt=top.period_or("freeze_on_receipt", FREEZE_ON_RECEIPT),
        rights_deadline=top.period_or("rights_deadline", RIGHTS_DEADLINE),
        keep_raw=top.period_or("keep_raw", KEEP_RAW),
        end_of_service_wait=top.period_or("end_of_service_wait", END_OF_SERVICE_WAIT),
        terms=register_terms.parse(top.table("terms")) if top.has("terms") else RegisterTerms(),
        since=_date(top, "from"),
    )
    if found.audit_term == NOTHING:
        raise top.fault("audit_term is a period of no length; the log would be dropped while it is written")
    if found.rights_deadline == NOTHING:
        raise top.fault("rights_deadline is a period of no length; every request would be overdue when it came")
    for name in ("key_copies_within", "max_clock_step", "freeze_on_receipt", "keep_raw", "end_of_service_wait"):
        period: Period = getattr(found, name)
        if period.months:
            raise top.fault(f"{name} is {period}; write it in days or hours, months have no one length")
    if found.max_clock_step.delta() <= timedelta(0):
        raise top.fault(f"max_clock_step is {found.max_clock_step}; with no step at all every expiry would stop")
    top.finish()
    return found


def _date(top: Table, key: str) -> date | None:
    value = top.value(key) if top.has(key) else None
    if value is not None and (isinstance(value, datetime) or not isinstance(value, date)):
        raise top.fault(f"{key} must be a date, such as 2027-01-01")
    return value


def _entry(table: Table) -> Entry:
    name = table.text("id")
    table.where = f"{FILE}, entry {name!r}"
    classes = table.texts("classes") if table.has("classes") else ()
    for record_class in classes:
        table.require_known("classes", record_class, CLASSES)
    categories = table.texts("categories") if table.has("categories") else DISCLOSABLE
    for category in categories:
        table.require_known("categories", category, DISCLOSABLE)
    if not categories or not (classes or categories == DISCLOSABLE):
        raise table.fault("categories must name some of " + ", ".join(DISCLOSABLE) + ", of the entry's classes")
    entry = Entry(
        id=name,
        service=_words(table, "service"),
        data=_words(table, "data"),
        term=_term(table),
        controller=_words(table, "controller"),
        legal_basis=_words(table, "legal_basis"),
        classes=classes,
        categories=tuple(category for category in DISCLOSABLE if category in categories),
        purpose=table.require_known("purpose", table.text("purpose"), PURPOSES) if table.has("purpose") else None,
        portable=_flag(table, "portable"),
        erasable=_flag(table, "erasable"),
    )
    table.finish()
    if classes and not entry.term.ends:
        raise table.fault(f'it covers {", ".join(classes)} and its term has no end; add a cap, such as cap = "P6M"')
    return entry


def _flag(table: Table, key: str) -> bool:
    value = table.value(key) if table.has(key) else False
    if not isinstance(value, bool):
        raise table.fault(f"{key} must be true or false")
    return value


def _words(table: Table, key: str) -> Words:
    if isinstance(table.value(key), str):
        text = table.text(key)
        return Words(text, text)
    inner = table.table(key)
    found = Words(inner.text("nl"), inner.text("en"))
    inner.finish()
    return found


def _term(table: Table) -> Term:
    if isinstance(table.value("term"), str):
        period = table.period("term")
        if period == NOTHING:
            raise table.fault("term is a period of no length; a row that is not stored has no classes")
        return Term(period=period)
    inner = table.table("term")
    found = Term(
        until=inner.one_of("until", EVENTS),
        after=inner.period_or("after", NOTHING),
        cap=inner.period("cap") if inner.has("cap") else None,
    )
    inner.finish()
    if found.cap == NOTHING:
        raise inner.fault("cap is a period of no length")
    return found


def _contradictions(entries: list[Entry]) -> list[str]:
    """Ids given twice, classes whose longest term cannot be told, and categories that may not end when they would."""
    count = Counter(entry.id for entry in entries)
    found = [f"reading {FILE}: entry {name!r} stands there {times} times" for name, times in count.items() if times > 1]
    for record_class in CLASSES:
        unclear = _unclear(entries, record_class)
        whole = Policy("", "", tuple(entries))
        # What a warrant is answered from must be as even by itself.
        found += unclear or _uneven(whole, record_class) or _uneven(whole.serving(DISCLOSING), record_class)
    return found


def _unclear(entries: list[Entry], record_class: str) -> list[str]:
    found = []
    covering = [entry for entry in entries if record_class in entry.classes and entry.term.ends]
    for number, one in enumerate(covering):
        for other in covering[number + 1 :]:
            mine, its = one.term.lasts, other.term.lasts
            if not mine.covers(its) and not its.covers(mine):
                found.append(
                    f"reading {FILE}: class {record_class} is kept {mine} by entry {one.id!r} and {its} by entry "
                    f"{other.id!r}; which is longer depends on the day, so write both in the same units"
                )
    return found


def _uneven(policy: Policy, record_class: str) -> list[str]:
    """What is wrong with the terms of one class, category by category."""
    kept = {category: policy.entry_of(record_class, category) for category in DISCLOSABLE}
    if not any(kept.values()):
        return []
    if lacking := [category for category, entry in kept.items() if entry is None]:
        return [f"reading {FILE}: no entry keeps {' and '.join(lacking)} of class {record_class}; name them in one"]
    terms = {category: entry.term.lasts for category, entry in kept.items() if entry is not None}
    longest = max(terms.values(), key=lambda period: period.nominal)
    return [
        f"reading {FILE}: class {record_class} is kept {longest}, and its category {category} only {period}; "
        f"of a class only {', '.join(SHORTER)} may end before the rest, which dates, finds and tells apart its records"
        for category, period in terms.items()
        if category not in SHORTER and not period.covers(longest)
    ]
