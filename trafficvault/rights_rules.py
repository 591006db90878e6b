"""The rights of a customer (GDPR art. 15–21) as data: which there are, how a request is written, and every sentence
that an answer can hold. Pure: no key, no clock, no record.

Each outcome has one fixed sentence, in Dutch and in English, so that nobody who answers has to find words, and so that
an answer says the same whatever else the vault knows of its subject. The sentence for a refusal belongs to its ground.

How the person was identified is one of `METHODS`. A copy of a document is never kept, nor its number.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from ingest.record import CLASSES, DISCLOSABLE
from trafficvault import signing, targets
from trafficvault.coverage import OPENING_RIGHTS, REQUEST, SUBJECT_TYPES
from trafficvault.errors import UsageError
from trafficvault.period import Period
from trafficvault.terms import Words

ACCESS, RECTIFY, RESTRICT, ERASE, PORT, OBJECT, COMPLAIN, WITHDRAW = RIGHTS = (
    "access", "rectify", "restrict", "erase", "port", "object", "complain", "withdraw-consent",
)  # fmt: skip
"""What can be asked (art. 15, 16, 18, 17, 20, 21, a complaint to the provider, 7(3))."""
METHODS: Final = {
    "in-person": "seen in person, with a document of which no copy was made",
    "account": "signed in to the customer's account",
    "known-number": "called back on a number of the contract",
    "letter": "a code sent to the address of the contract",
    "eid": "a recognised electronic identity",
}
"""How a person can be identified."""
EXTENSION = 2
"""Further months that a request may take (art. 12(3))."""
EXTENSIONS: Final = {
    "complex": Words(
        "Uw verzoek is complex; wij hebben er twee maanden langer voor nodig (art. 12 lid 3 AVG).",
        "Your request is complex; we need two further months for it (GDPR art. 12(3)).",
    ),
    "many": Words(
        "Wij behandelen veel verzoeken; wij hebben twee maanden langer nodig (art. 12 lid 3 AVG).",
        "We are handling many requests; we need two further months (GDPR art. 12(3)).",
    ),
}
"""Why a request may take longer."""
MOST_TEXT = 4000

_UNIDENTIFIED = Words(
    "Wij konden niet vaststellen dat deze gegevens van u zijn (art. 12 lid 2 en 6 AVG).",
    "We could not establish that these data are yours (GDPR art. 12(2) and (6)).",
)
_UNFOUNDED = Words(
    "Uw verzoek is kennelijk ongegrond of buitensporig (art. 12 lid 5 AVG).",
    "Your request is manifestly unfounded or excessive (GDPR art. 12(5)).",
)
_OTHERS = Words(
    "Inwilligen zou rechten van anderen schaden (art. 15 lid 4 en art. 20 lid 4 AVG).",
    "Granting it would harm the rights of others (GDPR art. 15(4) and 20(4)).",
)
LEGAL_OBLIGATION, STILL_NEEDED = "legal-obligation", "still-needed"
_COMMON = {"not-identified": _UNIDENTIFIED, "manifestly-unfounded": _UNFOUNDED}
GROUNDS: Final[dict[str, dict[str, Words]]] = {
    ACCESS: {**_COMMON, "others-rights": _OTHERS},
    PORT: {**_COMMON, "others-rights": _OTHERS},
    RECTIFY: {
        **_COMMON,
        "accurate": Words(
            "Wij hebben de gegevens nagegaan; zij zijn juist en volledig (art. 16 AVG).",
            "We have examined the data; they are accurate and complete (GDPR art. 16).",
        ),
    },
    RESTRICT: {
        **_COMMON,
        "no-ground": Words(
            "Geen van de gevallen waarin de verwerking wordt beperkt, doet zich voor (art. 18 lid 1 AVG).",
            "None of the cases in which processing is restricted applies (GDPR art. 18(1)).",
        ),
    },
    ERASE: {
        **_COMMON,
        LEGAL_OBLIGATION: Words(
            "Wij moeten deze gegevens bewaren om aan een wettelijke verplichting te voldoen (art. 17 lid 3 onder b "
            "AVG).",
            "We must keep these data to comply with a legal obligation (GDPR art. 17(3)(b)).",
        ),
        "legal-claims": Words(
            "Wij hebben deze gegevens nodig voor een rechtsvordering (art. 17 lid 3 onder e AVG).",
            "We need these data for legal claims (GDPR art. 17(3)(e)).",
        ),
        STILL_NEEDED: Words(
            "Deze gegevens zijn nog nodig voor het doel waarvoor zij zijn verzameld, en gaan aan het einde van hun "
            "bewaartermijn weg (art. 17 lid 1 onder a AVG).",
            "These data are still needed for the purpose for which they were collected, and go at the end of their "
            "term (GDPR art. 17(1)(a)).",
        ),
    },
    OBJECT: {
        **_COMMON,
        "compelling-grounds": Words(
            "Dwingende gerechtvaardigde gronden wegen zwaarder dan uw bezwaar (art. 21 lid 1 AVG).",
            "Compelling legitimate grounds override your objection (GDPR art. 21(1)).",
        ),
        "other-basis": Words(
            "De verwerking berust op een overeenkomst of een wettelijke verplichting; daartegen staat geen bezwaar "
            "open (art. 21 lid 1 AVG).",
            "The processing rests on a contract or a legal obligation, to which the right to object does not extend "
            "(GDPR art. 21(1)).",
        ),
    },
    COMPLAIN: {
        **_COMMON,
        "not-upheld": Words(
            "Wij hebben uw klacht onderzocht en vinden haar niet gegrond.",
            "We have examined your complaint and do not uphold it.",
        ),
    },
    WITHDRAW: {
        **_COMMON,
        "no-consent": Words(
            "De verwerking berust niet op toestemming (art. 6 lid 1 onder a en art. 7 lid 3 AVG).",
            "The processing does not rest on consent (GDPR art. 6(1)(a) and 7(3)).",
        ),
    },
}
"""By right: the grounds on which it can be refused, each with its sentence."""
GRANTED: Final[dict[str, Words]] = {
    ACCESS: Words(
        "Hierbij de gegevens die wij van u bewaren (art. 15 AVG). Gegevens van anderen zijn afgeschermd.",
        "Enclosed are the data that we keep of you (GDPR art. 15). Data of others are masked.",
    ),
    PORT: Words(
        "Hierbij uw gegevens die op een overeenkomst of toestemming berusten, in een machineleesbaar formaat (art. "
        "20 AVG). Gegevens van anderen zijn afgeschermd.",
        "Enclosed are your data that rest on a contract or consent, in a machine-readable format (GDPR art. 20). Data "
        "of others are masked.",
    ),
    RECTIFY: Words(
        "Uw aanvulling is bij de gegevens gezet en gaat mee met ieder later antwoord (art. 16 AVG).",
        "Your statement now stands beside the data and goes with every later answer (GDPR art. 16).",
    ),
    RESTRICT: Words(
        "De verwerking van deze gegevens is beperkt (art. 18 AVG); wij melden het u voordat dit ophoudt.",
        "The processing of these data is restricted (GDPR art. 18); we tell you before that ends.",
    ),
    ERASE: Words(
        "Uw gegevens zijn gewist (art. 17 AVG), behalve waar hieronder een grond staat om ze te houden.",
        "Your data have been erased (GDPR art. 17), except where a ground to keep them is given below.",
    ),
    OBJECT: Words(
        "Uw bezwaar is gegrond; wij verwerken deze gegevens niet langer voor dat doel (art. 21 AVG).",
        "Your objection is upheld; we no longer process these data for that purpose (GDPR art. 21).",
    ),
    COMPLAIN: Words("Uw klacht is gegrond.", "Your complaint is upheld."),
    WITHDRAW: Words(
        "Uw toestemming is ingetrokken; wij verwerken niets meer dat daarop berust (art. 7 lid 3 AVG).",
        "Your consent is withdrawn; we no longer process what rested on it (GDPR art. 7(3)).",
    ),
}
"""By right: the sentence of a request that was granted."""
NOTHING = Words("Wij bewaren geen gegevens van u.", "We keep no data of yours.")
RECIPIENTS = Words(
    "Ontvangers kunnen zijn: bevoegde autoriteiten, wanneer de wet dat voorschrijft. Of dat in een bepaald geval is "
    "gebeurd, vermelden wij nooit.",
    "Recipients can be competent authorities, where the law requires it. Whether that happened in a given case is "
    "never told.",
)
"""What every answer says of recipients (art. 15(1)(c)), the same for everyone."""
REMEDY = Words(
    "U kunt een klacht indienen bij de toezichthouder (in Nederland de Autoriteit Persoonsgegevens) of naar de rechter "
    "gaan.",
    "You can complain to the supervisory authority (in the Netherlands the Autoriteit Persoonsgegevens), or go to "
    "court.",
)
_ROUTED = Words(
    "Voor deze gegevens is {0} verantwoordelijk; richt uw verzoek aan die organisatie.",
    "{0} is the controller of these data; address your request to that organisation.",
)


def routed(organisation: str) -> Words:
    """The sentence for a user of a business customer."""
    return Words(_ROUTED.nl.format(organisation), _ROUTED.en.format(organisation))


def due_at(received: datetime, deadline: Period, zone: str, *, extended: bool) -> datetime:
    """When a request must be answered: the deadline after receipt, two months later when it was extended."""
    whole = Period(deadline.months + EXTENSION, deadline.days, deadline.seconds) if extended else deadline
    return whole.after(received, zone)


def refusal(right: str, ground: str) -> Words:
    """The sentence of a refusal. Raises `UsageError` for a ground that the right does not have."""
    found = GROUNDS[right].get(ground)
    if found is None:
        raise UsageError(f"refusing a request of kind {right}: the grounds are {', '.join(GROUNDS[right])}")
    return found


@dataclass(frozen=True, slots=True)
class Ask:
    """What a person asks, as it was written down. `record` is (source, batch, row) of a rectification."""

    right: str
    identifiers: Sequence[tuple[str, str]] = field(repr=False)
    since: datetime
    until: datetime
    received: datetime
    method: str
    checked_at: datetime
    statement: str | None = field(default=None, repr=False)
    record: tuple[str, str, int] | None = None


def document(ask: Ask, checked_by: str, classes: Collection[str] = CLASSES) -> dict[str, Any]:
    """The canonical document of a request: what two persons sign. `classes` are those whose records may answer it.

    Raises `UsageError` when it is not of the form; no sentence repeats a value.
    """
    if ask.right not in RIGHTS:
        raise UsageError(f"writing a request: its kind must be one of {', '.join(RIGHTS)}")
    if ask.method not in METHODS:
        raise UsageError(f"writing a request: the person is identified by one of {', '.join(METHODS)}")
    if not ask.identifiers:
        raise UsageError("writing a request: name at least one identifier of the person")
    if ask.until <= ask.since:
        raise UsageError("writing a request: its window is empty: it must end after the service began")
    told = ask.statement is not None and bool(ask.statement.strip())
    if told != (ask.right == RECTIFY) or (ask.record is not None and ask.right != RECTIFY):
        raise UsageError(
            "writing a request: a rectification, and nothing else, has a statement (--statement FILE) and may name a "
            "record (--record)"
        )
    if ask.statement is not None and len(ask.statement) > MOST_TEXT:
        raise UsageError(f"writing a request: its statement has more than {MOST_TEXT} signs")
    window = {"from": signing.instant(ask.since), "to": signing.instant(ask.until)}
    named = []
    for number, (type_, value) in enumerate(ask.identifiers, start=1):
        if type_ not in SUBJECT_TYPES:
            raise UsageError(f"writing a request: identifier {number} must be one of {', '.join(SUBJECT_TYPES)}")
        try:
            named.append({"type": type_, "value": targets.normal(type_, value), **window})
        except UsageError as problem:
            raise UsageError(f"writing a request: identifier {number} ({type_}): {problem}") from None
    return {
        "kind": REQUEST,
        "v": 1,
        "right": ask.right,
        "received": signing.instant(ask.received),
        "checked": {"method": ask.method, "at": signing.instant(ask.checked_at), "person": checked_by},
        "classes": [name for name in CLASSES if name in classes] if ask.right in OPENING_RIGHTS else [],
        "categories": list(DISCLOSABLE) if ask.right in OPENING_RIGHTS else [],
        "targets": sorted(named, key=lambda one: (SUBJECT_TYPES.index(one["type"]), one["value"])),
        "statement": ask.statement if told else None,
        "record": None if ask.record is None else list(ask.record),
    }


def organisations(document: dict[str, Any]) -> list[str]:
    """The business customers whose users a request's extensions are: `1001@customer`."""
    return sorted({one["value"].partition("@")[2] for one in document["targets"] if one["type"] == "extension"})
