"""What a warrant lets out of the ring: who must have signed it, and which classes, categories and days it covers.

Rules, without a key or a disk: `trafficvault.keys` asks them before it releases anything. They believe signatures, not
form: a signed document that is no warrant covers nothing. What they raise says the reason, and who asks says for what.

A customer's own request (`rights-request`) takes two persons as a warrant does, and covers less: only the rights whose
answer is records, and only identifiers that are one person's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from ingest.record import CATEGORIES, FRAME
from trafficvault import signing
from trafficvault.errors import FaultError, RefusedError

_PART_SLACK = timedelta(days=1)
WARRANT, REQUEST = "warrant", "rights-request"
"""The kinds of document that can open records."""
_REGISTRARS = {WARRANT: frozenset({"officer"}), REQUEST: frozenset({"officer", "operator"})}
OPENING_RIGHTS = ("access", "port")
"""The rights whose answer is records."""
SUBJECT_TYPES = ("msisdn", "extension", "imsi", "iccid", "email", "line", "user", "uri")
"""The identifiers by which a person asks for records of their own: not those that many share, or that change hands."""


@dataclass(frozen=True, slots=True)
class PersonKey:
    """What the key port must know of a person: the roles and the public key, as hex."""

    name: str
    roles: frozenset[str]
    public_key: str
    disabled: bool


@dataclass(frozen=True, slots=True)
class Vouch:
    """A person's signature over `signing.statement(act, digest of the document, person, at)`."""

    person: str
    at: datetime
    signature: str

    @classmethod
    def of(cls, row: Mapping[str, Any], done: str) -> Vouch:
        """What a row of the catalogue has of it: in `approved_by`, `_at` and `_signature` for what is `done` approved.
        The inverse of `columns`.
        """
        return cls(row[f"{done}_by"], datetime.fromisoformat(row[f"{done}_at"]), row[f"{done}_signature"])

    def columns(self, done: str) -> dict[str, str]:
        """The columns that a row of the catalogue has it in."""
        return {f"{done}_by": self.person, f"{done}_at": signing.instant(self.at), f"{done}_signature": self.signature}


@dataclass(frozen=True, slots=True)
class SignedWarrant:
    """A warrant document, or a customer's request, in canonical form, with the signatures of who registered and who
    approved it.
    """

    document: Mapping[str, Any] = field(repr=False)
    registered: Vouch
    approved: Vouch


@dataclass(frozen=True, slots=True)
class Covered:
    """What a warrant that two persons signed covers: classes, categories, and the windows of its targets."""

    classes: frozenset[str]
    categories: frozenset[str]
    windows: tuple[tuple[datetime, datetime], ...]
    _opened: frozenset[str] = field(init=False, repr=False, compare=False)
    _dates: tuple[tuple[date, date], ...] = field(init=False, repr=False, compare=False)
    """The UTC dates, first and last, that each window shares a moment with: it is asked about every file."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_opened", (self.categories & frozenset(CATEGORIES)) | {FRAME})
        object.__setattr__(
            self, "_dates", tuple(_dates_of(*window) for window in self.windows if window[0] <= window[1])
        )

    def require(self, record_class: str, categories: Sequence[str], reach: tuple[date, date]) -> None:
        """Raises `RefusedError` unless class and categories are covered and a window comes within
        a day of `reach`.
        """
        if record_class not in self.classes:
            raise RefusedError(f"the warrant does not cover the class {record_class}")
        if not self._opened.issuperset(categories):
            lacking = next(category for category in categories if category not in self._opened)
            raise RefusedError(f"the warrant does not cover the category {lacking}")
        # Parts of a call that matches are in scope: one that crosses midnight leaves its last part on the next day.
        first, last = reach[0] - _PART_SLACK, reach[1] + _PART_SLACK
        if not any(begin <= last and first <= end for begin, end in self._dates):
            raise RefusedError(
                f"no target's window overlaps its records, of {reach[0].isoformat()} to {reach[1].isoformat()}"
            )


def warrant_id(document: Mapping[str, Any]) -> str:
    """The id of the warrant with this canonical document: the leading 24 hex digits of its digest."""
    return signing.digest(dict(document))[:24]


def covered(warrant: SignedWarrant, directory: Callable[[str], PersonKey | None]) -> Covered:
    """What `warrant` covers, once both signatures over this very document are checked, of two persons with two keys and
    the roles for it. Raises `RefusedError` saying which of it failed.
    """
    document = vouched(warrant, directory)
    if document.get("kind") == REQUEST:
        _require_subject(document)
    classes, categories = (frozenset(_words(document, name)) for name in ("classes", "categories"))
    return Covered(classes, categories, tuple(_windows(document)))


def vouched(warrant: SignedWarrant, directory: Callable[[str], PersonKey | None]) -> dict[str, Any]:
    """The document of `warrant`, read out of the very bytes that two persons signed. Raises as `covered`."""
    # The caller's mapping may change later.
    signed = signing.canonical(dict(warrant.document))
    document: dict[str, Any] = json.loads(signed)
    registrars = _REGISTRARS.get(str(document.get("kind")), _REGISTRARS[WARRANT])
    _require_two_persons(warrant, directory, hashlib.sha256(signed).hexdigest(), registrars)
    if document.get("kind") not in _REGISTRARS or document.get("v") != 1:
        raise RefusedError("the signed document is not a warrant of version 1")
    return document


def _require_two_persons(
    warrant: SignedWarrant, directory: Callable[[str], PersonKey | None], digest: str, registrars: frozenset[str]
) -> None:
    registrar = _require_vouch(warrant.registered, directory, digest, ("registrar", "register", registrars))
    approver = _require_vouch(warrant.approved, directory, digest, ("approver", "approve", frozenset({"approver"})))
    if registrar.name == approver.name:
        raise RefusedError("the same person registered and approved the warrant; another must approve it")
    if registrar.public_key == approver.public_key:
        raise RefusedError("registrar and approver are two accounts with one public key")


def _require_vouch(
    vouch: Vouch,
    directory: Callable[[str], PersonKey | None],
    digest: str,
    part: tuple[str, str, frozenset[str]],
) -> PersonKey:
    who, act, roles = part
    person = directory(vouch.person)
    if person is None or person.name != vouch.person:
        raise RefusedError(f"the warrant's {who} is not a person of this vault")
    if person.disabled:
        raise RefusedError(f"the warrant's {who} is disabled")
    if not roles & person.roles:
        raise RefusedError(f"the warrant's {who} has not the role {' or '.join(sorted(roles))}")
    message = signing.statement(act, digest, vouch.person, vouch.at)
    try:
        signing.require_signature(person.public_key, vouch.signature, message, f"the {who}'s signature")
    except FaultError as fault:
        raise RefusedError(
            f"the {who}'s signature is not over this document (digest {digest[:16]}…): one of them was changed"
        ) from fault
    return person


def _require_subject(document: Mapping[str, Any]) -> None:
    """Raises `RefusedError` unless a customer's request asks for records, by identifiers of one person alone."""
    if document.get("right") not in OPENING_RIGHTS:
        raise RefusedError(f"a customer's request opens records for {' and '.join(OPENING_RIGHTS)} alone")
    targets = document.get("targets")
    entries = targets if isinstance(targets, list) else []
    if not entries or not all(isinstance(one, dict) and one.get("type") in SUBJECT_TYPES for one in entries):
        raise RefusedError(f"a customer's request names one person, by {', '.join(SUBJECT_TYPES)}")


def _words(document: Mapping[str, Any], name: str) -> list[str]:
    # A text instead of a list would make `in` look for parts of words.
    words = document.get(name)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise RefusedError(f"the warrant's {name} are not a list of words")
    return words


def _windows(document: Mapping[str, Any]) -> list[tuple[datetime, datetime]]:
    try:
        texts = [(target["from"], target["to"]) for target in document["targets"]]
        windows = [(datetime.fromisoformat(begin), datetime.fromisoformat(end)) for begin, end in texts]
    except (KeyError, TypeError, ValueError) as problem:
        raise RefusedError("a target of the warrant has no window from and to") from problem
    if any(moment.tzinfo is None for window in windows for moment in window):
        raise RefusedError("a window of the warrant names no zone")
    return windows


def _dates_of(begin: datetime, end: datetime) -> tuple[date, date]:
    """First and last UTC date that [begin, end) shares a moment with; begin = end is the one moment they name."""
    first, last = _date_of(begin), _date_of(end)
    at_midnight = end.astimezone(UTC).time() == time() if date.min < last < date.max else False
    return first, last - timedelta(days=1) if at_midnight and begin != end else last


def _date_of(moment: datetime) -> date:
    """The UTC date of an aware moment; of one beyond the calendar its end."""
    try:
        return moment.astimezone(UTC).date()
    except OverflowError:
        return date.min if moment.year == 1 else date.max
