"""A source: a named producer of a feed, and how it writes numbers.

Both are values that the caller fills from `sources.toml` or from the feed's defaults; nothing here reads a file.
Whether a plain number is national or international cannot be told from its digits (`31612345678` is a valid national
number elsewhere), so the number plan of a source says it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ingest.countries import COUNTRY_CODES
from ingest.errors import FeedError

BARE: Final = ("unknown", "national", "international", "subscriber")
"""What a number without any prefix may be."""


@dataclass(frozen=True, slots=True)
class NumberPlan:
    """How one source writes telephone numbers.

    `country` is the E.164 country code of its national numbers, `international` and `national` are the prefixes that
    announce such a number, `bare` says what a number without a prefix is (`subscriber`: a local number, completed with
    `area`, which is written without trunk prefix). `access` holds the trunk access digits to cut before anything else.
    `extension` is the least and the greatest number of digits that make an extension; None means there are none.
    Raises `FeedError` for a plan that contradicts itself.
    """

    country: str = "31"
    international: str = "00"
    national: str = "0"
    bare: str = "unknown"
    area: str | None = None
    access: str | None = None
    extension: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Checks the plan once, so that nobody checks it again."""
        for name in ("country", "international", "national", "area", "access"):
            value = getattr(self, name)
            if value and not (value.isascii() and value.isdigit()):
                raise FeedError(f"number plan: {name} must be digits, found {value!r}")
        if self.country not in COUNTRY_CODES:
            raise FeedError(f"number plan: country must be an assigned country code, found {self.country!r}")
        if self.bare not in BARE:
            raise FeedError(f"number plan: bare must be one of {', '.join(BARE)}, found {self.bare!r}")
        low, high = self.extension or (1, 1)
        if not 1 <= low <= high <= 15:
            raise FeedError(f"number plan: extension must be two lengths of 1 to 15 in order, found {low} and {high}")


@dataclass(frozen=True, slots=True)
class Source:
    """A named producer of a feed.

    `zone` is the IANA zone of its local times, `region` the ISO 3166-1 alpha-2 country whose short numbers it uses.
    None for `number_plan` and `sequence` means: the feed's. `shape` names the shape of its files where the number of
    columns cannot tell. `sequence` is a regular expression over the file name with a group `seq`, `sequence_modulus`
    the number after which it starts again at 0, `cadence` an ISO 8601 duration. `identity` replaces the feed's.
    `keep_raw`, an ISO 8601 duration, says how long the vault keeps what was delivered; None: as long as its policy
    says.
    """

    name: str
    feed: str
    customer: str | None
    record_class: str | None
    zone: str
    region: str
    number_plan: NumberPlan | None
    shape: str | None
    sequence: str | None
    sequence_modulus: int | None
    cadence: str | None
    identity: tuple[str, ...] | None
    keep_raw: str | None = None
