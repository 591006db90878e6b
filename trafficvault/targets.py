"""Targets: what a person wrote in a warrant, in the one form that records hold, or a sentence about what is expected.

Numbers, identities and addresses go through the same code that normalises records, so that a target and a record that
mean the same are the same text. What is not of its form is refused rather than guessed: a target that no record could
hold would be answered with silence. No sentence here repeats a value.

| type | normal form |
|---|---|
| msisdn | `+31612345678`; a Dutch 0800 or 090x number the way records hold it, `08001234` |
| extension | `1001@customer` |
| imsi, imei, iccid | digits: 6 to 15, the first 14, 18 to 20 |
| ip, ip_port, prefix | RFC 5952; `192.0.2.1:443`, `[2001:db8::1]:443`; `2001:db8::/48` with all host bits 0 |
| mac | `02:00:00:00:00:01` |
| email | lower case |
| line, user, session | as written |
| cell | lower case; what starts like a CGI, ECGI or NCGI must be one (TS 103 280) |
| uri | `sip:name@host`, lower case, without parameters |
| number_range | `+31201234500..+31201234599` |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import polars as pl

from ingest import addresses, devices, numbers
from ingest.record import WHERE, WHO
from ingest.source import NumberPlan
from queries.scope import Target
from trafficvault.errors import UsageError

WIDEST_PREFIX = {4: 16, 6: 32}
"""The shortest prefix length a target may have, by address family: shorter ones reach whole networks."""
WIDEST_RANGE = 10_000
"""How many numbers a range may hold: the largest block that is given out as one."""
LONGEST_TEXT = 255

_PLAN = NumberPlan()
_MAPPED = bytes(10) + b"\xff\xff"
_LIKE_CELL = re.compile(r"[0-9]{3}-[0-9]{2,3}-.*")
_CELL = re.compile(r"[0-9]{3}-[0-9]{2,3}-(?:[0-9a-f]{4}-[0-9a-f]{4}|[0-9a-f]{7}|[0-9a-f]{9})")
_LOCAL_CELL = re.compile(r"[0-9a-z][0-9a-z.:_/-]{0,63}")


@dataclass(frozen=True, slots=True)
class _Form:
    """How a type is normalised (None: not of the form) and what is expected of who writes it."""

    normalise: Callable[[str], str | None]
    expected: str


def normal(type: str, written: str) -> str:
    """The normal form of a target of `type`. Raises `UsageError` that says what form is expected, without the value."""
    form = FORMS.get(type)
    if form is None:
        raise UsageError(f"its type must be one of {', '.join(FORMS)}")
    found = form.normalise(written.strip())
    if found is None:
        raise UsageError(f"its value must be {form.expected}")
    return found


def category_of(type: str) -> str:
    """The category of the columns in which a target of `type` is found."""
    return WHERE if type == "cell" else WHO


def remarks(type: str, written: str) -> tuple[str, ...]:
    """What is odd about a value that is nevertheless taken."""
    digits = written.strip()
    if type == "imei" and len(digits) == 15 and digits[14] != "0" and _luhn(digits[:14]) != int(digits[14]):
        return ("its last digit is not the check digit of the other 14; it is searched by those 14",)
    return ()


def target_of(entry: Mapping[str, Any]) -> Target:
    """The target of a warrant document's entry (`type`, `value`, `from`, `to`), the way `queries` compares it."""
    type_, text = str(entry["type"]), str(entry["value"])
    start, end = datetime.fromisoformat(entry["from"]), datetime.fromisoformat(entry["to"])
    match type_:
        case "ip":
            return Target(type_, _packed(text), start, end)
        case "ip_port":
            address, _, port = text.rpartition(":")
            return Target(type_, _packed(address.strip("[]")), start, end, port=int(port))
        case "prefix":
            address, _, length = text.partition("/")
            return Target(type_, _packed(address), start, end, length=int(length))
        case "number_range":
            low, _, high = text.partition("..")
            return Target(type_, low, start, end, upper=high)
        case _:
            return Target(type_, text, start, end)


def are_one(mine: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two entries name the same identifier, in windows that overlap: a number may be given out again."""
    same = (mine["type"], mine["value"]) == (other["type"], other["value"])
    return same and bool(mine["from"] < other["to"] and other["from"] < mine["to"])


def _msisdn(text: str) -> str | None:
    if not re.fullmatch(r"\+[0-9][0-9 .\-]*", text):
        return None
    found = _party(text)
    return found["number"] if found["kind"] in ("e164", "service") else None


def _uri(text: str) -> str | None:
    found = _party(text)
    return found["number"] if found["kind"] == "uri" else None


def _party(text: str) -> dict[str, Any]:
    frame = pl.DataFrame({"text": [text]})
    party: dict[str, Any] = frame.select(numbers.party(pl.col("text"), _PLAN, "NL", "-")).item()
    return party


def _extension(text: str) -> str | None:
    return text if re.fullmatch(r"[0-9]{1,15}@\S(?:.*\S)?", text) and text.isprintable() else None


def _range(text: str) -> str | None:
    low, dots, high = text.partition("..")
    first, last = _msisdn(low.strip()), _msisdn(high.strip())
    if not dots or first is None or last is None or not first.startswith("+") or len(first) != len(last):
        return None
    return f"{first}..{last}" if 0 <= int(last) - int(first) < WIDEST_RANGE else None


def _by(read: Callable[[pl.Expr], pl.Expr], field: str) -> Callable[[str], str | None]:
    """Normalises by the record's own code, which gives a struct with `field`."""

    def normalise(text: str) -> str | None:
        value = pl.DataFrame({"text": [text]}).select(read(pl.col("text")).struct.field(field)).item()
        return str(value) if value else None

    return normalise


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    if found.version == 6:
        return None if found.scope_id else found.ipv4_mapped or found
    return found


def _ip(text: str) -> str | None:
    found = _address(text)
    return None if found is None else str(found)


def _ip_port(text: str) -> str | None:
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})", text)
    if match is None or not 0 < int(match[3]) <= 65_535:
        return None
    address = _address(match[1] or match[2])
    if address is None or (match[2] and address.version == 6):
        return None
    return f"[{address}]:{int(match[3])}" if address.version == 6 else f"{address}:{int(match[3])}"


def _prefix(text: str) -> str | None:
    if not re.fullmatch(r"[0-9A-Fa-f:.]+/[0-9]{1,3}", text):
        return None
    try:
        network = ip_network(text)
    except ValueError:
        return None
    # A prefix of IPv4-mapped addresses is an IPv4 prefix in disguise; it is asked for as that.
    disguised = network.version == 6 and IPv6Address(int(network.network_address)).ipv4_mapped is not None
    return None if disguised or network.prefixlen < WIDEST_PREFIX[network.version] else str(network)


def _cell(text: str) -> str | None:
    lower = text.lower()
    form = _CELL if _LIKE_CELL.fullmatch(lower) else _LOCAL_CELL
    return lower if form.fullmatch(lower) else None


def _plain(text: str) -> str | None:
    return text if 0 < len(text) <= LONGEST_TEXT and text.isprintable() else None


def _packed(text: str) -> bytes:
    address = ip_address(text)
    return address.packed if address.version == 6 else _MAPPED + address.packed


def _luhn(digits: str) -> int:
    """The check digit of `digits` (ISO/IEC 7812-1 annex B)."""
    doubled = (int(digit) * (2 - index % 2) for index, digit in enumerate(reversed(digits)))
    return -sum(value - 9 if value > 9 else value for value in doubled) % 10


FORMS: Mapping[str, _Form] = {
    "msisdn": _Form(_msisdn, "a number in international form, + and the country code first, such as +31612345678"),
    "extension": _Form(_extension, "an extension and its customer, such as 1001@customer"),
    "imsi": _Form(_by(devices.imsi, "value"), "an IMSI of 6 to 15 digits"),
    "imei": _Form(_by(devices.imei, "imei"), "an IMEI of 14 to 16 digits"),
    "iccid": _Form(_by(devices.iccid, "value"), "an ICCID of 18 to 20 digits that starts with 89"),
    "ip": _Form(_ip, "an IPv4 or IPv6 address"),
    "ip_port": _Form(_ip_port, "an address and a port, 192.0.2.1:443 or [2001:db8::1]:443"),
    "prefix": _Form(
        _prefix,
        "a prefix without host bits, such as 192.0.2.0/24 or 2001:db8::/48, of /16 (IPv4) or /32 (IPv6) at the most",
    ),
    "mac": _Form(_by(addresses.mac, "value"), "a MAC address of six octets, such as 02:00:00:00:00:01"),
    "email": _Form(_by(addresses.mail, "value"), "a mail address with an @"),
    "line": _Form(_plain, f"a line id of 1 to {LONGEST_TEXT} printable characters"),
    "user": _Form(_plain, f"a user name of 1 to {LONGEST_TEXT} printable characters"),
    "session": _Form(_plain, f"a session id of 1 to {LONGEST_TEXT} printable characters"),
    "cell": _Form(
        _cell,
        "a cell id: MCC-MNC-LAC-CI with 4 hex digits each, MCC-MNC- and 7 (ECGI) or 9 (NCGI), or the source's own",
    ),
    "uri": _Form(_uri, "a SIP address such as sip:name@host; a number in one is a msisdn or an extension"),
    "number_range": _Form(
        _range, f"two numbers of one length and at most {WIDEST_RANGE} apart, such as +31201234500..+31201234599"
    ),
}
"""Every type of target that a warrant may name."""
