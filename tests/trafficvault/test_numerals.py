"""A text is a prefix and a number only where both together are that text again."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficvault import numerals

_TEXTS = (
    st.from_regex(r"\A[+ K]?[-+]?[0-9]{0,21}[ .e_]?[0-9]{0,2}\Z")
    | st.integers(0, 10**20).map(str)
    | st.text(max_size=4)
)


@given(st.lists(_TEXTS, min_size=1), st.sampled_from(("", "+", "K", "+31", "B\u00e4")))
def test_a_number_is_written_again_as_it_was(texts: list[str], prefix: str) -> None:
    """Where a number is found, prefix and number are the text; where none is, they could not be."""
    those = [prefix + text for text in texts] + texts
    found, number = numerals.numbers(pl.Series(those, dtype=pl.String), prefix)
    for text, fits, one in zip(those, found.tolist(), number.tolist(), strict=True):
        rest = text.removeprefix(prefix)
        plain = rest.isascii() and rest.isdigit() and rest == str(int(rest)) and int(rest) < 2**63
        assert fits == (plain and text.startswith(prefix))
        assert one == (int(rest) if fits else 0)


@pytest.mark.parametrize(
    ("texts", "prefix"),
    [
        (["+31612345678", "+31612345679", "1233"], "+"),
        (["K1", "K20", "K300"], "K"),
        (["1", "2"], ""),
        (["a", "b", "1"], None),
        (["7", "7"], None),
        ([None, None], None),
    ],
)
def test_the_prefix_is_that_of_most(texts: list[str | None], prefix: str | None) -> None:
    """Most texts must have it, and one text alone is no form."""
    assert numerals.prefix_of(pl.Series(texts, dtype=pl.String)) == prefix
