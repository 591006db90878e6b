"""What plain digits mean under a number plan: E.164, short, service, extension, or unknown.

Works on whole columns of digits as integers, those of one length together: a length is then no column but one number,
prefixes are found by division, and a rule that asks for another length costs nothing. The text around the digits (URIs,
separators, service codes) is cut before, in `ingest.numbers`. The order of the rules is part of their meaning:

1. Emergency numbers, before anything else; also behind a trunk access digit.
2. Extensions, where the plan has them: a short number of the country that is as long as an extension is one, because
   two customers' extensions must never meet.
3. The digits behind a trunk access digit, when they mean something.
4. Short numbers of the region; they never become E.164.
5. International prefix, national prefix, and what the plan says of a number without prefix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from ingest.countries import ASSIGNED_HEADS
from ingest.source import NumberPlan

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int8]
Rows = slice | npt.NDArray[np.intp]

UNKNOWN, E164, SHORT, SERVICE, EXTENSION = range(5)
"""What a number is. The value beside it: E.164 digits, the short number, the national number without its 0, nothing."""

NATURES: Final = ("plan", "international", "national", "subscriber", "unknown")
"""What a source may tell of a number's nature; `plan` leaves it to prefixes and the number plan."""

_EMERGENCY: Final = (112, 911)
_POWERS: Final = tuple(10**width for width in range(19))
_NETHERLANDS: Final = "31"
_LEAST_BARE: Final = 8
_MOST_DIGITS: Final = 18
"""Longer numbers mean nothing, and would not fit an integer."""
_PLUS: Final = 32
"""What a leading `+` adds to the length, to tell the groups of numbers apart."""
HEAD: Final = 5
"""Digits at the start of a number that `e164_heads` looks at."""
_LONGEST_PREFIX: Final = 4
_LEAST_BY_HEAD: Final = 9
_MOST_E164: Final = 15
_SERVICE_HEADS: Final = np.isin(np.arange(1000), (800, 900, 906, 909))


@dataclass(frozen=True, slots=True)
class Meaning:
    """What each number of a column is, the value that goes with it, and whether it is an emergency number.

    `given` says where the text was the digits of that value, with or without `+`; `plus` where it had one.
    """

    code: Codes
    value: Ints
    emergency: Bools
    given: Bools
    plus: Bools


@dataclass(frozen=True, slots=True)
class _Beside:
    """What stands beside each number: its nature as an index of `NATURES`, and what completes a subscriber number."""

    nature: Codes | None
    area: pl.Series | None

    def of(self, rows: Rows) -> _Beside:
        """The same for some rows."""
        area = self.area if self.area is None or isinstance(rows, slice) else self.area.gather(rows)
        return _Beside(None if self.nature is None else self.nature[rows], area)


def meaning(
    text: pl.Series,
    plan: NumberPlan,
    region: str,
    nature: pl.Series | None,
    area: pl.Series | None,
    number: pl.Series | None = None,
) -> Meaning:
    """What each of `text` (digits, with or without `+`; anything else is unknown) means under `plan` in `region`.

    `nature` holds one of `NATURES` per row. `area` completes a subscriber number: an area code without trunk prefix, or
    with a `+` the E.164 number of a party whose area it shares; without it the plan's area does. `number` is `text` as
    integers, where the caller has them.
    """
    natures = None
    if nature is not None:
        codes = {name: at for at, name in enumerate(NATURES)}
        natures = nature.replace_strict(codes, default=codes["plan"], return_dtype=pl.Int8).to_numpy()
    beside = _Beside(natures, area)
    plain = _plain(text, plan, region, beside, number, extensions=plan.extension)
    if not plan.access:
        return plain
    width = len(plan.access)
    behind = (text.str.starts_with(plan.access) & (text.str.len_bytes() >= width + 3)).fill_null(False)
    rows = behind.arg_true().to_numpy()
    # A bare international number can't be told from one with an access digit: there, only a prefix makes it one.
    without = replace(plan, access=None, bare="unknown" if plan.bare == "international" else plan.bare)
    inner = _plain(text.filter(behind).str.slice(width), without, region, beside.of(rows), None, extensions=None)
    open_ = (plain.code[rows] != EXTENSION) & ~plain.emergency[rows]
    taken = (inner.code != UNKNOWN) & (open_ | inner.emergency)
    rows = rows[taken]
    plain.code[rows], plain.value[rows] = inner.code[taken], inner.value[taken]
    plain.emergency[rows], plain.given[rows] = inner.emergency[taken], False
    return plain


@lru_cache(maxsize=64)
def e164_heads(plan: NumberPlan, region: str, width: int, *, plus: bool) -> Bools | None:
    """For the first `HEAD` of `width` digits, as an index: whether they make an E.164 number that is those digits.

    None where first digits don't settle that: beside an access digit, behind long prefixes, for few digits or many.
    """
    # Nothing below looks further than a prefix, the country code and three digits of a Dutch number, except for short
    # numbers, which are Dutch and have six digits behind the country code at most.
    prefixes = max(len(plan.international), len(plan.national))
    if plan.access or prefixes > _LONGEST_PREFIX or not _LEAST_BY_HEAD <= width <= _MOST_E164:
        return None
    value = np.arange(_POWERS[HEAD], dtype=np.int64) * _POWERS[width - HEAD]
    digits = _Digits(value, width, plus=plus)
    code, result, _ = _alike(digits, plan, region, _Beside(None, None), plan.extension)
    heads = (code == E164) & (result == value) & (value >= _POWERS[width - 1])
    heads.flags.writeable = False
    return np.asarray(heads, dtype=np.bool_)


def _plain(
    text: pl.Series,
    plan: NumberPlan,
    region: str,
    beside: _Beside,
    number: pl.Series | None,
    *,
    extensions: tuple[int, int] | None,
) -> Meaning:
    if number is None:
        number = text.cast(pl.UInt64, strict=False)
    count = len(text)
    size = text.str.len_bytes().fill_null(0).to_numpy().astype(np.uint8)  # beyond 18 the number below is refused
    long = size > _MOST_DIGITS + 1
    plus = _where(text.str.starts_with("+"))
    length = size - plus
    usable = ~long & (length <= _MOST_DIGITS)
    if number.null_count():
        usable &= number.is_not_null().to_numpy()
        number = number.fill_null(0)
    value = number.to_numpy()
    value = np.where(usable, value, 0).astype(np.int64) if not usable.all() else value.astype(np.int64)
    group = np.where(usable, length + _PLUS * plus.view(np.uint8), 0)
    found = Meaning(
        np.full(count, UNKNOWN, dtype=np.int8),
        np.zeros(count, dtype=np.int64),
        np.zeros(count, dtype=np.bool_),
        np.zeros(count, dtype=np.bool_),
        plus,
    )
    sizes = np.bincount(group, minlength=1)
    for which in np.flatnonzero(sizes).tolist():
        width = which % _PLUS
        if not width:
            continue
        rows: Rows = slice(None) if sizes[which] == count else np.flatnonzero(group == which)
        digits = _Digits(value[rows], width, plus=which > _PLUS)
        code, result, emergency = _alike(digits, plan, region, beside.of(rows), extensions)
        found.code[rows], found.value[rows], found.emergency[rows] = code, result, emergency
        found.given[rows] = (digits.value == result) & (digits.value >= _POWERS[width - 1])
    return found


@dataclass(frozen=True, slots=True)
class _Digits:
    """Numbers of one length, with `+` or without."""

    value: Ints
    width: int
    plus: bool

    def starts(self, prefix: str) -> Bools:
        """Where a number starts with `prefix` and has more digits behind it."""
        if not prefix or self.plus or self.width <= len(prefix):
            return np.zeros(len(self.value), dtype=np.bool_)
        return np.asarray(self.value // _POWERS[self.width - len(prefix)] == int(prefix), dtype=np.bool_)


def _alike(
    digits: _Digits, plan: NumberPlan, region: str, beside: _Beside, extensions: tuple[int, int] | None
) -> tuple[Codes, Ints, Bools]:
    """What numbers of one length are."""
    value, width = digits.value, digits.width
    none = np.zeros(len(value), dtype=np.bool_)

    def is_nature(name: str) -> Bools:
        if beside.nature is None:
            return ~none if plan.bare == name else none
        own = np.asarray(beside.nature == NATURES.index(name), dtype=np.bool_)
        return own | (beside.nature == NATURES.index("plan")) if plan.bare == name else own

    # (1), (2)
    emergency = np.isin(value, _EMERGENCY) if width == 3 and not digits.plus else none
    announced = digits.starts(plan.international)
    trunk = digits.starts(plan.national) & ~announced
    told = none
    if beside.nature is not None:
        # A number told to be international has no trunk prefix, whatever digit it starts with.
        told = np.asarray(beside.nature == NATURES.index("international"), dtype=np.bool_)
        trunk &= ~told
        if not plan.international.startswith("0"):
            announced &= ~told
    bare = none if digits.plus else ~announced & ~trunk
    # (4), (5)
    code, result = np.full(len(value), UNKNOWN, dtype=np.int8), np.zeros(len(value), dtype=np.int64)
    for rows in _some(announced):
        code[rows], result[rows] = _behind(_international, value[rows], width - len(plan.international))
    for rows in _some(~none if digits.plus else bare & is_nature("international")):
        kinds, whole = _international(value[rows], width)
        if width < _LEAST_BARE and not digits.plus:
            # Only the plan's word makes such a number international: seven digits are more likely a local one.
            kinds[(kinds == E164) & ~told[rows]] = UNKNOWN
        code[rows], result[rows] = kinds, whole

    def national(value: Ints, width: int) -> tuple[Codes, Ints]:
        return _national(plan.country, value, width)

    for rows in _some(trunk):
        code[rows], result[rows] = _behind(national, value[rows], width - len(plan.national))
    for rows in _some(bare & is_nature("national")):
        code[rows], result[rows] = national(value[rows], width)
    for rows in _some(bare & is_nature("subscriber")):
        code[rows], result[rows] = _local(plan, value[rows], width, beside.of(rows).area)
    short = emergency
    if region == "NL" and not digits.plus:
        short = short | _is_dutch_short(value, width)
    for rows in _some(short):
        code[rows], result[rows] = SHORT, value[rows]
    if extensions is not None and not digits.plus and extensions[0] <= width <= extensions[1]:
        code[bare & ~emergency] = EXTENSION
    # +31112 names the emergency number as a network does that routes by E.164.
    return code, result, emergency | ((code == SHORT) & (result == 112))


def _where(mask: pl.Series) -> Bools:
    return np.asarray(mask.fill_null(False).to_numpy(), dtype=np.bool_)


def _some(mask: Bools) -> tuple[Rows, ...]:
    """The rows of `mask`, once; nothing where there is none."""
    count = int(np.count_nonzero(mask))
    if not count:
        return ()
    return (slice(None) if count == len(mask) else np.flatnonzero(mask),)


def _behind(rule: Callable[[Ints, int], tuple[Codes, Ints]], value: Ints, width: int) -> tuple[Codes, Ints]:
    """What `rule` says of the last `width` digits."""
    return rule(value % _POWERS[width], width)


def _is_dutch_short(value: Ints, width: int) -> Bools:
    """Short numbers of the Dutch plan: 112, 116xxx, 12xx of networks, 14 and a municipality (144 too), 18xx(x)."""
    short = np.zeros(len(value), dtype=np.bool_)
    if not 3 <= width <= 6:
        return short
    head = _head(value, width, 2)
    short |= head == 14
    if width == 3:
        short |= value == 112
    elif width == 6:
        short |= value // 1000 == 116
    else:
        short |= head == 18
    if width == 4:
        short |= np.isin(value, (1200, 1233))
    return short


def _head(value: Ints, width: int, digits: int) -> Ints:
    """The first `digits` digits; the whole number where it is shorter."""
    return np.asarray(value // _POWERS[max(width - digits, 0)], dtype=np.int64)


def _international(value: Ints, width: int) -> tuple[Codes, Ints]:
    """Digits behind an international prefix: 7 to 15 (E.164 §6.1), the code assigned, a Dutch number of its length."""
    code, result = np.full(len(value), UNKNOWN, dtype=np.int8), np.zeros(len(value), dtype=np.int64)
    head = _head(value, width, 3)
    if 7 <= width <= 15:
        fits = ASSIGNED_HEADS[head]
        code[fits] = E164
        result = np.where(fits, value, 0)
    if width < 4:
        return code, result
    for rows in _some(head // 10 == int(_NETHERLANDS)):
        code[rows], result[rows] = _behind(_behind_31, value[rows], width - 2)
    return code, result


def _behind_31(value: Ints, width: int) -> tuple[Codes, Ints]:
    # People leave the trunk 0 in behind +31; no Dutch national number starts with one.
    trunk = value < _POWERS[9] if width == 10 else np.zeros(len(value), dtype=np.bool_)
    code, result = _dutch(value, width)
    for rows in _some(trunk):
        code[rows], result[rows] = _dutch(value[rows], 9)
    # Networks put short numbers behind +31 (+3114020): too short to be anything else.
    for rows in _some((value >= _POWERS[width - 1]) & _is_dutch_short(value, width)):
        code[rows], result[rows] = SHORT, value[rows]
    return code, result


def _national(country: str, value: Ints, width: int) -> tuple[Codes, Ints]:
    """A national significant number of `country`."""
    if country == _NETHERLANDS:
        return _dutch(value, width)
    fits = 7 <= width + len(country) <= 15
    code = np.full(len(value), E164 if fits else UNKNOWN, dtype=np.int8)
    return code, value + int(country) * _POWERS[width] if fits else np.zeros(len(value), dtype=np.int64)


def _dutch(value: Ints, width: int) -> tuple[Codes, Ints]:
    """A Dutch national significant number: 9 digits, 11 behind 97 (M2M), 0800 and 090x with 4 to 7 digits more."""
    code, result = np.full(len(value), UNKNOWN, dtype=np.int8), np.zeros(len(value), dtype=np.int64)
    if not 7 <= width <= 11:
        return code, result
    full = value >= _POWERS[width - 1]
    head = _head(value, width, 3)
    if width in (9, 11):
        fits = full & ((head // 10 == 97) == (width == 11))
        code[fits] = E164
        result = np.where(fits, value + int(_NETHERLANDS) * _POWERS[width], 0)
    if width <= 10:
        for rows in _some(full & _SERVICE_HEADS[head]):
            code[rows], result[rows] = SERVICE, value[rows]
    return code, result


def _local(plan: NumberPlan, value: Ints, width: int, area: pl.Series | None) -> tuple[Codes, Ints]:
    """A number without area code, completed with the row's area, else with the plan's."""
    codes = np.full(len(value), int(plan.area) if plan.area else 0)
    widths = np.full(len(value), len(plan.area) if plan.area else 0)
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
        shared = beside & (size == 12) & (first >= 1) & (first <= 7) & (first != 6)
        if 5 <= width <= 7 and plan.country == _NETHERLANDS:
            codes, widths = np.where(shared, own // _POWERS[width], codes), np.where(shared, 9 - width, widths)
    found, result = np.full(len(value), UNKNOWN, dtype=np.int8), np.zeros(len(value), dtype=np.int64)
    known = (widths > 0) & (widths + width <= 15) & (value >= _POWERS[width - 1])
    for own_width in np.unique(widths[known]).tolist():
        rows = np.flatnonzero(known & (widths == own_width))
        whole = codes[rows] * _POWERS[width] + value[rows]
        found[rows], result[rows] = _national(plan.country, whole, own_width + width)
    return found, result
