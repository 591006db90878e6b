"""The policy: one entry per row of the operator's privacy statement, as data. What it says is what expiry carries out.

An entry names its service, data, term, controller and legal basis, and the record classes that it covers. A row
without a class is printed, not stored. A term is a period, or lasts until an event (end of service) with a period after
it and a cap, counted from the record's anchor. Of such events `trafficvault.endings` is told.

An entry covers every category of its classes, or those that it names: location (`where`) may have a shorter term than
the call it belongs to. Where two entries cover a class and category, the longest keeps it. Two terms of which neither
always outlasts the other (`P6M` and `P183D`) are refused for one class: which of them is the longest would depend on
the day.

Parsing is total: `parse` gives a policy that nobody checks again, or raises. This module knows no record and no clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from importlib import resources

from ingest.record import CLASSES, DISCLOSABLE, INTERVAL_CLASSES, WHEN, WHERE
from trafficvault import register_terms, signing
from trafficvault.errors import RefusedError, UsageError
from trafficvault.period import LANGUAGES, Period
from trafficvault.register_terms import RegisterTerms
from trafficvault.terms import EVENTS, NOTHING, Lapse
from trafficvault.terms import Term as Term
from trafficvault.terms import Words as Words
from trafficvault.toml_table import Table, parse_table, require_region
from trafficvault.zones import zone_of

PURPOSES = ("contract", "billing", "consent", "security", "lawful-request")
DISCLOSING = "lawful-request"
"""The purpose that a warrant serves."""
PORTING = "portability"
"""No purpose of an entry: the part of a policy whose entries say that they are portable."""
PRESETS = ("telecom", "hosting")
FORMAT = 1
SHORTER = (WHERE,)
"""Categories that may end before the record they belong to. The others are what makes it a record: `when` dates it,
`who` finds it, and with `how_much` they tell whether it is there already."""
KEY_COPIES_WITHIN = Period(days=7)
MAX_CLOCK_STEP = Period(days=7)
AUDIT_TERM = Period(months=12)
FREEZE_ON_RECEIPT = Period(seconds=72 * 3_600)
RIGHTS_DEADLINE = Period(months=1)
"""Within which a customer's request is answered (GDPR art. 12(3))."""
MIN_FREE = 2**30
KEEP_RAW = Period(days=7)
END_OF_SERVICE_WAIT = Period(days=7)

_FILE = "policy.toml"
_HEADINGS = {
    "nl": ("Bewaartermijnen", ("Dienst", "Gegevens", "Bewaartermijn", "Verantwoordelijke", "Grondslag", "Klassen")),
    "en": ("Retention terms", ("Service", "Data", "Kept for", "Controller", "Legal basis", "Classes")),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the privacy statement."""

    id: str
    service: Words
    data: Words
    term: Term
    controller: Words
    legal_basis: Words
    classes: tuple[str, ...]
    categories: tuple[str, ...] = DISCLOSABLE
    purpose: str | None = None
    portable: bool = False
    """Whether a customer may take the data along: its basis is contract or consent (GDPR art. 20(1))."""
    erasable: bool = False
    """Whether nothing requires keeping it when its subject asks for erasure (GDPR art. 17)."""

    def covers(self, record_class: str, category: str) -> bool:
        """Whether it keeps that category of that class."""
        return record_class in self.classes and category in self.categories

    def term_words(self, language: str) -> str:
        """Its term as the privacy statement says it."""
        return self.term.words(language, interval=bool(self.classes) and set(self.classes) <= INTERVAL_CLASSES)

    def row(self, language: str) -> dict[str, str]:
        """The row as it is printed: each of its parts as a text in `language`."""
        return {
            "id": self.id,
            "service": self.service.in_(language),
            "data": self.data.in_(language),
            "term": self.term_words(language),
            "controller": self.controller.in_(language),
            "legal_basis": self.legal_basis.in_(language),
            "classes": ", ".join(self.classes),
            "categories": ", ".join(self.categories) if self.classes else "",
            "purpose": self.purpose or "",
        }


@dataclass(frozen=True, slots=True)
class Policy:
    """An operator's policy. Calendar arithmetic is done in its `zone`; `region` is the country of short numbers."""

    zone: str
    region: str
    entries: tuple[Entry, ...]
    key_copies_within: Period = KEY_COPIES_WITHIN
    min_free: int = MIN_FREE
    max_clock_step: Period = MAX_CLOCK_STEP
    freeze_on_receipt: Period = FREEZE_ON_RECEIPT
    audit_term: Period = AUDIT_TERM
    rights_deadline: Period = RIGHTS_DEADLINE
    keep_raw: Period = KEEP_RAW
    """How long the delivered bytes of a stored batch are kept, where its source does not say."""
    end_of_service_wait: Period = END_OF_SERVICE_WAIT
    """How long an end of service that a file told waits for somebody to withdraw it, before records go by it."""
    terms: RegisterTerms = field(default_factory=RegisterTerms)
    """How long registers keep their rows."""
    since: date | None = None
    """The local date from which it rules; None: from when it was entered."""
    serves: str | None = None
    """What it is the part for, if it is one: a purpose, or `PORTING`."""
    lapses: Mapping[tuple[str, str, str | None], tuple[Lapse, ...]] = field(
        default_factory=dict, compare=False, repr=False
    )
    """By class, category and part, what had lapsed under earlier versions; no part of what the operator wrote."""

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical form: comments and layout of the file do not change it, every word of it does."""
        return signing.digest(
            {
                "kind": "policy",
                "format": FORMAT,
                "zone": self.zone,
                "region": self.region,
                "key_copies_within": str(self.key_copies_within),
                "min_free": self.min_free,
                "max_clock_step": str(self.max_clock_step),
                "freeze_on_receipt": str(self.freeze_on_receipt),
                "audit_term": str(self.audit_term),
                **({} if self.rights_deadline == RIGHTS_DEADLINE else {"rights_deadline": str(self.rights_deadline)}),
                **(
                    {}
                    if self.end_of_service_wait == END_OF_SERVICE_WAIT
                    else {"end_of_service_wait": str(self.end_of_service_wait)}
                ),
                **({} if self.terms == RegisterTerms() else {"terms": self.terms.as_dict()}),
                **({} if self.keep_raw == KEEP_RAW else {"keep_raw": str(self.keep_raw)}),
                **({} if self.since is None else {"from": self.since.isoformat()}),
                "entries": [_canonical(entry) for entry in self.entries],
            }
        )

    def classes(self) -> list[str]:
        """The record classes that an entry covers, in the order of the record's own list."""
        return [name for name in CLASSES if self.entry_of(name) is not None]

    def entry_of(self, record_class: str, category: str = WHEN) -> Entry | None:
        """The entry whose term keeps that category of `record_class`: the longest of those that cover it, the first of
        equal ones. Left out, `category` is one that lasts as long as the record itself.
        """
        kept: Entry | None = None
        for entry in self.entries:
            if entry.covers(record_class, category) and (kept is None or not kept.term.lasts.covers(entry.term.lasts)):
                kept = entry
        return kept

    def term_of(self, record_class: str, category: str = WHEN) -> Term | None:
        """The longest term of that category of `record_class`, with what had lapsed before it ruled; None when no entry
        covers it.
        """
        entry = self.entry_of(record_class, category)
        if entry is None:
            return None
        lapses = self.lapses.get((record_class, category, self.serves), ())
        return replace(entry.term, lapses=lapses) if lapses else entry.term

    def require_term(self, record_class: str, category: str = WHEN) -> Term:
        """As `term_of`. Raises `RefusedError` when no entry covers it: it may not be stored."""
        term = self.term_of(record_class, category)
        if term is None:
            raise RefusedError(
                f"looking for the term of class {record_class}: no entry of {_FILE} covers it, so it may not be stored",
                hint="add the class to the entry of the privacy statement that it belongs to",
            )
        return term

    def early(self, record_class: str) -> tuple[str, ...]:
        """The categories of `record_class` that end, or may end, before the record they belong to."""
        whole = self.term_of(record_class)
        terms = {category: self.term_of(record_class, category) for category in SHORTER}
        return tuple(
            category
            for category, term in terms.items()
            if whole is not None and term is not None and (term.lapses or not term.lasts.covers(whole.lasts))
        )

    def shortest_of(self, record_class: str) -> str:
        """The category of `record_class` with which dies what holds all of them in one piece: rejected rows and held
        bytes.
        """
        return next(iter(self.early(record_class)), WHEN)

    def serving(self, purpose: str) -> Policy:
        """The policy as far as it serves `purpose`: of a class whose entries name purposes, those that name this."""
        apart = {name for entry in self.entries if entry.purpose is not None for name in entry.classes}
        if not apart and not self.lapses:
            return self

        def part(entry: Entry) -> Entry:
            left = tuple(name for name in entry.classes if name not in apart)
            return entry if entry.purpose == purpose else replace(entry, classes=left)

        return replace(self, entries=tuple(map(part, self.entries)), serves=purpose)

    def portable(self) -> Policy:
        """The policy as far as a customer may take data along: the entries that say so, each inside its own term."""
        left = tuple(entry if entry.portable else replace(entry, classes=()) for entry in self.entries)
        return replace(self, entries=left, serves=PORTING)

    def part(self, name: str | None) -> Policy:
        """The whole for None, for `PORTING` what is portable, and for a purpose what serves it."""
        if name is None:
            return self
        return self.portable() if name == PORTING else self.serving(name)

    def erasable(self) -> list[str]:
        """The classes of which every entry lets its subject's records go when they ask for it."""
        kept = {name for entry in self.entries if not entry.erasable for name in entry.classes}
        return [name for name in self.classes() if name not in kept]

    def as_dicts(self, language: str = "en") -> list[dict[str, str]]:
        """The rows of the table in `language`, in the order of the file, then those of the registers."""
        return [entry.row(language) for entry in self.table]

    def register_term(self, register: str) -> Period:
        """How long a register keeps a row. Annotations stay as long as what they are about, so at most for the longest
        term of a class; `registers` counts it exactly.
        """
        if register != register_terms.ANNOTATIONS:
            return self.terms.of(register)
        lasting = (entry.term.lasts for entry in self.entries if entry.classes)
        return max(lasting, key=lambda period: period.nominal, default=NOTHING)

    @property
    def table(self) -> tuple[Entry, ...]:
        """Every row of the privacy statement: its entries, and the registers, which cover no class."""
        registers = (
            Entry(
                f"register-{name}",
                register_terms.SERVICE,
                register_terms.WORDS[name],
                Term(period=self.register_term(name)),
                register_terms.CONTROLLER,
                register_terms.BASIS,
                (),
            )
            for name in register_terms.REGISTERS
        )
        return (*self.entries, *registers)

    def markdown(self, languages: Iterable[str] = LANGUAGES) -> str:
        """The table as Markdown, once per language, Dutch first."""
        return "\n\n".join(self._markdown_in(language) for language in languages)

    def _markdown_in(self, language: str) -> str:
        title, heads = _HEADINGS[language]
        rows = [heads, ("---",) * len(heads)]
        for entry, row in zip(self.table, self.as_dicts(language), strict=True):
            classes = row["classes"] or "–"
            if entry.classes and entry.categories != DISCLOSABLE:
                classes += f" ({row['categories']})"
            rows.append((row["service"], row["data"], row["term"], row["controller"], row["legal_basis"], classes))
        return f"## {title}\n\n" + "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in rows)


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
        top = parse_table(text, _FILE)
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
        problems.append(f"reading {_FILE}: it has no entry: write [[entry]] for each row of the privacy statement")
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
    table.where = f"{_FILE}, entry {name!r}"
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
    found = [
        f"reading {_FILE}: entry {name!r} stands there {times} times" for name, times in count.items() if times > 1
    ]
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
                    f"reading {_FILE}: class {record_class} is kept {mine} by entry {one.id!r} and {its} by entry "
                    f"{other.id!r}; which is longer depends on the day, so write both in the same units"
                )
    return found


def _uneven(policy: Policy, record_class: str) -> list[str]:
    """What is wrong with the terms of one class, category by category."""
    kept = {category: policy.entry_of(record_class, category) for category in DISCLOSABLE}
    if not any(kept.values()):
        return []
    if lacking := [category for category, entry in kept.items() if entry is None]:
        return [f"reading {_FILE}: no entry keeps {' and '.join(lacking)} of class {record_class}; name them in one"]
    terms = {category: entry.term.lasts for category, entry in kept.items() if entry is not None}
    longest = max(terms.values(), key=lambda period: period.nominal)
    return [
        f"reading {_FILE}: class {record_class} is kept {longest}, and its category {category} only {period}; "
        f"of a class only {', '.join(SHORTER)} may end before the rest, which dates, finds and tells apart its records"
        for category, period in terms.items()
        if category not in SHORTER and not period.covers(longest)
    ]


def _canonical(entry: Entry) -> Mapping[str, object]:
    texts = {name: getattr(entry, name) for name in ("service", "data", "controller", "legal_basis")}
    return {
        "id": entry.id,
        "term": str(entry.term),
        "classes": sorted(entry.classes),
        **({} if entry.purpose is None else {"purpose": entry.purpose}),
        **({} if entry.categories == DISCLOSABLE else {"categories": list(entry.categories)}),
        **{name: True for name in ("portable", "erasable") if getattr(entry, name)},
        **{name: {"nl": words.nl, "en": words.en} for name, words in texts.items()},
    }


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
