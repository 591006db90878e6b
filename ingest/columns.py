"""The columns of one file while the rules of its feed are carried out: fields, values so far, rejections.

`ingest.mapping` and `ingest.parties` write here, a whole column at a time. Three kinds of column stand side by side,
told apart by how a name starts: a field keeps its name, a canonical column is written as `=name`, and what is needed on
the way has a name with `~`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import and_
from typing import Final

import polars as pl

from ingest.conditions import Condition, holds
from ingest.durations import whole
from ingest.forms import wrong_word
from ingest.rules import Rule
from ingest.words import Words

_PLACE: Final = "~place"


def out(name: str) -> str:
    """The name of a canonical column while fields stand beside it."""
    return f"={name}"


class Columns:
    """The columns of one file of `shape`; `frame` grows a column at a time, `reasons` one for each kind of fault."""

    def __init__(self, fields: pl.DataFrame, shape: str | None) -> None:
        self.frame, self.shape = fields, shape
        self.names = frozenset(fields.columns)
        self.present = frozenset(one.name for one in fields if one.null_count() < len(one))
        self.reasons: list[pl.Series] = []
        self._temporary = 0
        self._words: dict[str, Words | None] = {}
        self._conditions: dict[tuple[Condition, ...], str] = {}
        self._numbers: dict[tuple[str, str], pl.Series] = {}
        self._places: dict[str, tuple[pl.Series, pl.Series]] = {}

    def words(self, name: str) -> Words | None:
        """The few words that stand in the field `name`; None where they are many."""
        if name not in self._words:
            self._words[name] = Words.of(self.frame[name])
        return self._words[name]

    def sole(self, rules: Sequence[Rule]) -> str | None:
        """The field of few words that alone decides what `rules` give, if there is one."""
        used = {name for rule in rules for name in rule.uses()} & self.present
        name = used.pop() if len(used) == 1 else None
        return name if name is not None and self.words(name) is not None else None

    def applies(self, rule: Rule) -> bool:
        """Whether `rule` is for this shape and has a field that the file has."""
        if rule.shapes and self.shape not in rule.shapes:
            return False
        return not rule.fields or any(name in self.names for name in rule.fields)

    def reject(self, wrong: pl.Expr, reason: str) -> None:
        """Notes `reason` for the rows where `wrong` holds."""
        rows = self.frame.select(wrong.fill_null(value=False).alias("wrong"))
        if rows["wrong"].any():
            self.reasons.append(rows.select(pl.when("wrong").then(pl.lit(reason))).to_series())

    def put(self, name: str, value: pl.Expr | pl.Series) -> None:
        """Writes the column `name`, over one that has it."""
        if isinstance(value, pl.Series) and len(value) == self.frame.height and name not in self.frame.columns:
            self.frame = self.frame.hstack([value.alias(name)])
        else:
            self.frame = self.frame.with_columns(value.alias(name))

    def keep(self, value: pl.Expr | pl.Series) -> str:
        """The name of a new temporary column that holds `value`."""
        self._temporary += 1
        self.put(f"~{self._temporary}", value)
        return f"~{self._temporary}"

    def holds(self, conditions: tuple[Condition, ...]) -> pl.Expr:
        """Whether all `conditions` hold, worked out once for a file."""
        if conditions not in self._conditions and len(conditions) > 1:
            each = [self.holds((condition,)) for condition in conditions]
            self._conditions[conditions] = self.keep(reduce(and_, each))
        elif conditions not in self._conditions:
            met = holds(conditions, self.names)
            used = {name for condition in conditions for name in condition.uses()} & self.names
            words = self.words(next(iter(used))) if len(used) == 1 else None
            self._conditions[conditions] = self.keep(met if words is None else words.spread(met))
        return pl.col(self._conditions[conditions])

    def where(self, text: str, value: pl.Expr) -> str:
        """As `keep`, with `value` computed for the rows that have a text alone, and once per text where that is all.

        Most rules meet few rows or all of them, and a subscriber's number stands in many rows.
        """
        read = list(dict.fromkeys(value.meta.root_names()))
        texts = self.frame[text]
        given = self.frame.height - texts.null_count()
        if not given:
            kind = self.frame.lazy().select(value).collect_schema().dtypes()[0]
            return self.keep(pl.Series([], dtype=kind).clear(self.frame.height))
        if read == [text] and self.frame.select(pl.col(text).approx_n_unique()).item() < given // 3:
            distinct = texts.unique().alias(text).to_frame()
            found = distinct.select(value).to_series()
            keys = distinct.with_row_index(_PLACE)
            place = self.frame.select(text).join(keys, on=text, how="left", nulls_equal=True, maintain_order="left")
            return self.keep(found.rechunk().gather(place[_PLACE]))
        if texts.null_count() < self.frame.height // 8:
            return self.keep(value)
        if text not in self._places:
            present = pl.col(text).is_not_null()
            spread = self.frame.select(there=present, at=pl.when(present).then(present.cum_sum() - 1))
            self._places[text] = spread["there"], spread["at"]
        there, at = self._places[text]
        return self.keep(self.frame.select(read).filter(there).select(value).to_series().rechunk().gather(at))

    def whole(self, name: str, kind: str) -> pl.Series:
        """The whole numbers of `kind` in the column `name`, worked out once for a file."""
        if (name, kind) not in self._numbers:
            self._numbers[name, kind] = whole(self.frame[name], kind)
        return self._numbers[name, kind]

    def field(self, name: str) -> pl.Expr:
        """The field `name` as text, null where the file lacks it."""
        return pl.col(name) if name in self.names else pl.lit(None, dtype=pl.String)

    def closed(self, column: str) -> None:
        """Rejects what is outside the closed list or the range of `column`."""
        wrong = wrong_word(column, pl.col(out(column)))
        if wrong is not None:
            self.reject(wrong, f"{column} is not of its form")

    def when(self, rule: Rule, value: pl.Expr) -> pl.Expr:
        """`value` where the condition of `rule` holds."""
        return pl.when(self.holds(rule.when)).then(value) if rule.when else value

    def text(self, rule: Rule) -> str:
        """The name of the column, a field or a temporary one, with the text that `rule` takes."""
        given = [name for name in rule.fields if name in self.present]
        if not given:
            return self.keep(pl.lit(None, dtype=pl.String))
        if len(given) == 1 and not (rule.nulls or rule.when or rule.pattern or rule.values):
            return given[0]
        fields = [pl.col(name) for name in given]
        if rule.nulls:
            fields = [pl.when(~field.is_in(rule.nulls)).then(field) for field in fields]
        text = fields[0] if len(fields) == 1 else pl.coalesce(fields)
        if rule.join is not None:
            joined = pl.concat_str(fields, separator=rule.join, ignore_nulls=True)
            text = pl.when(pl.any_horizontal(field.is_not_null() for field in fields)).then(joined)
        if rule.pattern is not None:
            text = text.str.extract(rule.pattern, 1)
        name = self.keep(self.when(rule, text))
        return name if rule.values is None else self._mapped(rule, rule.values, name)

    def _mapped(self, rule: Rule, values: dict[str, str], name: str) -> str:
        text = pl.col(name)
        mapped = text.replace_strict(values, default=None, return_dtype=pl.String)
        if rule.otherwise is not None:
            return self.keep(pl.when(text.is_not_null()).then(mapped.fill_null(rule.otherwise)))
        if rule.unknown == "keep":
            return self.keep(pl.coalesce(mapped, text))
        result = self.keep(mapped)
        if rule.unknown == "reject":
            self.reject(text.is_not_null() & pl.col(result).is_null(), f"unknown {rule.fields[0].replace('_', ' ')}")
        return result
