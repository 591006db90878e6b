"""Whole numbers and durations out of text."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.durations import whole


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("27", "seconds", 27_000),
        ("00027", "seconds", 27_000),
        ("27.5", "seconds", 27_500),
        (" 27 ", "seconds", 27_000),
        ("1.5", "milliseconds", 2),
        ("-1", "seconds", None),
        ("1e3", "seconds", None),
        ("nan", "seconds", None),
        ("9999999999", "seconds", None),
        ("99999999999999999999", "milliseconds", None),
        ("000127", "duration_hhmmss", 87_000),
        ("1000000", "duration_hhmmss", 360_000_000),
        ("000160", "duration_hhmmss", None),
        ("00000150", "duration_hhmmssss", 1_500),
        ("000000305500", "duration_hhmmssss", 1_855_000),
        ("00009900", "duration_hhmmssss", None),
        ("0150", "duration_hhmmssss", None),
        ("0x1", "integer", None),
        ("", "integer", None),
    ],
)
def test_durations(text: str, kind: str, value: int | None) -> None:
    """Durations are whole milliseconds; what carries over, is negative, or is too long for a call is none."""
    assert whole(pl.Series([text]), kind)[0] == value


@given(st.integers(0, 10**6), st.integers(0, 59), st.integers(0, 59), st.integers(0, 99))
def test_hundredths_are_exact(hours: int, minutes: int, seconds: int, hundredths: int) -> None:
    """HHMMSSss gives the milliseconds that it writes, within the longest duration there is."""
    value = ((hours * 60 + minutes) * 60 + seconds) * 1000 + hundredths * 10
    text = f"{hours:02}{minutes:02}{seconds:02}{hundredths:02}"

    found = whole(pl.Series([text]), "duration_hhmmssss")[0]
    assert found == (value if value <= 10**12 else None)
