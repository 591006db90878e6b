"""The normal form of targets."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import numbers
from ingest.source import NumberPlan
from queries.target import TYPES
from trafficvault import targets
from trafficvault.errors import UsageError

NORMAL = [
    ("msisdn", "+31612345678", "+31612345678"),
    ("msisdn", " +31 6 1234-5678 ", "+31612345678"),
    ("msisdn", "+4915112345678", "+4915112345678"),
    ("msisdn", "+318001234", "08001234"),
    ("msisdn", "0612345678", None),
    ("msisdn", "31612345678", None),
    ("msisdn", "+31612", None),
    ("msisdn", "+112", None),
    ("msisdn", "+999123456789", None),
    ("msisdn", "+31612345678 or so", None),
    ("extension", "1001@acme bv", "1001@acme bv"),
    ("extension", "1001", None),
    ("extension", "1001@", None),
    ("extension", "acme@1001", None),
    ("imsi", "204990000000001", "204990000000001"),
    ("imsi", "20499 0000000001", None),
    ("imsi", "20499", None),
    ("imei", "35000000000001", "35000000000001"),
    ("imei", "350000000000012", "35000000000001"),
    ("imei", "3500000000000112", "35000000000001"),
    ("imei", "3500000000000", None),
    ("iccid", "8931000000000000001", "8931000000000000001"),
    ("iccid", "1931000000000000001", None),
    ("ip", "192.0.2.1", "192.0.2.1"),
    ("ip", "::ffff:192.0.2.1", "192.0.2.1"),
    ("ip", "2001:DB8:0:0::1", "2001:db8::1"),
    ("ip", "192.0.2.01", None),
    ("ip", "192.0.2.0/24", None),
    ("ip", "fe80::1%eth0", None),
    ("ip_port", "192.0.2.1:443", "192.0.2.1:443"),
    ("ip_port", "[2001:DB8::1]:443", "[2001:db8::1]:443"),
    ("ip_port", "[::ffff:192.0.2.1]:443", "192.0.2.1:443"),
    ("ip_port", "2001:db8::1:443", None),
    ("ip_port", "192.0.2.1", None),
    ("ip_port", "192.0.2.1:0", None),
    ("ip_port", "192.0.2.1:65536", None),
    ("ip_port", "192.0.2.999:80", None),
    ("prefix", "192.0.2.0/24", "192.0.2.0/24"),
    ("prefix", "2001:DB8::/48", "2001:db8::/48"),
    ("prefix", "192.0.2.1/24", None),
    ("prefix", "192.0.2.0", None),
    ("prefix", "192.0.2.0/255.255.255.0", None),
    ("prefix", "10.0.0.0/8", None),
    ("prefix", "2000::/3", None),
    ("prefix", "::ffff:192.0.2.0/120", None),
    ("mac", "02-00-00-00-00-0A", "02:00:00:00:00:0a"),
    ("mac", "0200.0000.000a", "02:00:00:00:00:0a"),
    ("mac", "02:00:00:00:00", None),
    ("email", "Jan@Mail.Example", "jan@mail.example"),
    ("email", "jan", None),
    ("email", "<>", None),
    ("line", "NL-1234 a", "NL-1234 a"),
    ("line", "", None),
    ("line", "x" * 256, None),
    ("user", "Jan", "Jan"),
    ("user", "a\tb", None),
    ("session", "0001-abc", "0001-abc"),
    ("cell", "204-99-1A2B-3C4D", "204-99-1a2b-3c4d"),
    ("cell", "204-99-1a2b3c4", "204-99-1a2b3c4"),
    ("cell", "204-99-1a2b3c4d5", "204-99-1a2b3c4d5"),
    ("cell", "204-99-1a2", None),
    ("cell", "BTS_17/2", "bts_17/2"),
    ("cell", "a cell", None),
    ("uri", "sip:Jan@Sip.Example;user=phone", "sip:jan@sip.example"),
    ("uri", "jan@sip.example", "sip:jan@sip.example"),
    ("uri", "sip:+31612345678@sip.example", None),
    ("uri", "nobody", None),
    ("number_range", "+31201234500..+31201234599", "+31201234500..+31201234599"),
    ("number_range", "+31 20 1234500 .. +31 20 1234599", "+31201234500..+31201234599"),
    ("number_range", "+31201234500", None),
    ("number_range", "+31201234599..+31201234500", None),
    ("number_range", "+31201230000..+31201240000", None),
    ("number_range", "+31201234500..+4915112345678", None),
    ("number_range", "+318001234..+318001235", None),
]


@pytest.mark.parametrize(("type", "written", "expected"), NORMAL)
def test_normal_forms(type: str, written: str, expected: str | None) -> None:
    """What a person wrote becomes the form records hold, or a sentence about the form, without the value."""
    if expected is not None:
        assert targets.normal(type, written) == expected
        return
    with pytest.raises(UsageError, match="its value must be") as refused:
        targets.normal(type, written)
    assert str(refused.value) == f"its value must be {targets.FORMS[type].expected}"
    assert refused.value.__cause__ is None


def test_types() -> None:
    """The types are those the search knows, and an unknown one is told what there is."""
    assert set(targets.FORMS) == TYPES
    with pytest.raises(UsageError, match=r"one of msisdn, extension.*number_range") as refused:
        targets.normal("31612345678", "x")
    assert "31612345678" not in str(refused.value)
    assert {type_ for type_ in targets.FORMS if targets.category_of(type_) == "where"} == {"cell"}


@pytest.mark.parametrize(
    ("type", "written", "remarked"),
    [
        ("imei", "490154203237518", False),
        ("imei", "490154203237519", True),
        ("imei", "490154203237510", False),
        ("imei", "49015420323751", False),
        ("imsi", "490154203237519", False),
    ],
)
def test_check_digit_is_a_remark(type: str, written: str, remarked: bool) -> None:
    """A wrong check digit of an IMEI is remarked on and never refused: signalling leaves it 0."""
    assert bool(targets.remarks(type, written)) == remarked
    assert targets.normal(type, written)


@pytest.mark.parametrize(("type", "written", "expected"), [case for case in NORMAL if case[2] is not None])
def test_targets_for_the_search(type: str, written: str, expected: str) -> None:
    """A document's entry becomes a target that reads back as the entry; normalising twice changes nothing."""
    entry: dict[str, Any] = {
        "type": type,
        "value": expected,
        "from": "2026-06-01T00:00:00.000000Z",
        "to": "2026-07-01T00:00:00Z",
    }
    target = targets.target_of(entry)

    assert target.text == expected
    assert (target.start, target.end) == (datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC))
    if not expected.startswith("0800"):
        assert targets.normal(type, expected) == expected


@settings(deadline=None, max_examples=50)
@given(st.from_regex(r"\+(31[1-57][0-9]{8}|316[0-9]{8}|49[1-9][0-9]{8})", fullmatch=True))
def test_a_number_is_the_record_s_number(number: str) -> None:
    """A number is normalised exactly as the same number in a record."""
    party = pl.DataFrame({"raw": [number]}).select(numbers.party(pl.col("raw"), NumberPlan(), "NL", "x")).item()

    assert targets.normal("msisdn", number) == party["number"]


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**128 - 1), st.integers(1, 65535))
def test_addresses_are_equal_when_they_are_the_same(four: int, six: int, port: int) -> None:
    """Every way to write one address gives one target."""
    v4, v6 = IPv4Address(four), IPv6Address(six)

    assert targets.normal("ip", str(v4)) == targets.normal("ip", f"::ffff:{v4}")
    assert targets.normal("ip", v6.exploded.upper()) == targets.normal("ip", str(v6))
    if v6.ipv4_mapped is None:
        entry = {"from": "2026-06-01T00:00:00Z", "to": "2026-07-01T00:00:00Z"}
        found = targets.target_of(
            entry | {"type": "ip_port", "value": targets.normal("ip_port", f"[{v6.exploded}]:{port}")}
        )
        assert (found.address, found.port) == (v6.packed, port)


@given(st.sampled_from(sorted(targets.FORMS)), st.text(max_size=40))
def test_any_text_is_taken_or_refused(type: str, written: str) -> None:
    """Whatever is written, the answer is a normal form that the search takes, or a sentence."""
    try:
        value = targets.normal(type, written)
    except UsageError:
        return
    entry = {"type": type, "value": value, "from": "2026-06-01T00:00:00Z", "to": "2026-07-01T00:00:00Z"}
    assert targets.target_of(entry).text == value
