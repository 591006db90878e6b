"""Parties of whole slices, for `ingest.plan`: most are E.164 numbers, which their length and first digits prove.

All other texts of a file are few, or repeat: each is read once by `ingest.numbers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
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
_HEAD_ROWS: Final = 1024
_KNOWN: Final = 100_000
"""Texts that are remembered at most."""
_NOTHING: Final = pl.DataFrame(schema={"text": pl.String, **PARTY.to_schema()})


@dataclass(frozen=True, slots=True)
class PlannedParty:
    """The party `column` in the column `text`, by a number plan."""

    column: str
    text: str
    plan: NumberPlan
    region: str
    owner: str

    @property
    def numbered(self) -> tuple[NumberPlan, str, str]:
        """What decides how its text is read."""
        return self.plan, self.region, self.owner

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
    """What the texts of one file that are no plain numbers mean, by all that decides how they are read; it lives
    no longer than the file's reading. For many threads. Its repr shows no text.
    """

    _known: dict[tuple[NumberPlan, str, str], pl.DataFrame] = field(default_factory=dict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def of(self, texts: pl.Series, party: PlannedParty) -> pl.DataFrame:
        """The parties that `texts` name, as `ingest.numbers.parties` gives them."""
        asked = texts.alias("text").to_frame()
        with self._lock:
            known = self._known.get(party.numbered, _NOTHING)
        found = asked.join(known, on="text", how="left", maintain_order="left")
        if found["withheld"].null_count():
            new = found.filter(pl.col("withheld").is_null()).select("text").unique()
            new = new.hstack(parties(new["text"], party.plan, party.region, party.owner))
            known = pl.concat([known, new])
            with self._lock:
                self._known[party.numbered] = known if known.height <= _KNOWN else _NOTHING
            found = asked.join(known, on="text", how="left", maintain_order="left")
        return found.drop("text")


def read(parties: Sequence[PlannedParty], texts: Sequence[pl.Series], odd: Odd) -> list[pl.DataFrame]:
    """Number, kind and raw text of each of `parties` in its `texts`, where it is withheld and where an emergency one.

    What is odd in several of them is read at once: a few texts take as long as many.
    """
    looked = [(party, *_looked(party, raw)) for party, raw in zip(parties, texts, strict=True)]
    found = [frame for _, frame, _ in looked]
    doubtful = [number for number, (_, _, rest) in enumerate(looked) if len(rest)]
    for _, alike in groupby(doubtful, key=lambda number: parties[number].numbered):
        those = list(alike)
        at = [pl.Series(looked[number][2], dtype=pl.UInt32) for number in those]
        joined = pl.concat([texts[number].gather(rows).alias("") for number, rows in zip(those, at, strict=True)])
        told, begin = odd.of(joined, parties[those[0]]), 0
        for number, rows in zip(those, at, strict=True):
            mine, begin = told[begin : begin + len(rows)], begin + len(rows)
            found[number] = pl.DataFrame([one.scatter(rows, mine[one.name]) for one in found[number]])
    return [
        frame.select(
            *(pl.col(part).alias(out(f"{party.column}_{part}")) for part in ("number", "kind", "raw")),
            pl.col("withheld").alias(party.withheld),
            pl.col("emergency").alias(party.emergency),
        )
        for party, frame in zip(parties, found, strict=True)
    ]


def _looked(party: PlannedParty, raw: pl.Series) -> tuple[pl.DataFrame, npt.NDArray[np.int64]]:
    """What plain numbers among `raw` come to, and where other texts are."""
    plain, plus = _plain(raw, party)
    there = raw.is_not_null()
    rest = np.flatnonzero(~plain & there.to_numpy()) if not plain.all() else np.zeros(0, np.int64)
    frame = pl.DataFrame({"raw": raw, "there": there}).rechunk()  # as `ingest.numbers` does, for `pl.format`
    number = pl.format("+{}", "raw")
    if plus is not None:
        number = pl.when(pl.lit(plus)).then("raw").otherwise(number)
    nothing = {name: pl.lit(None, dtype=dtype) for name, dtype in PARTY.to_schema().items()}
    kind = pl.lit("e164") if not raw.null_count() else pl.when("there").then(pl.lit("e164"))
    found = frame.select(
        number=number, kind=kind, raw=nothing["raw"], withheld=~pl.col("there"), emergency=pl.lit(value=False)
    )
    return found, rest


def _plain(raw: pl.Series, party: PlannedParty) -> tuple[npt.NDArray[np.bool_], pl.Series | None]:
    """Where `raw` is an E.164 number with no prefix but `+`, and where it has that; None where none has."""
    value = raw.cast(pl.UInt64, strict=False)
    number = (value.fill_null(0) if value.null_count() else value).to_numpy()
    sizes = raw.str.len_bytes()
    size = (sizes.fill_null(0) if sizes.null_count() else sizes).to_numpy()
    # Most have one length, and no sign: behind one there would be fewer digits than the length says, which no head has.
    common = int(np.bincount(np.minimum(size[size > 0][:_HEAD_ROWS], _LONGEST), minlength=1).argmax())
    plain = np.zeros(len(raw), np.bool_)
    heads = e164_heads(party.plan, party.region, common, plus=False)
    if heads is not None:
        plain = heads[np.minimum(number // np.uint64(10 ** (common - HEAD)), len(heads) - 1)]
        plain &= size == common
    rest = np.flatnonzero(~plain & (size > 0))
    if not len(rest):
        return plain, None
    signed = raw.gather(pl.Series(rest, dtype=pl.UInt32)).str.starts_with("+").to_numpy()
    group = np.minimum(size[rest], _LONGEST) + np.where(signed, _PLUS, 0)
    for which in np.unique(group).tolist():
        width = which % _PLUS - (which >= _PLUS)
        heads = e164_heads(party.plan, party.region, width, plus=which >= _PLUS)
        if heads is not None:
            rows = rest[group == which]
            plain[rows] = heads[number[rows] // np.uint64(10 ** (width - HEAD))]
    if not signed.any():
        return plain, None
    plus = np.zeros(len(raw), np.bool_)
    plus[rest] = signed
    return plain, pl.Series(plus)
