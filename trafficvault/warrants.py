"""Warrants: what an authority orders, read from TOML into one canonical document, and what it then allows.

The canonical document is what people sign and what the vault keeps; equal warrants give equal documents, whatever their
spelling. Everything here is pure: `parse` reads text, `objections` and `check_words` answer with reasons. Who
registered and who approved is the business of `trafficvault.docket`, and whether their signatures hold that of
`trafficvault.keys`. No sentence here repeats the value of a target: it cites the target's number in the file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ingest.record import CLASSES, DISCLOSABLE, WHEN
from queries.questions import Question
from queries.scope import Scope
from trafficvault import outlook, signing, targets, wording
from trafficvault.errors import RefusedError, UsageError
from trafficvault.period import Period
from trafficvault.terms import Term
from trafficvault.toml_table import Table, parse_table

KINDS = ("produce", "preserve", "standing")
"""What a warrant can order: records that are there, to keep them, records still to come. The last is not handled."""
PRODUCE, PRESERVE = KINDS[:2]
MOST_HOLD = {"126ni": Period(days=90), "126ne": Period(days=28), "epoc-pr": Period(days=60)}
"""How long an order to preserve may bind at a time: art. 126ni Sv, 126ne Sv, Regulation (EU) 2023/1543 art. 11.

What art. 11 says of extensions is not built in: refused wrongly, one would cost records that the law wants kept.
"""
_EPOC_PR_BY = "2023/1543"
"""The number of the regulation under which every order to preserve is an EPOC-PR, also where that word is left out."""
MOST_HOLD_ELSE = Period(days=90)
"""By any other basis: Budapest Convention art. 16 (2)."""
MOST_TOLERANCE = timedelta(days=1)
MOST_MATCHES = 1000
EARLIEST, LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2101, 1, 1, tzinfo=UTC)
"""Every moment of a warrant is in the years 1990 to 2100: another is a slip of the pen, and would end the calendar."""

BASES_WITH_JUDGE = frozenset({"126n"})
"""Articles of the Dutch code of criminal procedure that need an examining judge's authorisation."""

_FILE = "the warrant"
_LANGUAGE = re.compile(r"[a-z]{2}")


@dataclass(frozen=True, slots=True)
class WarrantDocument:
    """A warrant in canonical form. `notes` are remarks on what was written, and no part of what is signed."""

    document: dict[str, Any] = field(repr=False)
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, document: dict[str, Any]) -> WarrantDocument:
        """The warrant whose canonical document was kept."""
        return cls(document)

    @property
    def digest(self) -> str:
        """What people sign: the digest of the canonical document."""
        return signing.digest(self.document)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes it covers, in the record's order."""
        return tuple(self.document["classes"])

    @property
    def categories(self) -> frozenset[str]:
        """The categories it covers."""
        return frozenset(self.document["categories"])

    @property
    def windows(self) -> tuple[tuple[datetime, datetime], ...]:
        """The distinct windows [from, to) of its targets, earliest first."""
        return tuple(sorted({(_moment(item["from"]), _moment(item["to"])) for item in self.document["targets"]}))


def parse(text: str, questions: Collection[str]) -> WarrantDocument:
    """The warrant that the TOML in `text` writes; `questions` are the names that exist.

    Raises `UsageError` when it is not of the form, `RefusedError` when it is and a rule forbids it.
    """
    top = parse_table(text, _FILE)
    preserves = top.text("kind") == PRESERVE
    document: dict[str, Any] = {
        "kind": "warrant",
        "v": 1,
        "reference": top.text("reference"),
        "kind_of_order": top.one_of("kind", KINDS),
        "authority": top.text("authority"),
        "legal_basis": top.text("legal_basis"),
        "received": _instant(top, "received"),
        "issued": _instant_or_none(top, "issued"),
        "valid_until": _instant_or_none(top, "valid_until"),
        "deadline": _instant_or_none(top, "deadline"),
        "case": top.text_or_none("case"),
        "document": top.text_or_none("document"),
        "judge": top.text_or_none("judge"),
        "oral": _flag(top, "oral"),
        "urgent": _flag(top, "urgent"),
        "language": _language(top),
        "supplements": top.text_or_none("supplements"),
        "classes": _words(top, "classes", CLASSES) if top.has("classes") else list(CLASSES),
        "categories": _required_words(top, "categories", DISCLOSABLE),
        "questions": [] if preserves else _required_words(top, "questions", sorted(questions)),
        "max_matches": top.whole_or("max_matches", 1, 1, MOST_MATCHES),
    }
    if preserves:
        document["hold_for"] = str(top.period("hold_for"))
    tables = top.tables("targets")
    top.finish()
    if not tables:
        raise top.fault("it names no target; add at least one [[targets]]")
    read = [_target(table) for table in tables]
    document["targets"] = [entry for entry, _ in read]
    notes = (f"target {number}: {remark}" for number, (_, remarks) in enumerate(read, start=1) for remark in remarks)
    warrant = WarrantDocument(document, tuple(notes))
    _require_handled(warrant)
    return warrant


def objections(warrant: WarrantDocument, question: Question, now: datetime) -> tuple[str, ...]:
    """Every reason why `warrant`, once approved, does not allow `question` to be run at `now`; none when it does."""
    document, reasons = warrant.document, []
    if document["kind_of_order"] != PRODUCE:
        reasons.append(_not_handled(document["kind_of_order"]))
    if question.name not in document["questions"]:
        reasons.append(
            f"the question {question.name} is not in the warrant, which has {', '.join(document['questions'])}"
        )
    if lacking := [category for category in DISCLOSABLE if category in question.needs - warrant.categories]:
        reasons.append(f"the question {question.name} needs {', '.join(lacking)}, which the warrant does not cover")
    if question.classes and not question.classes & set(warrant.classes):
        reasons.append(
            f"the question {question.name} reads {', '.join(sorted(question.classes))}, "
            "which the warrant does not cover"
        )
    until = document["valid_until"]
    if until is not None and _moment(until) <= now:
        reasons.append(f"the warrant was valid until {until}")
    if (judge := _judge_missing(document)) is not None:
        reasons.append(judge)
    return tuple(reasons)


def scope_of(warrant: WarrantDocument, classes: Collection[str] = ()) -> Scope:
    """What `warrant` reaches; with `classes`, of those alone."""
    reached = frozenset(warrant.classes)
    return Scope(
        tuple(targets.target_of(entry) for entry in warrant.document["targets"]),
        reached & frozenset(classes) if classes else reached,
        warrant.categories,
        int(warrant.document["max_matches"]),
    )


def found_by(warrant: WarrantDocument) -> frozenset[str]:
    """The category by which its targets are found, where it is one for all of them: without it nothing is found."""
    by = {targets.category_of(entry["type"]) for entry in warrant.document["targets"]}
    return frozenset(by if len(by) == 1 else ())


def check_words(
    warrant: WarrantDocument,
    term_of: Callable[[str], Term | None],
    zone: str,
    gaps: Sequence[str],
    now: datetime,
    early: Callable[[str], Mapping[str, Term]] = lambda record_class: {},
) -> list[str]:
    """What `warrant` covers and what of it can't be answered, or not for long, in sentences for the officer.

    `term_of` gives the policy's term of a class, `early` those of its categories that end before it, `zone` is the
    policy's, `gaps` are sentences about missing files.
    """
    document = warrant.document
    types = Counter(item["type"] for item in document["targets"])
    told = ", ".join(f"{count} {type_}" for type_, count in sorted(types.items()))
    sentences = [
        f"warrant {document['reference']} of {document['authority']}, under {document['legal_basis']}: "
        f"{document['kind_of_order']}",
        f"it names {len(document['targets'])} target{'s' if len(document['targets']) != 1 else ''} ({told})",
        f"it covers the categories {', '.join(document['categories'])} of the classes {', '.join(warrant.classes)}",
        f"it holds them for {Period.parse(document['hold_for']).words('en')} from its approval"
        if document["kind_of_order"] == PRESERVE
        else f"it may be asked {', '.join(document['questions'])}",
    ]
    for number, item in enumerate(document["targets"], start=1):
        start, end = _moment(item["from"]), _moment(item["to"])
        sentences.append(
            f"target {number} ({item['type']}): from {wording.moment(start, zone)} to {wording.moment(end, zone)}"
        )
        if end > now:
            sentences.append(
                f"target {number}: its window reaches past this moment; records still to come are not in an answer"
            )
    sentences += warrant.notes
    for record_class in warrant.classes:
        term, deadline = term_of(record_class), document["deadline"]
        until = None if deadline is None else _moment(deadline)
        sentences += outlook.sentences(record_class, warrant.windows, term, zone, now, until)
        for category, shorter in early(record_class).items():
            if category in warrant.categories:
                sentences += outlook.sentences(record_class, warrant.windows, shorter, zone, now, until, category)
    sentences += _date_words(document, now)
    sentences += [f"missing: {gap}" for gap in gaps] or ["no source has a gap"]
    if (judge := _judge_missing(document)) is not None:
        sentences.append(f"it can't be run: {judge}")
    return sentences


def _target(table: Table) -> tuple[dict[str, Any], tuple[str, ...]]:
    """One target in canonical form, and remarks on it."""
    written = table.value("value")
    type_ = table.text("type")
    if not isinstance(written, str):
        raise table.fault("its value must be a text, in quotes")
    try:
        value = targets.normal(type_, written)
    except UsageError as problem:
        raise table.fault(str(problem)) from None
    entry: dict[str, Any] = {"type": type_, "value": value}
    if table.has("at"):
        if table.has("from") or table.has("to"):
            raise table.fault("it has `at` and a window; give at with tolerance, or from with to")
        at, tolerance = _aware(table, "at"), table.period("tolerance").delta()
        if not timedelta() < tolerance <= MOST_TOLERANCE:
            raise table.fault("tolerance must be more than nothing and at most P1D")
        start, end = at - tolerance, at + tolerance
        entry["at"] = signing.instant(at)
    else:
        start, end = _aware(table, "from"), _aware(table, "to")
    if end <= start:
        raise table.fault("its window is empty: to must be later than from")
    table.finish()
    entry |= {"from": signing.instant(start), "to": signing.instant(end)}
    return entry, targets.remarks(type_, written)


def _require_handled(warrant: WarrantDocument) -> None:
    """Raises `RefusedError` for what is of the form and still can't be registered."""
    kind = warrant.document["kind_of_order"]
    if kind not in (PRODUCE, PRESERVE):
        raise RefusedError(f"reading {_FILE}: {_not_handled(kind)}")
    if kind == PRESERVE:
        _require_hold(warrant)
    for number, item in enumerate(warrant.document["targets"], start=1):
        needed = [targets.category_of(item["type"]), WHEN]
        if lacking := [category for category in needed if category not in warrant.categories]:
            raise RefusedError(
                f"reading {_FILE}: target {number} ({item['type']}) can't be found without {' and '.join(lacking)}, "
                f"and the categories are {', '.join(warrant.document['categories'])}; "
                "without them no record could be searched"
            )


def _not_handled(kind: str) -> str:
    if kind == PRESERVE:
        return "it orders to preserve; what it holds is disclosed by a warrant that names it with `supplements`"
    return f"its kind is {kind}, and this version handles produce and preserve"


def most_hold(document: Mapping[str, Any]) -> Period:
    """How long the legal basis of `document` allows records to be held at a time."""
    words = set(re.findall(r"[0-9a-z-]+", document["legal_basis"].lower()))
    words |= {"epoc-pr"} if _EPOC_PR_BY in document["legal_basis"] else set()
    found = [period for basis, period in MOST_HOLD.items() if basis in words]
    return min(found, key=Period.delta) if found else MOST_HOLD_ELSE


def _require_hold(warrant: WarrantDocument) -> None:
    asked, most = Period.parse(warrant.document["hold_for"]), most_hold(warrant.document)
    if asked.months or not timedelta() < asked.delta() <= most.delta():
        raise RefusedError(
            f"reading {_FILE}: hold_for is {asked}; {warrant.document['legal_basis']} allows up to {most}, in days or "
            f"hours; a longer one is extended in time"
        )


def _judge_missing(document: Mapping[str, Any]) -> str | None:
    articles = set(re.findall(r"\d+[a-z]*", document["legal_basis"].lower()))
    if document["judge"] is not None or not articles & BASES_WITH_JUDGE:
        return None
    return (
        f"{document['legal_basis']} needs the examining judge's authorisation, and the warrant has none; "
        "register it with the key judge"
    )


def _aware(table: Table, key: str) -> datetime:
    value = table.value(key)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise table.fault(f"{key} must be a date and time with an offset, such as 2026-06-01T00:00:00+02:00")
    # Compared before it is converted: the first and last hours of the calendar have no UTC.
    if not EARLIEST <= value < LATEST:
        raise table.fault(
            f"{key} must be in the years {EARLIEST.year} to {LATEST.year - 1}, and its year is {value.year}"
        )
    return value.astimezone(UTC)


def _instant(table: Table, key: str) -> str:
    return signing.instant(_aware(table, key))


def _instant_or_none(table: Table, key: str) -> str | None:
    return _instant(table, key) if table.has(key) else None


def _flag(table: Table, key: str) -> bool:
    value = table.value(key) if table.has(key) else False
    if not isinstance(value, bool):
        raise table.fault(f"{key} must be true or false")
    return value


def _language(table: Table) -> str | None:
    language = table.text_or_none("language")
    if language is not None and not _LANGUAGE.fullmatch(language):
        raise table.fault("language must be two lower-case letters (ISO 639), such as nl")
    return language


def _words(table: Table, key: str, known: Sequence[str]) -> list[str]:
    """The words of the list at `key`, each of them known, in the order of `known`."""
    given = table.texts(key)
    if not given:
        raise table.fault(f"{key} must name at least one of {', '.join(known)}")
    for word in given:
        table.require_known(key, word, known)
    return [word for word in known if word in given]


def _required_words(table: Table, key: str, known: Sequence[str]) -> list[str]:
    if not table.has(key):
        raise table.fault(f"{key} must be given: no table of legal bases decides them yet")
    return _words(table, key, known)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _date_words(document: Mapping[str, Any], now: datetime) -> list[str]:
    sentences = []
    if (until := document["valid_until"]) is not None:
        gone = _moment(until) <= now
        sentences.append(
            f"it was valid until {until} and can't be run any more" if gone else f"it is valid until {until}"
        )
    deadline = document["deadline"]
    if deadline is None:
        sentences.append("it has no deadline")
    else:
        sentences.append(f"its deadline {'was' if _moment(deadline) <= now else 'is'} {deadline}")
    return sentences
