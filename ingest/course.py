"""The course of a file that is read in slices: what its first rows settle, each slice by itself, what all rows decide.

A reading of a slice is that of the whole file, as far as its rows go: rows are numbered in the file, and each is read
by the shape that the first rows fit best. Which shape most rows of the file fit, whether it is of this feed at all and
whole, only `end` can say. Where it names another shape than the one read by, the file is to be read again with it.

A feed that joins lines, or whose file proves itself by totals, is read whole (`ingest.read`), and so is a file that
fits into one slice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

import polars as pl

from ingest import delimited, documents, fitting, parts
from ingest.errors import FileRefused
from ingest.learned import Learned
from ingest.lines import EMPTY_LINE
from ingest.plan import Plan
from ingest.raw import ROW, Raw
from ingest.read import Reading, carried_out, known_words, without_content
from ingest.slices import Slice
from ingest.sound import TOLERANCE
from ingest.source import Source
from ingest.totals import sequence_number

if TYPE_CHECKING:
    from ingest.feed import Feed

_HEAD: Final = 1 << 16
"""Bytes that the first guess of a file's shape looks at: a wrong guess costs a second reading, never a record."""
_MANY_LINES: Final = 1_000_000
_ROW: Final = re.compile(r"^row (\d+)")
_PLAIN_START: Final = (b"\n", b"\r")


def in_slices(feed: Feed) -> bool:
    """Whether a file of `feed` can be read in slices: each of its lines says all that it means."""
    return feed.reader in ("delimited", "documents") and feed.joining is None and feed.totals is None


@dataclass(frozen=True, slots=True)
class End:
    """What all rows of a file decide: the shape it is to be read by, None without rows; its sequence number."""

    shape: str | None
    sequence: int | None


class Course:
    """One file of `source` on its way through slices.

    `settle` is called with the slices in order until one of them settles the form; `read` from any thread, once per
    slice; `end` when all were read.
    """

    def __init__(
        self,
        feed: Feed,
        source: Source,
        arrived: datetime,
        shape: str | None = None,
        learned: Learned | None = None,
    ) -> None:
        """A file that arrived at `arrived` (aware). `shape` is what an earlier course of the file ended with, `learned`
        what earlier files taught.
        """
        self._feed, self._source, self._arrived, self._asked = feed, source, arrived, shape
        self._form: parts.Form | None = None
        self._plan = Plan(feed, source, arrived + TOLERANCE, learned=learned)
        self._tallies: dict[int, fitting.Tally | documents.Tally] = {}
        self._lines: Counter[str] = Counter()
        self._used = feed.used(source.identity)
        self.settled = feed.reader == "documents"

    def settle(self, part: Slice) -> None:
        """Looks at the first rows, if `part` has any. Raises `FileRefused` for a header that the feed does not know."""
        head = part.data if len(part.data) <= _HEAD else part.data[: part.data.rfind(b"\n", 0, _HEAD) + 1]
        feed, named = self._feed, self._source.shape
        for data in (head or part.data, part.data):
            form = parts.settle(_shielded(data, part), feed.shapes, feed.dialect, named)
            if form is not None:
                chosen = [shape for shape in form.shapes if shape.name == self._asked]
                self._form = replace(form, shape=chosen[0]) if chosen else form
                self.settled = True
                return

    def read(self, part: Slice) -> Reading:
        """What the units of `part` are; their records have no `occurrence` yet.

        Raises `FileRefused` for what refuses a file whatever its other slices hold, `FeedError` and `IngestError` as
        `ingest.read.read` does.
        """
        data = _shielded(part.data, part)
        before = part.first_row - (len(data) > len(part.data))
        try:
            raw, tally = self._parsed(data)
        except FileRefused as refused:
            raise FileRefused(_moved(str(refused), before)) from None
        self._tallies[part.number] = _in_place(tally, before)
        raw = _in_file(raw, before, shielded=len(data) > len(part.data))
        self._lines.update(units=raw.units, empty=raw.ignored.get(EMPTY_LINE, 0))
        raw = without_content(raw, self._feed)
        return carried_out(raw, data, before, self._feed, self._source, self._arrived, self._plan)

    def end(self, file_name: str) -> End:
        """What the file is. Raises `FileRefused` where it is of another form, cut, or its shape can't be told."""
        if self._lines["units"] > _MANY_LINES and 2 * self._lines["empty"] > self._lines["units"]:
            raise FileRefused("more than half of its over a million lines are empty; deliver it without them")
        tallies = [self._tallies[number] for number in sorted(self._tallies)]
        nothing = Raw(pl.DataFrame(), pl.DataFrame(), {}, 0, 0, None)
        shape: str | None = None
        if self._feed.reader == "documents":
            documents.require_form(_summed_documents(tallies))
        elif self._form is not None:
            total = _summed(tallies, [item.name for item in self._form.shapes])
            if total.rows:
                shape = fitting.decide(total, self._form.shapes, self._source.shape).name
        return End(shape, sequence_number(self._feed.sequence, self._source.sequence, nothing, file_name))

    @property
    def shape(self) -> str | None:
        """The shape that the slices are read by."""
        return None if self._form is None else self._form.shape.name

    def _parsed(self, data: bytes) -> tuple[Raw, fitting.Tally | documents.Tally]:
        feed = self._feed
        if feed.reader == "documents":
            raw, tally = documents.parse_part(data, frozenset(feed.fields()))
            return known_words(raw, feed), tally
        if self._form is None:  # nothing but empty lines so far
            return delimited.parse(data, feed.shapes, feed.dialect, self._source.shape, self._used), fitting.Tally(
                0, {}, {}, {}
            )
        return parts.parse_part(data, self._form, feed.shapes, feed.dialect, self._used)


def _shielded(data: bytes, part: Slice) -> bytes:
    """`data` with a line end before it where it is not the start of its file.

    What stands there may look as files begin: a byte-order mark, a magic number.
    """
    if part.number == 0 or data.startswith(_PLAIN_START) or (data[:1].isalnum() and data[:1] not in b"PB"):
        return data
    return b"\n" + data


def _in_file(raw: Raw, before: int, *, shielded: bool) -> Raw:
    """`raw` with its rows numbered in the file, without the line that `_shielded` put before it."""
    if not before and not shielded:
        return raw
    ignored = dict(raw.ignored)
    if shielded:
        ignored[EMPTY_LINE] -= 1
    return replace(
        raw,
        fields=raw.fields.with_columns(pl.col(ROW) + before),
        rejections=raw.rejections.with_columns(pl.col(ROW) + before),
        ignored={reason: count for reason, count in ignored.items() if count},
        units=raw.units - shielded,
    )


def _moved(sentence: str, before: int) -> str:
    """A sentence about a row of a part, as one about that row of the file."""
    return _ROW.sub(lambda found: f"row {int(found[1]) + before}", sentence)


def _in_place(tally: fitting.Tally | documents.Tally, before: int) -> fitting.Tally | documents.Tally:
    if isinstance(tally, documents.Tally):
        return replace(tally, cut=None if tally.cut is None else _moved(tally.cut, before))
    return replace(tally, cut={name: _moved(sentence, before) for name, sentence in tally.cut.items()})


def _summed(tallies: Iterable[fitting.Tally | documents.Tally], names: Iterable[str]) -> fitting.Tally:
    found = [tally for tally in tallies if isinstance(tally, fitting.Tally) and tally.fits]
    cut: Mapping[str, str] = {name: sentence for tally in found for name, sentence in tally.cut.items()}
    widths = {name: sum((Counter(tally.widths[name]) for tally in found), Counter[int]()) for name in names}
    fits = {name: sum(tally.fits[name] for tally in found) for name in names}
    return fitting.Tally(sum(tally.rows for tally in found), fits, widths, cut)


def _summed_documents(tallies: Iterable[fitting.Tally | documents.Tally]) -> documents.Tally:
    found = [tally for tally in tallies if isinstance(tally, documents.Tally)]
    bad = sum((Counter(tally.bad) for tally in found), Counter[str]())
    cuts = [tally.cut for tally in found if tally.cut is not None]
    return documents.Tally(sum(tally.rows for tally in found), bad, cuts[0] if cuts else None)
