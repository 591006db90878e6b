"""The rules that a simulated vault lives by: a policy of four classes, as the oracle reads it and as policy.toml."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tests.simulation import wall

CLASSES = ("telephony", "mobile_usage", "binding", "roaming_notice")
SERVED = ("binding", "roaming_notice")
"""Classes that are kept until the end of the service."""
RECORD, WHERE = "record", "where"


@dataclass(frozen=True)
class Rules:
    """How long each class is kept, its location for `where`, and `wait` after the end of a service."""

    zone: str = "Europe/Amsterdam"
    telephony: str = "P2M"
    mobile_usage: str = "P1M"
    where: str = "P10D"
    binding: str = "P6M"
    roaming_notice: str = "P3M"
    wait: str = "P3D"
    freeze: str = "PT72H"

    def length(self, record_class: str, what: str = RECORD) -> str:
        """How long a record of that class lasts, or the location in it."""
        found: str = getattr(self, "where" if what == WHERE and record_class == "mobile_usage" else record_class)
        return found

    def changed(self, **lengths: str) -> Rules:
        """These rules with other lengths."""
        return replace(self, **lengths)

    def toml(self) -> str:
        """The policy file that says so."""
        head = (
            f'zone = "{self.zone}"\nregion = "NL"\nmax_clock_step = "P999D"\nmin_free = "1MiB"\n'
            f'freeze_on_receipt = "{self.freeze}"\n'
        )
        served = f'{{ until = "end_of_service", after = "{self.wait}", cap = "%s" }}'
        return "".join(
            [
                head,
                _entry("telephony", json.dumps(self.telephony), ["telephony"]),
                _entry("usage", json.dumps(self.mobile_usage), ["mobile_usage"], ["who", "when", "how_much"]),
                _entry("location", json.dumps(self.where), ["mobile_usage"], ["where"]),
                _entry("bindings", served % self.binding, ["binding"]),
                _entry("notices", served % self.roaming_notice, ["roaming_notice"]),
            ]
        )


def longer(one: str, other: str) -> bool:
    """Whether `one` lasts longer than `other`, from a day in the middle of a year."""
    start = datetime(2027, 5, 5, tzinfo=UTC)
    return wall.after(start, one, "UTC") > wall.after(start, other, "UTC")


def _entry(name: str, term: str, classes: Sequence[str], categories: Sequence[str] = ()) -> str:
    listed = f"categories = {json.dumps(categories)}\n" if categories else ""
    return (
        f'[[entry]]\nid = "{name}"\nservice = "Service"\ndata = "Data"\nterm = {term}\ncontroller = "The provider"\n'
        f'legal_basis = "GDPR art. 6(1)(b)"\nclasses = {json.dumps(list(classes))}\n{listed}'
    )
