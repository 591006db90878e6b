"""The rules that a simulated vault lives by: a policy of four classes, as the oracle reads it and as policy.toml."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from tests.simulation import wall

CLASSES = ("telephony", "mobile_usage", "binding", "roaming_notice")
SERVED = ("binding", "roaming_notice")
"""Classes that are kept until the end of the service."""
RECORD, WHERE = "record", "where"


@dataclass(frozen=True)
class Rules:
    """How long each class is kept, its location for `where`, and `wait` after the end of a service; nothing goes by one
    that a file told for `told_wait`.
    """

    zone: str = "Europe/Amsterdam"
    telephony: str = "P2M"
    mobile_usage: str = "P1M"
    where: str = "P10D"
    binding: str = "P6M"
    roaming_notice: str = "P3M"
    wait: str = "P3D"
    told_wait: str = "P7D"
    freeze: str = "PT72H"
    step: str = "P999D"
    """How far the clock may go on between two acts without a person's word."""
    erasable: tuple[str, ...] = ("roaming_notice",)
    portable: tuple[str, ...] = ("telephony",)

    def length(self, record_class: str, what: str = RECORD) -> str:
        """How long a record of that class lasts, or the location in it."""
        found: str = getattr(self, "where" if what == WHERE and record_class == "mobile_usage" else record_class)
        return found

    def changed(self, **lengths: str) -> Rules:
        """These rules with other lengths, or in another zone."""
        changes: dict[str, Any] = dict(lengths)
        return replace(self, **changes)

    def toml(self) -> str:
        """The policy file that says so."""
        head = (
            f'zone = "{self.zone}"\nregion = "NL"\nmax_clock_step = "{self.step}"\nmin_free = "1MiB"\n'
            f'freeze_on_receipt = "{self.freeze}"\nend_of_service_wait = "{self.told_wait}"\n'
        )
        served = f'{{ until = "end_of_service", after = "{self.wait}", cap = "%s" }}'
        return "".join(
            [
                head,
                self._entry("telephony", json.dumps(self.telephony), "telephony"),
                self._entry("usage", json.dumps(self.mobile_usage), "mobile_usage", ["who", "when", "how_much"]),
                self._entry("location", json.dumps(self.where), "mobile_usage", ["where"]),
                self._entry("bindings", served % self.binding, "binding"),
                self._entry("notices", served % self.roaming_notice, "roaming_notice"),
            ]
        )

    def _entry(self, name: str, term: str, record_class: str, categories: Sequence[str] = ()) -> str:
        lines = [
            "[[entry]]",
            f'id = "{name}"\nservice = "Service"\ndata = "Data"\nterm = {term}\ncontroller = "The provider"',
            f'legal_basis = "GDPR art. 6(1)(b)"\nclasses = {json.dumps([record_class])}',
            *([f"categories = {json.dumps(categories)}"] if categories else []),
            *(["erasable = true"] if record_class in self.erasable else []),
            *(["portable = true"] if record_class in self.portable else []),
        ]
        return "".join(f"{line}\n" for line in lines)


def longer(one: str, other: str) -> bool:
    """Whether `one` lasts longer than `other`, from a day in the middle of a year."""
    start = datetime(2027, 5, 5, tzinfo=UTC)
    return wall.after(start, one, "UTC") > wall.after(start, other, "UTC")
