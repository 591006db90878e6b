"""What is looked up in block files, and which rows of their sections may hold it.

`wanted` turns targets into what is looked up. Identifiers are found by the order of rows and by posting lists, in the
sections of `who`; cells by a list of their own, in those of `where`, and where that list does not open the `where`
sections of every block are looked into, which are short. A row that holds a target with its port, and that by its own
times may lie in a window, is a match; the sections of other categories are opened for matches alone. What is left out
here, no question would have been given.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt

from ingest.record import BY_NAME, WHERE, WHO
from queries.scope import Target
from trafficvault import block_cells, postings, prefixes
from trafficvault.block_decoding import Sections
from trafficvault.block_form import CELL_COLUMNS, FIRST_KEY_BYTES, Whole

Mask = npt.NDArray[np.bool_]

FAMILY_OF_TYPE = {
    **dict.fromkeys(("msisdn", "extension", "uri"), "number"),
    **dict.fromkeys(("ip", "ip_port"), "ip"),
    **{name: name for name in ("imsi", "imei", "iccid", "line", "user", "session", "mac", "email")},
}
"""The types of target that posting lists answer, and the family they are posted in."""
MOMENTS = ("start", "end", "reported_at")
"""The columns by which a row is held against a window."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT = timedelta(microseconds=1)
_DAY = timedelta(days=1) // _INSTANT
_NEVER = np.iinfo(np.int64)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked up: texts by family, addresses, or cells, and the columns in which they may be found."""

    texts: Mapping[str, frozenset[str]] = field(repr=False)
    addresses: frozenset[bytes] = field(repr=False)
    columns: frozenset[str]
    keys: Mapping[str, frozenset[bytes]] = field(repr=False)
    """The texts by family, as a block's first key would hold them."""
    _hashes: list[int] = field(repr=False)
    _address_hashes: dict[int, list[int]] = field(repr=False)
    """By prefix length, filled as files need them."""
    ports: Mapping[bytes, frozenset[int]] = field(default_factory=dict, repr=False)
    """Of those addresses of which only some ports are looked for."""
    cells: frozenset[str] = field(default=frozenset(), repr=False)
    """Where these are looked for, nothing else is."""
    window: tuple[int, int] | None = None
    """From the first moment of all windows to before their end, in microseconds; without one, rows of any time."""

    @classmethod
    def of(
        cls,
        texts: Mapping[str, frozenset[str]],
        addresses: frozenset[bytes],
        columns: Iterable[str],
        ports: Mapping[bytes, frozenset[int]] | None = None,
        window: tuple[int, int] | None = None,
    ) -> Wanted:
        """With the hashes that all files share."""
        hashed = [postings.hash_of(family, text) for family, values in texts.items() for text in values]
        keys = {
            family: frozenset(text.encode()[:FIRST_KEY_BYTES] for text in values) for family, values in texts.items()
        }
        return cls(texts, addresses, frozenset(columns), keys, hashed, {}, ports or {}, window=window)

    @property
    def category(self) -> str:
        """The category whose sections tell which rows match: that of cells, as far as there are columns of them."""
        return WHERE if self.cells and not self.columns.isdisjoint(CELL_COLUMNS) else WHO

    def divides(self, days: Sequence[date]) -> bool:
        """Whether the window ends within most of those days, so that some of their records lie outside."""
        if self.window is None:
            return False
        begins = [(datetime(day.year, day.month, day.day, tzinfo=UTC) - _EPOCH) // _INSTANT for day in days]
        first, behind = self.window
        return 2 * sum(begin < first or begin + _DAY > behind for begin in begins) > len(days)

    def cell_hashes(self) -> list[int]:
        """The 64-bit hashes to look for in the list of cells of a file."""
        return block_cells.hashes_of(self.cells, self.window)

    def hashes(self, lengths: Iterable[int]) -> list[int]:
        """The 64-bit hashes to look for in a file whose addresses have these prefix lengths."""
        found = list(self._hashes)
        if self.addresses:
            for bits in lengths:
                if bits not in self._address_hashes:
                    self._address_hashes[bits] = _hashes_of(self.addresses, bits)
                found += self._address_hashes[bits]
        return found


def wanted(targets: Iterable[Target], columns: Collection[str]) -> Wanted | None:
    """What finds every row of `columns` that holds a target; None when only a scan does: one of another type, a cell
    beside other targets, and a cell where no column is of `who`, without whose key no block opens.
    """
    sought = tuple(targets)
    window = _hull(sought)
    if sought and all(target.type == "cell" for target in sought):
        if not any(name in BY_NAME and BY_NAME[name].category == WHO for name in columns):
            return None
        cells = frozenset(str(target.value) for target in sought)
        return Wanted({}, frozenset(), frozenset(columns), {}, [], {}, cells=cells, window=window)
    texts: dict[str, set[str]] = {}
    ports: dict[bytes, set[int | None]] = {}
    for target in sought:
        family = FAMILY_OF_TYPE.get(target.type)
        if family is None:
            return None
        if family == "ip":
            ports.setdefault(target.address, set()).add(target.port)
        else:
            texts.setdefault(family, set()).add(str(target.value))
    frozen = {family: frozenset(values) for family, values in texts.items()}
    only = {address: frozenset(filter(None, several)) for address, several in ports.items() if None not in several}
    return Wanted.of(frozen, frozenset(ports), columns, only, window)


def calls(ids: Iterable[str]) -> Wanted:
    """What finds every row with one of these correlation ids."""
    return Wanted.of({"correlation": frozenset(ids)}, frozenset(), ("correlation_id",))


def holding(sections: Sections, wanted: Wanted) -> Mask:
    """Which rows of the sections of `wanted.category` may hold what is wanted."""
    found = np.zeros(int(sections.rows.sum()), np.bool_)
    if wanted.cells:
        for column in CELL_COLUMNS:
            if column in wanted.columns and not sections.is_absent(column):
                found |= sections.holds(column, wanted.cells)
        return found
    for column, family in postings.FAMILY_OF.items():
        if column not in wanted.columns or sections.is_absent(column):
            continue
        if family in wanted.texts:
            found |= sections.holds(column, wanted.texts[family])
        if family == "ip":
            length = "prefix_length" if column == "public_ip" and "prefix_length" in wanted.columns else None
            for address in wanted.addresses:
                ports = wanted.ports.get(address)
                if ports is None:
                    found |= sections.reaches(column, length, address)
                elif column == "public_ip":
                    # A port is one of the public address; of no other a record tells any.
                    found |= _with_ports(sections, sections.reaches(column, length, address), ports)
    return found


def inside(when: Sections, section: Whole, row: Whole, wanted: Wanted) -> Mask:
    """Which of those rows may lie in the window, by their own times: one that tells no end may, however it began."""
    found = np.ones(len(row), np.bool_)
    first, behind = wanted.window or (_NEVER.min, _NEVER.max)
    begin, known = np.zeros(len(row), np.int64), np.zeros(len(row), np.bool_)
    for column in MOMENTS:
        if column in wanted.columns:
            moment, there = when.numbers(column, section, row)
            begin = np.where(there & ~known, moment, begin)
            known |= there
            if column == "end":
                # A record that ends before it starts is one moment, and that is its start.
                found &= ~there | (moment >= first) | (begin >= first)
    return found & (~known | (begin < behind))


def _with_ports(who: Sections, here: Mask, ports: frozenset[int]) -> Mask:
    """Those of the rows `here` that hold one of `ports`: one port alone is a block of one, and none is all of them."""
    at = np.flatnonzero(here)
    section, row = who.of(at)
    (low, has_low), (high, has_high) = (who.numbers(name, section, row) for name in ("port_from", "port_to"))
    low, high = np.where(has_low, low, high), np.where(has_high, high, low)
    least, most = np.minimum(low, high), np.maximum(low, high)
    fits = ~(has_low | has_high)
    for port in ports:
        fits |= (least <= port) & (most >= port)
    found = np.zeros(len(here), np.bool_)
    found[at[fits]] = True
    return found


def _hull(targets: Iterable[Target]) -> tuple[int, int] | None:
    """From the begin of the first window to the end of the last."""
    windows = [(target.start, target.end) for target in targets]
    if not windows:
        return None
    first, behind = min(start for start, _ in windows), max(end for _, end in windows)
    return (first - _EPOCH) // _INSTANT, (behind - _EPOCH) // _INSTANT


def _hashes_of(addresses: Iterable[bytes], bits: int) -> list[int]:
    high, low = np.frombuffer(b"".join(addresses), ">u8").astype(np.uint64).reshape(-1, 2).T
    counted = np.full(len(high), bits, np.int64)
    first, second = prefixes.masks(counted)
    found: list[int] = postings.address_hashes(high & first, low & second, counted).tolist()
    return found
