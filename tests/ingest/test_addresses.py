"""IP, MAC and mail addresses, with the standard library as an oracle."""

from __future__ import annotations

import ipaddress
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.addresses import VALUE, address, mac, mail
from tests.thorough import as_many


def packed(text: str) -> bytes | None:
    """The 16 bytes that the standard library makes of `text`, or None."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        return None if found.scope_id else found.packed
    return ipaddress.IPv6Address(f"::ffff:{found}").packed


_QUAD = st.lists(st.one_of(st.integers(0, 300).map(str), st.text("0123456789+-", max_size=4)), min_size=3, max_size=5)
_TEXTS = st.one_of(
    st.ip_addresses().map(str),
    st.ip_addresses(v=6).map(lambda found: found.exploded.upper()),
    st.ip_addresses(v=4).map(lambda found: f"::ffff:{found}"),
    _QUAD.map(".".join),
    st.text("0123456789abcdef:.%", max_size=20),
    st.text(max_size=10).filter(lambda text: text == text.strip()),
)


@settings(max_examples=as_many(25), deadline=None)
@given(st.lists(_TEXTS, max_size=40))
def test_addresses_agree_with_the_standard_library(texts: list[str]) -> None:
    """Every text is an address exactly where ipaddress says so, and then the same 16 bytes."""
    array, ok = address(pl.Series(texts, dtype=pl.String))
    wanted = [packed(text) for text in texts]

    assert array.type == pa.binary(16)
    assert array.to_pylist() == wanted
    assert ok.to_list() == [found is not None or text == "" for text, found in zip(texts, wanted, strict=True)]
    array.validate(full=True)


def test_absent_addresses_are_null_and_no_fault() -> None:
    """Nothing is no address; a column of nothing is a column of nulls."""
    array, ok = address(pl.Series([None, "", " "], dtype=pl.String))

    assert array.to_pylist() == [None] * 3
    assert ok.to_list() == [True] * 3


def test_both_families_live_in_one_column() -> None:
    """An IPv4 address is its IPv4-mapped form, and blanks around an address don't matter."""
    array, ok = address(pl.Series(["203.0.113.7 ", "::ffff:203.0.113.7", "2001:DB8::1", "fe80::1%eth0", "010.0.0.1"]))
    mapped = bytes(10) + b"\xff\xff" + bytes([203, 0, 113, 7])

    assert array.to_pylist() == [mapped, mapped, bytes.fromhex("20010db8" + "0" * 23 + "1"), None, None]
    assert ok.to_list() == [True, True, True, False, False]


def one(rule: pl.Expr, raw: str | None) -> dict[str, Any]:
    """What `rule` makes of one text."""
    found = pl.DataFrame({"raw": pl.Series([raw], dtype=pl.String)}).select(rule).to_series()
    assert found.dtype == VALUE
    return dict(found[0])


@pytest.mark.parametrize(
    "raw", ["02-00-5E-10-00-01", "0200.5e10.0001", "02:00:5e:10:00:01", "02005E100001", " 02005E100001 "]
)
def test_a_mac_is_lower_case_with_colons(raw: str) -> None:
    """Every usual way to write a MAC address becomes the one of TS 103 280."""
    assert one(mac(pl.col("raw")), raw) == {"value": "02:00:5e:10:00:01", "ok": True}


@pytest.mark.parametrize("raw", ["02:00:5e:10:00", "02:00-5e:10:00:01", "0200:5e10:0001", "02:00:5e:10:00:0g", "x"])
def test_what_is_no_mac_is_refused(raw: str) -> None:
    """Mixed separators, five octets and other letters are no MAC address."""
    assert one(mac(pl.col("raw")), raw) == {"value": None, "ok": False}


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("<Jan.Jansen@Example.NL>", "jan.jansen@example.nl"),
        ("root@localhost", "root@localhost"),
        ("a@b@example.nl", "a@b@example.nl"),
        ("<>", ""),
    ],
)
def test_mail_addresses_are_lower_case_without_brackets(raw: str, value: str) -> None:
    """Brackets and case go; the empty sender of a bounce stays what it is."""
    assert one(mail(pl.col("raw")), raw) == {"value": value, "ok": True}


@pytest.mark.parametrize("raw", ["jan", "@example.nl", "jan@", "jan jansen@example.nl", "jan@\x00"])
def test_what_is_no_mail_address_is_refused(raw: str) -> None:
    """A text without two sides of an @, or with blanks, is refused."""
    assert one(mail(pl.col("raw")), raw) == {"value": None, "ok": False}


@pytest.mark.parametrize("raw", ["", " ", None])
def test_an_empty_address_is_absent_and_no_fault(raw: str | None) -> None:
    """Nothing between the separators is a record without that address."""
    for rule in (mac, mail):
        assert one(rule(pl.col("raw")), raw) == {"value": None, "ok": True}
