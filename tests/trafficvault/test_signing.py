"""Canonical form, moments as text, and signatures."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficvault import signing
from trafficvault.errors import FaultError

OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=OFFSETS)


@given(MOMENTS)
def test_a_moment_comes_back(moment: datetime) -> None:
    """A moment as text is of one length, in UTC, and read back as the same moment, in any year."""
    text = signing.instant(moment)

    assert len(text) == 27 and text[4] == "-" and text.endswith("Z")
    assert datetime.fromisoformat(text) == moment


@given(MOMENTS, MOMENTS)
def test_texts_of_moments_sort_as_the_moments(one: datetime, other: datetime) -> None:
    """The order of the texts is the order of the moments."""
    assert (signing.instant(one) < signing.instant(other)) == (one < other)


def test_early_years_keep_their_zeros() -> None:
    """A year before 1000 has four digits, and a whole second its six decimals."""
    assert signing.instant(datetime(7, 1, 2, 3, 4, 5, tzinfo=UTC)) == "0007-01-02T03:04:05.000000Z"


def test_the_canonical_form() -> None:
    """Keys are sorted, blanks gone and letters plain; equal values give equal digests."""
    value = {"b": [1, None, True], "a": "Zoë"}

    assert signing.canonical(value) == '{"a":"Zoë","b":[1,null,true]}'.encode()
    assert signing.digest(value) == signing.digest(json.loads(signing.canonical(value)))


@pytest.mark.parametrize("value", [1.5, {1: "a"}, {"a": [b"x"]}, {"a": {"b": 0.0}}])
def test_what_has_no_canonical_form(value: object) -> None:
    """A fraction, a key that is no text and a value of another type are refused."""
    with pytest.raises(TypeError, match="canonical"):
        signing.canonical(value)


@pytest.mark.parametrize(
    "text", ['{"a":1,"a":2}', '{"a":{"b":1,"b":1}}', '{"a":1.5}', "NaN", '{"a":"\\ud800"}', "[" * 100_000, "{", ""]
)
def test_what_is_signed_is_read_as_it_stands(text: str) -> None:
    """A name that stands twice, and what nobody can have signed, is no signed text, whichever of two would hold."""
    with pytest.raises(ValueError):
        signing.read(text)
    assert signing.read('{"a": [1, null], "b": "Zo\\u00eb"}') == {"a": [1, None], "b": "Zoë"}


def test_a_signature_is_of_one_key_and_one_message() -> None:
    """A signature holds for its own key and message, and for no other; a broken one is a fault, not a crash."""
    key, other = os.urandom(32), os.urandom(32)
    message = signing.statement("approve", "00ff", "anna", datetime(2026, 6, 1, tzinfo=UTC))
    signature = signing.sign(key, message)

    signing.require_signature(signing.public_key_of(key), signature, message, "the approval")
    for public, given_, text in (
        (signing.public_key_of(other), signature, message),
        (signing.public_key_of(key), signature, message + b" "),
        (signing.public_key_of(key), "no hex", message),
        ("00", signature, message),
    ):
        with pytest.raises(FaultError, match="checking the approval"):
            signing.require_signature(public, given_, text, "the approval")
