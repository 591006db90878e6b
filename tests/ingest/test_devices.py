"""IMSI, IMEI, ICCID, EID and cells in the forms that decoders leave."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.devices import IMEI, VALUE, cell, eid, iccid, imei, imsi
from tests.thorough import as_many


def one(rule: pl.Expr, raw: str | None) -> dict[str, Any]:
    """What `rule` makes of one text."""
    found = pl.DataFrame({"raw": pl.Series([raw], dtype=pl.String)}).select(rule).to_series()
    assert found.dtype in (VALUE, IMEI)
    return dict(found[0])


@pytest.mark.parametrize(
    ("rule", "raw", "value"),
    [
        (imsi, "204990000000001", "204990000000001"),
        (imsi, "204990000000001f", "204990000000001"),
        (imsi, " 204990000000001F ", "204990000000001"),
        (imsi, "204990", "204990"),
        (imsi, "20499", None),
        (imsi, "2049900000000011", None),
        (imsi, "20499000000000ff", None),
        (imsi, "+20499000000000", None),
        (imsi, "f", None),
        (iccid, "8931000000000000001", "8931000000000000001"),
        (iccid, "8931000000000000001F", "8931000000000000001"),
        (iccid, "89310000000000000012", "89310000000000000012"),
        (iccid, "8831000000000000001", None),
        (iccid, "893100000000000", None),
        (eid, "89" + "0" * 30, "89" + "0" * 30),
        (eid, "89" + "0" * 29, None),
    ],
)
def test_digits_are_kept_when_they_are_of_the_form(rule: Any, raw: str, value: str | None) -> None:
    """One trailing filler is cut, nothing else is repaired."""
    assert one(rule(pl.col("raw")), raw) == {"value": value, "ok": value is not None}


@pytest.mark.parametrize(
    ("raw", "device", "kept"),
    [
        ("35123456000000", "35123456000000", None),
        ("351234560000000", "35123456000000", "351234560000000"),
        ("351234560000007", "35123456000000", "351234560000007"),
        ("3512345600000012", "35123456000000", "3512345600000012"),
        ("351234560000000f", "35123456000000", "351234560000000f"),
        ("35123456000000F", "35123456000000", "35123456000000F"),
    ],
)
def test_the_first_14_digits_name_the_device(raw: str, device: str, kept: str | None) -> None:
    """Check digit and software version don't matter for matching, and raw stays where they were."""
    assert one(imei(pl.col("raw")), raw) == {"imei": device, "imei_raw": kept, "ok": True}


@pytest.mark.parametrize("raw", ["3512345600000", "35123456000000123", "35-123456-000000", "+3512345600000", "x"])
def test_what_is_no_imei_is_refused(raw: str) -> None:
    """13 or 17 digits, signs and separators are no IMEI of a network."""
    assert one(imei(pl.col("raw")), raw) == {"imei": None, "imei_raw": None, "ok": False}


@pytest.mark.parametrize("raw", ["", " ", None])
def test_an_empty_identity_is_absent_and_no_fault(raw: str | None) -> None:
    """Nothing between the separators is a record without that identity."""
    assert one(imei(pl.col("raw")), raw) == {"imei": None, "imei_raw": None, "ok": True}
    for rule in (imsi, iccid, eid):
        assert one(rule(pl.col("raw")), raw) == {"value": None, "ok": True}


_LETTERS = st.characters(codec="utf-8", exclude_characters="\x1c\x1d\x1e\x1f")
"""All characters but four separators that are blanks to Python and to nobody else."""


@settings(max_examples=as_many(25), deadline=None)
@given(st.lists(st.one_of(st.text(_LETTERS, max_size=20), st.text("0123456789fF+", max_size=20)), min_size=1))
def test_any_text_is_an_imsi_or_refused(raw: list[str]) -> None:
    """What comes out is 6 to 15 digits of what went in; all else is refused."""
    for text, found in zip(raw, pl.DataFrame({"raw": raw}).select(imsi(pl.col("raw"))).to_series(), strict=True):
        value = found["value"]
        assert found["ok"] == (value is not None or text.strip() == "")
        if value is not None:
            assert value.isascii() and value.isdigit() and 6 <= len(value) <= 15
            assert text.strip() in (value, value + "f", value + "F")


def test_cells_are_lower_case_text() -> None:
    """A cell id is text: its hexadecimal digits are lower case and none is refused."""
    frame = pl.DataFrame({"raw": ["204-99-0A1B-20CD", " 20499A1B20 ", "", None]})

    assert frame.select(cell(pl.col("raw"))).to_series().to_list() == ["204-99-0a1b-20cd", "20499a1b20", None, None]
