"""Country codes and zones against the libraries that know them."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import phonenumbers
import polars as pl

from ingest.countries import _EASTMOST, _ZONES, ASSIGNED_HEADS, COUNTRY_CODES, country_zone, eastmost, has_one_zone
from ingest.iso3166 import ALPHA_2


def test_every_code_that_phonenumbers_knows_is_assigned() -> None:
    """The closed list holds every country code in use, and beyond them only the Vatican's, which waits."""
    known = {str(code) for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE}

    assert known <= COUNTRY_CODES
    assert COUNTRY_CODES - known == {"379"}


def test_the_heads_say_the_same_as_the_codes() -> None:
    """Three digits start with an assigned code exactly where the table says so."""
    for head in range(1000):
        digits = f"{head:03d}"
        assert ASSIGNED_HEADS[head] == any(digits[:size] in COUNTRY_CODES for size in (1, 2, 3))


def test_every_zone_exists_and_is_that_of_its_country() -> None:
    """A TADIG code gives the zone of its country, and none where the country has several."""
    for zone in set(_ZONES.values()):
        ZoneInfo(zone)

    found = pl.DataFrame({"tadig": ["NLDPT", " fraf1", "GBRVF", "USACG", "AUSTA", "AAA", "", None]})
    assert found.select(country_zone(pl.col("tadig"))).to_series().to_list() == [
        "Europe/Amsterdam",
        "Europe/Paris",
        "Europe/London",
        *[None] * 5,
    ]


def test_the_eastmost_zone_is_before_every_other_of_its_country() -> None:
    """A country has one zone or an eastmost one, and that exists; together they are all countries with a zone."""
    assert not set(_ZONES) & set(_EASTMOST)
    for zone in _EASTMOST.values():
        ZoneInfo(zone)
    assert set(ALPHA_2) - set(_ZONES) - set(_EASTMOST) == {"BVT", "HMD", "ROM"}

    found = pl.DataFrame({"tadig": ["AUSTA", "usacg", "NLDPT", "AAA", None]})
    east, one = (found.select(rule(pl.col("tadig"))).to_series().to_list() for rule in (eastmost, has_one_zone))
    assert east == ["Australia/Lord_Howe", "America/New_York", None, None, None]
    assert one == [False, False, True, False, False]
