"""Addresses: IP as 16 bytes, MAC and mail as text in their normal form.

An IPv4 address is kept as its IPv4-mapped IPv6 form (RFC 4291 §2.5.5.2), so that one column holds both families. Text
that is no address is null with `ok` false; an empty text is null and `ok`.
"""

from __future__ import annotations

import ipaddress
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

VALUE: Final = pl.Struct({"value": pl.String, "ok": pl.Boolean})
"""What `mac` and `mail` give per row: the normal form, and whether the text was empty or of the form."""

_MAC: Final = (
    r"^(?:[0-9a-f]{12}|[0-9a-f]{2}(?::[0-9a-f]{2}){5}|[0-9a-f]{2}(?:-[0-9a-f]{2}){5}|[0-9a-f]{4}(?:\.[0-9a-f]{4}){2})$"
)
_MAPPED: Final = np.frombuffer(b"\0" * 10 + b"\xff\xff", dtype=np.uint8)


def address(raw: pl.Series) -> tuple[pa.FixedSizeBinaryArray, pl.Series]:
    """The addresses that `raw` writes, 16 bytes each, and which rows were empty or an address.

    IPv4 is four decimal numbers without leading zeros (`010.0.0.1` is octal to some readers, so it is refused); IPv6
    is any form of RFC 4291 §2.2, without zone or prefix length.
    """
    text = raw.cast(pl.String).str.strip_chars()
    absent = (text == "").fill_null(True)
    out = np.zeros((len(text), 16), dtype=np.uint8)
    out[:, :12] = _MAPPED
    found = _ipv4(text, out)
    rest = ~absent & ~pl.Series(found)
    if rest.any():
        found |= _ipv6(text, rest, out)
    valid = pa.array(found).buffers()[1] if len(text) else None
    array = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(text), [valid, pa.py_buffer(out)])
    return array, (absent | pl.Series(found)).alias("ok")


def mac(raw: pl.Expr) -> pl.Expr:
    """MAC addresses in lower case with colons (TS 103 280 §6.22), from any of `-`, `:`, Cisco's `.` or no separator."""

    def parts(given: pl.Series) -> pl.Series:
        text = given.str.strip_chars().str.to_lowercase()
        digits = text.str.replace_all(r"[:.\-]", "")
        octets = [digits.str.slice(at, 2) for at in range(0, 12, 2)]
        value = pl.select(pl.concat_str(octets, separator=":")).to_series()
        return _checked(text, value, text.str.contains(_MAC))

    return raw.cast(pl.String).map_batches(parts, return_dtype=VALUE)


def mail(raw: pl.Expr) -> pl.Expr:
    """Mail addresses in lower case without `<>`; `<>` itself is the empty sender of a bounce (RFC 5321 §4.5.5): "".

    Only an `@` between two texts without blanks is asked for: envelope addresses of real servers obey little more.
    """

    def parts(given: pl.Series) -> pl.Series:
        text = given.str.strip_chars()
        bare = text.str.replace(r"^<(.*)>$", "$1").str.strip_chars().str.to_lowercase()
        return _checked(text, bare, bare.str.contains(r"^[^\s\pC]+@[^\s@\pC]+$") | ((bare == "") & (text != "")))

    return raw.cast(pl.String).map_batches(parts, return_dtype=VALUE)


def _checked(text: pl.Series, value: pl.Series, ok: pl.Series) -> pl.Series:
    """Structs of type `VALUE`: `value` where `ok`, and `ok` true for an empty text too."""
    ok = ok.fill_null(False)
    return pl.DataFrame({"value": value.set(~ok, None), "ok": ok | (text == "").fill_null(True)}).to_struct("value")


def _ipv4(text: pl.Series, out: Bytes) -> Bools:
    """Writes the IPv4 addresses among `text` into `out`; says which rows were one."""
    found = np.ones(len(text), dtype=np.bool_)
    length = np.full(len(text), 3, dtype=np.int64)
    for at, part in enumerate(text.str.split_exact(".", 3).struct.unnest()):
        number = part.cast(pl.UInt8, strict=False)
        octet = number.fill_null(0).to_numpy()
        found &= number.is_not_null().to_numpy()
        length += 1 + (octet > 9) + (octet > 99)
        out[:, 12 + at] = octet
    # Signs, leading zeros and a fifth part make the text longer than its four numbers.
    found &= text.str.len_bytes().fill_null(0).to_numpy() == length
    out[~found] = 0
    return found


def _ipv6(text: pl.Series, rest: pl.Series, out: Bytes) -> Bools:
    """As `_ipv4`, for the rows of `rest`, each distinct text once."""
    texts = text.filter(rest)
    distinct = texts.unique()
    packed = [_packed(one) for one in distinct]
    table = np.frombuffer(b"".join(one or b"\0" * 16 for one in packed), dtype=np.uint8).reshape(-1, 16)
    at = texts.replace_strict(distinct, pl.Series(range(len(distinct)), dtype=pl.UInt32)).to_numpy()
    rows = rest.to_numpy()
    out[rows] = table[at]
    found = np.zeros(len(text), dtype=np.bool_)
    found[rows] = np.array([one is not None for one in packed], dtype=np.bool_)[at]
    return found


def _packed(text: str) -> bytes | None:
    if ":" not in text or "%" in text:
        return None
    try:
        return ipaddress.IPv6Address(text).packed
    except ValueError:
        return None
