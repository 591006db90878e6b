"""Terms of what is no record: how long the vault keeps the rows that tell what was ordered, done and destroyed.

They stand in the table `[terms]` of policy.toml, and are rows of the policy like any other. Why these defaults:
`docs/decisions`. Annotations have none of their own: they are kept for as long as the records that they are about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Final

from trafficvault.period import Period
from trafficvault.terms import Words
from trafficvault.toml_table import Table

_A_YEAR: Final = Period(months=12)
_FIVE_YEARS: Final = Period(months=60)
_TEN_YEARS: Final = Period(months=120)


@dataclass(frozen=True, slots=True)
class RegisterTerms:
    """How long each register keeps a row, from the moment that it tells."""

    warrants: Period = _FIVE_YEARS
    disclosures: Period = _FIVE_YEARS
    proposals: Period = _A_YEAR
    receipts: Period = _A_YEAR
    rights: Period = _FIVE_YEARS
    certificates: Period = _TEN_YEARS

    def as_dict(self) -> dict[str, str]:
        """By register, as ISO 8601 durations."""
        return {name: str(Period(**value)) for name, value in asdict(self).items()}

    def of(self, register: str) -> Period:
        """The term of one register."""
        found: Period = getattr(self, register)
        return found


ANNOTATIONS: Final = "annotations"
"""The register whose rows are kept for as long as what they are about."""
WRITTEN: Final = tuple(field.name for field in fields(RegisterTerms))
"""The registers that `[terms]` names."""
REGISTERS: Final = (*WRITTEN, ANNOTATIONS)
WORDS: Final[Mapping[str, Words]] = {
    "warrants": Words("Vorderingen, met hun bevriezingen", "Warrants, with their holds"),
    "disclosures": Words("Verstrekkingen", "Disclosures"),
    "proposals": Words("Besluiten van twee personen", "Decisions of two persons"),
    "receipts": Words("Ontvangstbewijzen van aangeleverde bestanden", "Receipts of delivered files"),
    "rights": Words(
        "Verzoeken van klanten over hun gegevens, met wat hun geantwoord is",
        "Customers' requests about their data, with what they were answered",
    ),
    "certificates": Words("Bewijzen van verwijdering", "Certificates of deletion"),
    ANNOTATIONS: Words("Aanvullingen van klanten bij hun gegevens", "Customers' statements beside their data"),
}
"""What the rows of each register are, as the policy's table says it."""
SERVICE: Final = Words("Registers", "Registers")
CONTROLLER: Final = Words("de aanbieder", "the provider")
BASIS: Final = Words("verantwoording (AVG art. 5 lid 2)", "accountability (GDPR art. 5(2))")


def parse(table: Table) -> RegisterTerms:
    """The terms that `[terms]` writes. Raises `UsageError` for one of no length, or certificates that do not last as
    long as everything that they are to prove the end of.
    """
    default = RegisterTerms()
    found = RegisterTerms(**{name: table.period_or(name, default.of(name)) for name in WRITTEN})
    table.finish()
    for name in WRITTEN:
        if found.of(name) == Period():
            raise table.fault(f"{name} is a period of no length: its rows would go while they are written")
        if name != "certificates" and not found.certificates.covers(found.of(name)):
            raise table.fault(
                f"certificates are kept {found.certificates} and {name} {found.of(name)}: the proof of an end must "
                "last as long as what ends; give certificates the longest term, in the same units"
            )
    return found
