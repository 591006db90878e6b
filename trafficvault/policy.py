"""The policy: one entry per row of the operator's privacy statement, as data. What it says is what expiry carries out.

An entry names its service, data, term, controller and legal basis, and the record classes that it covers. A row
without a class is printed, not stored. A term is a period, or lasts until an event (end of service) with a period after
it and a cap, counted from the record's anchor. Of such events `trafficvault.endings` is told.

An entry covers every category of its classes, or those that it names: location (`where`) may have a shorter term than
the call it belongs to. Where two entries cover a class and category, the longest keeps it. Two terms of which neither
always outlasts the other (`P6M` and `P183D`) are refused for one class: which of them is the longest would depend on
the day.

This module knows no file, no record and no clock; `trafficvault.policy_file` reads a policy, and checks it for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date

from ingest.record import CLASSES, DISCLOSABLE, INTERVAL_CLASSES, WHEN, WHERE
from trafficvault import register_terms, signing
from trafficvault.errors import RefusedError
from trafficvault.period import LANGUAGES, Period
from trafficvault.register_terms import RegisterTerms
from trafficvault.terms import NOTHING, Lapse, Term, Words

FILE = "policy.toml"
PURPOSES = ("contract", "billing", "consent", "security", "lawful-request")
DISCLOSING = "lawful-request"
"""The purpose that a warrant serves."""
PORTING = "portability"
"""No purpose of an entry: the part of a policy whose entries say that they are portable."""
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
                f"looking for the term of class {record_class}: no entry of {FILE} covers it, so it may not be stored",
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
