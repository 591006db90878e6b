"""Fields of few words: what is worked out once per word is what every row would say."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ingest.words import Words, by_word

TEXTS = st.lists(st.none() | st.sampled_from(["", " ", "GP", "+0100", "é"]), max_size=40)


@given(TEXTS)
def test_spread_is_the_same_as_row_by_row(texts: list[str | None]) -> None:
    """A value worked out once per word and spread is the value of each row, of an empty field too."""
    column = pl.Series("one", texts, dtype=pl.String)
    words = Words.of(column)
    assert words is not None

    for value in (pl.col("one").str.len_bytes(), pl.col("one").is_null(), pl.col("one") == "GP"):
        assert words.spread(value).to_list() == column.to_frame().select(value).to_series().to_list()


@given(TEXTS, st.booleans())
def test_by_word_is_the_same_as_row_by_row(texts: list[str | None], many: bool) -> None:
    """A rule by word gives what it gives row by row, of few words and of many."""
    column = pl.Series("one", texts + [str(number) for number in range(300 * many)], dtype=pl.String)

    def first(text: pl.Expr) -> pl.Expr:
        return text.str.slice(0, 1).fill_null("none")

    found = column.to_frame().select(by_word(pl.col("one"), first, pl.String()))
    assert found.to_series().to_list() == column.to_frame().select(first(pl.col("one"))).to_series().to_list()


def test_words_that_come_late_are_among_them() -> None:
    """A word that the first rows lack, and an empty field behind them, have their place too."""
    column = pl.Series("one", ["first"] * 5000 + ["second", None])
    words = Words.of(column)
    assert words is not None

    assert words.spread(pl.col("one")).to_list() == column.to_list()


def test_many_words_are_not_few() -> None:
    """A field of many words is none of few, where they start at once and where they come late."""
    many = [str(number) for number in range(3000)]

    assert Words.of(pl.Series("one", many)) is None
    assert Words.of(pl.Series("one", ["same"] * 5000 + many)) is None
