"""The plan of a file's rules: what `ingest.mapping` does column by column, done for whole slices in a few passes.

A plan is made once for a file, from the rules of its feed, and carried out for slice after slice:

1. What depends on fields of few words alone (`ingest.combinations`) was worked out by `ingest.mapping` itself, once for
   each combination of words, and is looked up.
2. What else a row holds is read at one go, as if every value were of its plain form; each step also says of which rows
   that is not proven.
3. Those rows, which are few, are given to `ingest.mapping` again, and so is a whole slice in which they are not few.

What a plan worked out holds for every file of the same feed and source: with `Learned` the next one begins with it.

So a plan decides nothing by itself: `ingest.mapping` alone names a reason, resolves a doubled hour and interprets what
is not plain. Where a feed has a rule that no plan covers, everything goes that way.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, Final

import polars as pl

from ingest import planned_parties, planned_times
from ingest.columns import out
from ingest.combinations import Combinations
from ingest.learned import Learned
from ingest.mapping import CLASS, IDENTIFIED, REASON, canonical
from ingest.planned import Draft, Unplanned, draft, word_fields
from ingest.raw import READ_NOTE, ROW

if TYPE_CHECKING:
    from ingest.feed import Feed
    from ingest.source import Source

_LEAST: Final = 8192
"""Rows for which a plan is worth making."""
_SHARE: Final = 8
"""A slice of which more than this part of the rows is not proven is read without a plan."""
_PATIENCE: Final = 2
"""After so many such slices the file is read without a plan."""
_WRONG: Final = "!wrong"


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What was worked out for the combinations of words: a draft of the rest, and the columns of each combination."""

    combinations: Combinations
    draft: Draft = field(repr=False)
    columns: pl.DataFrame = field(repr=False)
    constants: tuple[pl.Expr, ...] = field(repr=False)
    order: tuple[str, ...]
    nothing: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Mapped:
    """Canonical columns as `ingest.mapping.canonical` has them, and the names of all that the rules of the feed fill.

    A name without a column has no value in any row. Its repr shows no value.
    """

    frame: pl.DataFrame = field(repr=False)
    given: tuple[str, ...]


class Plan:
    """How the slices of one file of `source` become canonical columns, as `canonical` gives them. For many threads."""

    def __init__(
        self,
        feed: Feed,
        source: Source,
        latest: datetime | None = None,
        least: int = _LEAST,
        learned: Learned | None = None,
    ) -> None:
        """`latest` is the last moment that can be true, as `canonical` has it; fewer rows than `least` need no plan."""
        self._least = least
        self._learned = learned or Learned()
        self._feed, self._source, self._latest = feed, source, latest
        self._known: dict[tuple[str | None, frozenset[str]], Known | None] = {}
        self._odd = planned_parties.Odd()
        self._lock = Lock()
        self._patience = _PATIENCE

    def mapped(self, fields: pl.DataFrame, shape: str | None) -> Mapped:
        """What `canonical` makes of `fields`, columns without a value and the order of the others apart."""
        found = self._attempt(fields, shape) if fields.height >= self._least and self._patience > 0 else None
        if found is None:
            return self._careful(fields, shape)
        wrong = found.frame.drop_in_place(_WRONG)
        count = int(wrong.sum())
        if not count:
            return found
        if count * _SHARE > fields.height:
            self._patience -= 1
            return self._careful(fields, shape)
        rest = self._careful(fields.filter(wrong), shape)
        frame = pl.concat([found.frame.filter(~wrong), rest.frame], how="diagonal_relaxed").sort(ROW)
        return Mapped(frame, tuple(dict.fromkeys((*found.given, *rest.given))))

    def _careful(self, fields: pl.DataFrame, shape: str | None) -> Mapped:
        frame = canonical(fields, self._feed, self._source, shape, self._latest)
        return Mapped(frame, tuple(frame.columns))

    def _attempt(self, fields: pl.DataFrame, shape: str | None) -> Mapped | None:
        """The columns of `fields` and which rows are not proven; None where there is no plan for them."""
        present = frozenset(one.name for one in fields if one.null_count() < len(one))
        absent = [pl.lit(None, dtype=fields.schema[name]).alias(name) for name in fields.columns if name not in present]
        # In one piece: else Polars makes whole, with each step again, what stands in pieces beside what does not.
        fields = fields.select(name for name in fields.columns if name in present).rechunk().with_columns(absent)
        key = shape, present
        if key not in self._known:
            earlier = self._learned.of(self._form(key))
            if earlier is not None and earlier.combinations.which(fields) is not None:
                self._known[key] = earlier
            else:
                self._learn(fields, key, None)
        known = self._known[key]
        which = None if known is None else known.combinations.which(fields)
        if known is not None and which is None:
            self._learn(fields, key, known)
            known = self._known[key]
            which = None if known is None else known.combinations.which(fields)
        if known is None or which is None:
            return None
        return _carried_out(known, self._odd, fields, which)

    def _learn(self, fields: pl.DataFrame, key: tuple[str | None, frozenset[str]], lacking: Known | None) -> None:
        """Works out what the words of `fields`, and those known before, settle; `lacking` is what did not settle it.

        Nothing is left to do where another thread has learned the same meanwhile.
        """
        with self._lock:
            shape, present = key
            before = self._known.get(key)
            if before is not None and before is not lacking and before.combinations.which(fields) is not None:
                return
            try:
                words = word_fields(self._feed) & present
                combinations = Combinations.of(fields, sorted(words), before.combinations if before else None)
                earlier = self._learned.of(self._form(key))
                if earlier is not None:
                    # The words of earlier files too, unless together they are too many.
                    joined = Combinations.of(fields, sorted(words), earlier.combinations)
                    combinations = joined if joined.words.keys() == combinations.words.keys() else combinations
                once = combinations.once([name for name in fields.columns if name not in (ROW, READ_NOTE)])
                sketch = draft(self._feed, self._source, shape, present, frozenset(combinations.words), once)
                mapped = self._careful(once, shape).frame
                known = self._known[key] = _known(combinations, sketch, mapped)
                self._learned.keep(self._form(key), known)
            except Unplanned:
                self._known[key] = None

    def _form(self, key: tuple[str | None, frozenset[str]]) -> tuple[Hashable, ...]:
        """What tells the form of a file from those of other feeds and sources."""
        return self._feed.digest, self._source, *key


def _known(combinations: Combinations, sketch: Draft, mapped: pl.DataFrame) -> Known:
    """The columns of `mapped`, the combinations, that hold for their rows."""
    apart = {ROW, READ_NOTE, REASON, IDENTIFIED, *(f"extra_{name}" for name in sketch.feed.extra)}
    order = tuple(name for name in mapped.columns if name not in apart)
    own = [pl.col(name).alias(out(name)) for name in order if name not in sketch.written]
    columns = mapped.select(*own, pl.col(REASON).is_not_null().alias(_WRONG)).hstack(list(sketch.truths.values()))
    canonical_ones = {out(name) for name in order if name != CLASS}
    nothing = {one.name for one in columns if one.name in canonical_ones and one.null_count() == len(one)}
    alike = [one for one in columns if one.name not in nothing and one.n_unique() == 1]
    constants = tuple(pl.lit(one[0], dtype=one.dtype).alias(one.name) for one in alike)
    columns = columns.drop(*nothing, *(one.name for one in alike))
    return Known(combinations, sketch, columns, constants, order, frozenset(nothing))


def _carried_out(known: Known, odd: planned_parties.Odd, fields: pl.DataFrame, which: pl.Series) -> Mapped:
    """The canonical columns of `fields`, whose combinations are `which`."""
    sketch = known.draft
    looked_up = known.columns.select(pl.all().gather(which)) if known.columns.width else pl.DataFrame()
    values = (value.alias(name) for name, value in sketch.values.items())
    frame = fields.hstack(looked_up).lazy().with_columns(known.constants).with_columns(values).collect()
    wrong = [pl.col(_WRONG), *sketch.wrong, *(one.wrong for one in sketch.numbers if not one.proven(frame))]
    read = planned_parties.read(sketch.parties, [frame[party.text] for party in sketch.parties], odd)
    read += [planned_times.read(time, frame) for time in sketch.times]
    extras = sketch.extras(fields)
    lazy = frame.hstack([*(one for part in read for one in part), *extras]).lazy()
    for step in sketch.later:
        lazy = lazy.with_columns(value.alias(name) for name, value in step.items())
    named = {out(name): name for name in known.order if out(name) not in known.nothing}
    named |= {one.name: one.name[1:] for one in extras}
    found = lazy.select(
        ROW,
        READ_NOTE,
        *(pl.col(name).alias(own) for name, own in named.items() if own != CLASS),
        pl.col(out(CLASS)).alias(CLASS),
        IDENTIFIED,
        pl.any_horizontal(wrong).fill_null(value=False).alias(_WRONG),
    ).collect()
    return Mapped(found, (ROW, READ_NOTE, *known.order, *named.values()))
