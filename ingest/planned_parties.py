"""Parties of whole slices, for `ingest.plan`: most are E.164 numbers, which their length and first digits prove.

All other texts of a file are few, or repeat: each is read once by `ingest.numbers`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from ingest.columns import out
from ingest.numbering import HEAD, e164_heads
from ingest.numbers import PARTY, parties
from ingest.source import NumberPlan

_PLUS: Final = 32
"""What a leading `+` adds to the length, to tell the groups of numbers apart."""
_LONGEST: Final = 31
_KNOWN: Final = 100_000
"""Texts that are remembered at most."""


@dataclass(frozen=True, slots=True)
class PlannedParty:
    """The party `column` in the column `text`, by a number plan."""

    column: str
    text: str
    plan: NumberPlan
    region: str
    owner: str

    @property
    def withheld(self) -> str:
        """The column that tells where its number was withheld, or there is no text."""
        return f"~{self.column}.withheld"

    @property
    def emergency(self) -> str:
        """The column that tells where it is an emergency number."""
        return f"~{self.column}.emergency"


@dataclass(slots=True)
class Odd:
    """What the texts of one file that are no plain numbers mean, by number plan; it lives no longer than the file's
    reading. For many threads. Its repr shows no text.
    """

    _known: dict[NumberPlan, pl.DataFrame] = field(default_factory=dict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def of(self, texts: pl.Series, party: PlannedParty) -> pl.DataFrame:
        """The parties that `texts` name, as `ingest.numbers.parties` gives them."""
        asked = texts.alias("text").to_frame()
        with self._lock:
            known = self._known.get(party.plan)
            words = texts.alias("text").unique().to_frame()
            new = words if known is None else words.join(known, on="text", how="anti")
            if new.height:
                read = new.hstack(parties(new["text"], party.plan, party.region, party.owner))
                known = read if known is None or known.height > _KNOWN else pl.concat([known, read])
                if words.height > new.height and known is read:
                    known = words.hstack(parties(words["text"], party.plan, party.region, party.owner))
                self._known[party.plan] = known
        assert known is not None  # noqa: S101  there are texts, so they were read
        return asked.join(known, on="text", how="left", maintain_order="left").drop("text")


def read(party: PlannedParty, raw: pl.Series, odd: Odd) -> pl.DataFrame:
    """Number, kind and raw text of `party` in the texts `raw`, where it is withheld and where an emergency number."""
    plain, plus = _plain(raw, party)
    there = raw.is_not_null()
    rest = np.flatnonzero(~plain & there.to_numpy()) if not plain.all() else np.zeros(0, np.int64)
    frame = pl.DataFrame({"raw": raw, "plus": plus, "there": there})
    number = pl.format("+{}", "raw")
    if plus.any():
        number = pl.when("plus").then("raw").otherwise(number)
    nothing = {name: pl.lit(None, dtype=dtype) for name, dtype in PARTY.to_schema().items()}
    kind = pl.lit("e164") if not raw.null_count() else pl.when("there").then(pl.lit("e164"))
    found = frame.select(
        number=number, kind=kind, raw=nothing["raw"], withheld=~pl.col("there"), emergency=pl.lit(value=False)
    )
    if len(rest):
        at = pl.Series(rest, dtype=pl.UInt32)
        told = odd.of(raw.gather(at), party)
        found = pl.DataFrame([one.scatter(at, told[one.name]) for one in found])
    return found.select(
        *(pl.col(part).alias(out(f"{party.column}_{part}")) for part in ("number", "kind", "raw")),
        pl.col("withheld").alias(party.withheld),
        pl.col("emergency").alias(party.emergency),
    )


def _plain(raw: pl.Series, party: PlannedParty) -> tuple[npt.NDArray[np.bool_], pl.Series]:
    """Where `raw` is an E.164 number with no prefix but `+`, and where it has that."""
    count = len(raw)
    value = raw.cast(pl.UInt64, strict=False)
    number = (value.fill_null(0) if value.null_count() else value).to_numpy()
    size = raw.str.len_bytes().fill_null(0).to_numpy()
    plus = raw.str.starts_with("+").fill_null(value=False)
    group = np.minimum(size, _LONGEST)
    if plus.any():
        group = group + _PLUS * plus.to_numpy()
    plain = np.zeros(count, np.bool_)
    sizes = np.bincount(group)
    for which in np.flatnonzero(sizes).tolist():
        signed = which >= _PLUS
        width = which % _PLUS - signed
        heads = e164_heads(party.plan, party.region, width, plus=signed)
        if heads is None:
            continue
        tail = np.uint64(10 ** (width - HEAD))
        if sizes[which] == count:
            return heads[number // tail], plus
        rows = np.flatnonzero(group == which)
        plain[rows] = heads[number[rows] // tail]
    return plain, plus
