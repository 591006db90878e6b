"""What plain digits mean under a number plan: E.164, short, service, extension, or unknown.

Works on whole columns of digits as integers and lengths, so that a million numbers cost a few array operations; the
text around the digits (URIs, separators, service codes) is cut before, in `ingest.numbers`. The order of the rules is
part of their meaning:

1. Emergency numbers, before anything else; also behind a trunk access digit.
2. Extensions, where the plan has them: a short number of the country that is as long as an extension is one, because
   two customers' extensions must never meet.
3. The digits behind a trunk access digit, when they mean something.
4. Short numbers of the region; they never become E.164.
5. International prefix, national prefix, and what the plan says of a number without prefix.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from ingest.countries import ASSIGNED_HEADS
from ingest.source import NumberPlan

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

UNKNOWN, E164, SHORT, SERVICE, EXTENSION = range(5)
"""What a number is. The value beside it: E.164 digits, the short number, the national number without its 0, nothing."""

NATURES: Final = ("plan", "international", "national", "subscriber", "unknown")
"""What a source may tell of a number's nature; `plan` leaves it to prefixes and the number plan."""

_EMERGENCY: Final = (112, 911)
_POWERS: Final[Ints] = 10 ** np.arange(19, dtype=np.int64)
_NETHERLANDS: Final = "31"
_LEAST_BARE: Final = 8
_SERVICE_HEADS: Final = (800, 900, 906, 909)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What each number of a column is, the value that goes with it, and whether it is an emergency number."""

    code: Ints
    value: Ints
    emergency: Bools


def meaning(
    text: pl.Series, plan: NumberPlan, region: str, nature: pl.Series | None, area: pl.Series | None
) -> Meaning:
    """What each of `text` (digits, with or without `+`; anything else is unknown) means under `plan` in `region`.

    `nature` holds one of `NATURES` per row. `area` completes a subscriber number: an area code without trunk prefix, or
    with a `+` the E.164 number of a party whose area it shares; without it the plan's area does.
    """
    plain = _plain(text, plan, region, nature, area, extensions=plan.extension)
    if not plan.access:
        return plain
    width = len(plan.access)
    behind = (text.str.starts_with(plan.access) & (text.str.len_bytes() >= width + 3)).fill_null(False)
    # A bare international number can't be told from one with an access digit: there, only a prefix makes it one.
    without = replace(plan, access=None, bare="unknown" if plan.bare == "international" else plan.bare)
    inner = _plain(text.str.slice(width), without, region, nature, area, extensions=None)
    open_ = (plain.code != EXTENSION) & ~plain.emergency
    taken = behind.to_numpy() & (inner.code != UNKNOWN) & (open_ | inner.emergency)
    return Meaning(
        np.where(taken, inner.code, plain.code),
        np.where(taken, inner.value, plain.value),
        np.where(taken, inner.emergency, plain.emergency),
    )


def _plain(
    text: pl.Series,
    plan: NumberPlan,
    region: str,
    nature: pl.Series | None,
    area: pl.Series | None,
    *,
    extensions: tuple[int, int] | None,
) -> Meaning:
    number = text.cast(pl.UInt64, strict=False)
    plus = _where(text.str.starts_with("+"))
    length = text.str.len_bytes().fill_null(0).cast(pl.Int64).to_numpy() - plus
    usable = number.is_not_null().to_numpy() & (length <= 18)
    value = np.where(usable, number.fill_null(0).to_numpy(), 0).astype(np.int64)
    length = np.where(usable, length, 0)

    def starts(prefix: str) -> Bools:
        found = _where(text.str.starts_with(prefix)) & usable & ~plus & (length > len(prefix))
        return found if prefix else np.zeros_like(found)

    def is_nature(name: str) -> Bools:
        if nature is None:
            return np.full(len(text), plan.bare == name)
        own = _where(nature == name)
        return own | _where((nature == "plan") | nature.is_null()) if plan.bare == name else own

    # (1), (2)
    emergency = usable & ~plus & (length == 3) & np.isin(value, _EMERGENCY)
    announced = starts(plan.international)
    trunk = starts(plan.national) & ~announced
    if nature is not None:
        # A number told to be international has no trunk prefix, whatever digit it starts with.
        told = _where(nature == "international")
        trunk &= ~told
        announced &= ~told | np.full(len(text), plan.international.startswith("0"))
    extension = np.zeros(len(text), dtype=np.bool_)
    if extensions is not None:
        extension = usable & ~plus & ~announced & ~trunk & ~emergency
        extension &= (length >= extensions[0]) & (length <= extensions[1])
    # (4), (5)
    short = emergency.copy()
    if region == "NL":
        short |= usable & ~plus & _is_dutch_short(value, length)
    bare = usable & ~plus & ~announced & ~trunk
    cut = np.where(announced, len(plan.international), np.where(trunk, len(plan.national), 0))
    left = np.maximum(length - cut, 0)
    inner = value % _POWERS[left]
    international = plus | announced | (bare & is_nature("international"))
    national = trunk | (bare & is_nature("national"))
    local = bare & is_nature("subscriber")
    guessed = bare & international
    if nature is not None:
        guessed &= ~told

    code = np.full(len(text), UNKNOWN, dtype=np.int64)
    result = np.zeros(len(text), dtype=np.int64)
    some = international & usable
    code[some], result[some] = _international(inner[some], left[some])
    # Only the plan's word makes such a number international: seven digits are more likely a local one.
    code[guessed & (code == E164) & (length < _LEAST_BARE)] = UNKNOWN
    some = national & usable
    code[some], result[some] = _national(plan.country, inner[some], left[some])
    some = local & usable
    if some.any():
        beside = None if area is None else area.filter(pl.Series(some))
        code[some], result[some] = _local(plan, value[some], length[some], beside)
    code = np.where(short, SHORT, code)
    result = np.where(short, value, result)
    code = np.where(extension, EXTENSION, code)
    # +31112 names the emergency number as a network does that routes by E.164.
    return Meaning(code, result, emergency | ((code == SHORT) & (result == 112)))


def _where(mask: pl.Series) -> Bools:
    return np.asarray(mask.fill_null(False).to_numpy(), dtype=np.bool_)


def _is_dutch_short(value: Ints, length: Ints) -> Bools:
    """Short numbers of the Dutch plan: 112, 116xxx, 12xx of networks, 14 and a municipality (144 too), 18xx(x)."""
    head = _head(value, length, 2)
    short: Bools = (
        ((length == 3) & (value == 112))
        | ((length >= 3) & (length <= 6) & (head == 14))
        | ((length == 6) & (value // 1000 == 116))
        | ((length >= 4) & (length <= 5) & (head == 18))
        | ((length == 4) & np.isin(value, (1200, 1233)))
    )
    return short


def _head(value: Ints, length: Ints, digits: int) -> Ints:
    """The first `digits` digits; the whole number where it is shorter."""
    return np.asarray(value // _POWERS[np.maximum(length - digits, 0)], dtype=np.int64)


def _international(value: Ints, length: Ints) -> tuple[Ints, Ints]:
    """Digits behind an international prefix: 7 to 15 (E.164 §6.1), the code assigned, a Dutch number of its length."""
    fits = (length >= 7) & (length <= 15)
    fits &= ASSIGNED_HEADS[np.where(fits, _head(value, length, 3), 0)]
    code, result = np.where(fits, E164, UNKNOWN), np.where(fits, value, 0)
    dutch = (length >= 4) & (_head(value, length, 2) == int(_NETHERLANDS))
    if dutch.any():
        width = length[dutch] - 2
        nsn = value[dutch] % _POWERS[width]
        # People leave the trunk 0 in behind +31; no Dutch national number starts with one.
        width = np.where((width == 10) & (nsn < _POWERS[9]), 9, width)
        found, whole = _dutch(nsn, width)
        # Networks put short numbers behind +31 (+3114020): too short to be anything else.
        short = (nsn >= _POWERS[np.maximum(width - 1, 0)]) & _is_dutch_short(nsn, width)
        code[dutch], result[dutch] = np.where(short, SHORT, found), np.where(short, nsn, whole)
    return code, result


def _national(country: str, value: Ints, length: Ints) -> tuple[Ints, Ints]:
    """A national significant number of `country`."""
    if country == _NETHERLANDS:
        return _dutch(value, length)
    total = length + len(country)
    fits = (total >= 7) & (total <= 15)
    whole = int(country) * _POWERS[np.where(fits, length, 0)] + value
    return np.where(fits, E164, UNKNOWN), np.where(fits, whole, 0)


def _dutch(value: Ints, length: Ints) -> tuple[Ints, Ints]:
    """A Dutch national significant number: 9 digits, 11 behind 97 (M2M), 0800 and 090x with 4 to 7 digits more."""
    full = value >= _POWERS[np.maximum(length - 1, 0)]
    fits = full & np.where(_head(value, length, 2) == 97, length == 11, length == 9)
    service = full & (length >= 7) & (length <= 10) & np.isin(_head(value, length, 3), _SERVICE_HEADS)
    code = np.where(service, SERVICE, np.where(fits, E164, UNKNOWN))
    whole = int(_NETHERLANDS) * _POWERS[np.where(fits, length, 0)] + value
    return code, np.where(service, value, np.where(fits, whole, 0))


def _local(plan: NumberPlan, value: Ints, length: Ints, area: pl.Series | None) -> tuple[Ints, Ints]:
    """A number without area code, completed with the row's area, else with the plan's."""
    fallback, width = (int(plan.area), len(plan.area)) if plan.area else (0, 0)
    codes, widths = np.full(len(value), fallback), np.full(len(value), width)
    if area is not None:
        given = area.cast(pl.UInt64, strict=False)
        has = given.is_not_null().to_numpy()
        beside = _where(area.str.starts_with("+")) & has
        whole = np.where(has, given.fill_null(0).to_numpy(), 0).astype(np.int64)
        size = area.str.len_bytes().fill_null(0).cast(pl.Int64).to_numpy()
        code = has & ~beside & (size <= 5)
        codes, widths = np.where(code, whole, codes), np.where(code, size, widths)
        # A Dutch geographic number is 9 digits, area included: what the local number leaves of them is the area.
        own = whole - int(_NETHERLANDS) * _POWERS[9]
        first = own // _POWERS[8]
        shared = beside & (size == 12) & (first >= 1) & (first <= 7) & (first != 6) & (length >= 5) & (length <= 7)
        shared &= plan.country == _NETHERLANDS
        codes = np.where(shared, own // _POWERS[np.minimum(length, 8)], codes)
        widths = np.where(shared, 9 - length, widths)
    total = widths + length
    known = (widths > 0) & (total <= 15) & (value >= _POWERS[np.maximum(length - 1, 0)])
    whole = np.where(known, codes * _POWERS[length] + value, 0)
    found, result = _national(plan.country, whole, np.where(known, total, 0))
    return np.where(known, found, UNKNOWN), np.where(known, result, 0)
