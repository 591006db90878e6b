"""Strict reading of the vault's own TOML: types, bounds, and no key left unread."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficvault.errors import UsageError
from trafficvault.period import Period
from trafficvault.toml_table import Table, nearest, parse_table, require_region


def _table(text: str) -> Table:
    return parse_table(text, "some.toml")


def test_what_is_not_toml_is_refused_with_its_place() -> None:
    """The message says which file and which line."""
    with pytest.raises(UsageError, match=r"reading some\.toml: it is not TOML: .*line 2"):
        _table('a = "b"\nc = = d\n')


@given(st.text(max_size=60))
def test_any_text_is_a_table_or_refused(text: str) -> None:
    """No file makes the reader fail in another way."""
    try:
        assert isinstance(_table(text).names(), tuple)
    except UsageError as problem:
        assert "it is not TOML" in str(problem)


def test_values_are_read_by_their_types() -> None:
    """Each reader gives its type, and the default without the key."""
    table = _table(
        'a = "text"\nb = ["x", "y"]\nc = 5\nd = "2GiB"\ne = 17\nf = "P6M"\n'
        'g = { h = "i" }\nregion = "NL"\n[[k]]\nl = 1\n'
    )

    assert (table.text("a"), table.text_or("a", "z"), table.text_or("zz", "z")) == ("text", "text", "z")
    assert (table.text_or_none("a"), table.text_or_none("zz")) == ("text", None)
    assert table.one_of("a", ["text", "other"]) == "text"
    assert table.texts("b") == ("x", "y")
    assert (table.whole("c", 1, 9), table.whole_or("c", 2, 1, 9), table.whole_or("zz", 2, 1, 9)) == (5, 5, 2)
    assert (table.size_or("d", 1), table.size_or("e", 1), table.size_or("zz", 1)) == (2**31, 17, 1)
    assert (table.period("f"), table.period_or("zz", Period(days=1))) == (Period(months=6), Period(days=1))
    assert table.table("g").text("h") == "i"
    assert [item.whole("l", 0, 1) for item in table.tables("k")] == [1]
    assert table.tables("zz") == []
    assert require_region(table) == "NL"
    table.finish()


@pytest.mark.parametrize(
    ("text", "size"),
    [("0B", 0), ("10 MB", 10_000_000), ("1GB", 10**9), ("1GiB", 2**30), ("3kB", 3000), ("2KiB", 2048), ("1TiB", 2**40)],
)
def test_a_size_has_a_unit(text: str, size: int) -> None:
    """Decimal and binary units are told apart."""
    assert _table(f'a = "{text}"').size_or("a", 1) == size


@pytest.mark.parametrize(
    ("text", "read", "words"),
    [
        ("", lambda table: table.text("a"), "a is missing"),
        ("a = 1", lambda table: table.text("a"), "a must be a text"),
        ('a = "  "', lambda table: table.text("a"), "a must be a text that is not empty"),
        ('a = "x"', lambda table: table.texts("a"), "a must be a list of texts"),
        ('a = ["x", 1]', lambda table: table.texts("a"), "a must be a list of texts"),
        ('a = ["x", "x"]', lambda table: table.texts("a"), "a names the same thing twice"),
        ('a = "1"', lambda table: table.whole("a", 0, 9), "a must be a whole number"),
        ("a = true", lambda table: table.whole("a", 0, 9), "a must be a whole number"),
        ("a = 10", lambda table: table.whole("a", 0, 9), "a is 10; it must be from 0 to 9"),
        ('a = "2 GiBs"', lambda table: table.size_or("a", 1), "a must be a number of bytes"),
        ("a = -1", lambda table: table.size_or("a", 1), "a must be a number of bytes"),
        ("a = true", lambda table: table.size_or("a", 1), "a must be a number of bytes"),
        ('a = "six months"', lambda table: table.period("a"), "a: reading period 'six months'"),
        ("a = 1", lambda table: table.table("a"), "a must be a table"),
        ("a = 1", lambda table: table.tables("a"), r"a must be a list of tables: write \[\[a\]\]"),
        ('a = "telefony"', lambda table: table.one_of("a", ["telephony"]), "a is 'telefony', did you mean 'telephony'"),
        ('region = "nl"', require_region, "region is 'nl'; it must be an ISO 3166-1"),
        ('region = "ÅÄ"', require_region, "region is"),
    ],
)
def test_a_wrong_value_is_refused_in_a_sentence(text: str, read: Callable[[Table], object], words: str) -> None:
    """The sentence names file, key and what is wanted."""
    with pytest.raises(UsageError, match=rf"^reading some\.toml: {words}"):
        read(_table(text))


def test_an_unknown_key_is_refused_with_the_nearest() -> None:
    """A misspelt key is never a silent default."""
    table = _table("regoin = 1\nqqq = 2")
    assert not table.has("region")
    assert not table.has("zone")

    with pytest.raises(UsageError, match=r"unknown key 'regoin', did you mean 'region'.*unknown key 'qqq'; known are"):
        table.finish()


def test_a_misspelt_key_that_is_needed_is_told_as_that() -> None:
    """What is missing under one name and there under a similar one is named by both."""
    with pytest.raises(UsageError, match="zone is missing; is 'zoen' meant to be 'zone'"):
        _table('zoen = "UTC"').text("zone")


def test_the_nearest_of_nothing_is_nothing() -> None:
    """A list without words does not invent one."""
    assert nearest("x", []) == "; none is known here"
