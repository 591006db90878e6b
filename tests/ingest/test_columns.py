"""Where a value comes from: fields, joins, patterns, maps and conditions."""

from __future__ import annotations

import pytest

from ingest.mapping import REASON
from tests.ingest.small_feed import feed, mapped, one


def test_first_field_with_a_value_counts() -> None:
    """Of several fields the first that is not empty gives the value."""
    definition = feed('user_name = { from = ["one", "two"] }')

    assert one(definition, one=None, two="b")["user_name"] == "b"
    assert one(definition, one="a", two="b")["user_name"] == "a"


def test_first_rule_with_a_value_counts() -> None:
    """Of several rules the first that applies and gives a value counts."""
    definition = feed('service = [{ from = "one", when = { two = "x" } }, { constant = "other" }]')

    assert one(definition, one="a", two="x")["service"] == "a"
    assert one(definition, one="a", two="y")["service"] == "other"
    assert one(definition, one=None, two="x")["service"] == "other"


def test_later_rules_are_not_asked() -> None:
    """What a later rule would refuse is no fault where an earlier one gave the value."""
    definition = feed('bytes_up = [{ from = "one" }, { from = "two" }]')

    assert (one(definition, one="1", two="x")["bytes_up"], one(definition, one="1", two="x")[REASON]) == (1, None)
    assert one(definition, two="x")[REASON] == "bytes_up is not of its form"


def test_many_rows_of_few_numbers_are_as_one() -> None:
    """A number that stands in many rows is worked out once, and is the same as alone."""
    definition = feed('a = { from = "one", as = "party" }')
    rows: list[dict[str, str | None]] = [{"one": "0612345678"}, {"one": None}, {"one": "anonymous"}] * 20

    found = [(row["a_number"], row["cli_withheld"]) for row in mapped(definition, rows)]
    assert found == [("+31612345678", None), (None, True), (None, True)] * 20


def test_join_leaves_empty_fields_out() -> None:
    """Joined fields are those that have a value; none gives none."""
    definition = feed('line = { from = ["one", "two", "three"], join = "/" }')

    assert one(definition, one="a", three="c")["line"] == "a/c"
    assert one(definition)["line"] is None


def test_pattern_takes_its_group_or_nothing() -> None:
    """A pattern that does not match gives no value and no rejection."""
    definition = feed("line = { from = 'one', pattern = '^L([0-9]+)$' }")

    assert one(definition, one="L12")["line"] == "12"
    assert one(definition, one="X12")["line"] is None
    assert one(definition, one="X12")[REASON] is None


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("", "z", None),
        (', unknown = "empty"', None, None),
        (', unknown = "reject"', None, "unknown one"),
        (', otherwise = "rest"', "rest", None),
    ],
    ids=["kept as it is", "left empty", "rejected", "replaced"],
)
def test_words_that_a_map_lacks(key: str, value: str | None, reason: str | None) -> None:
    """What a map does not know is treated as the rule says; an empty field is never unknown."""
    definition = feed('event = { from = "one", map = { x = "call" }' + key + " }")

    assert one(definition, one="x")["event"] == "call"
    found = one(definition, one="z")
    assert (found["event"], found[REASON]) == (value, reason)
    assert (one(definition)["event"], one(definition)[REASON]) == (None, None)


def test_nulls_of_a_rule() -> None:
    """A word for unknown is no value."""
    definition = feed('start = { from = "time", as = "epoch", nulls = ["0", "N/A"] }')

    assert one(definition, time="0")["start"] is None
    assert one(definition, time="N/A")[REASON] is None


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ('"x"', [True, False, False]),
        ('["x", "y"]', [True, True, False]),
        ('""', [False, False, True]),
        ('{ not = "x" }', [False, True, True]),
        ('{ pattern = "^[xz]" }', [True, False, False]),
        ("{ empty = true }", [False, False, True]),
        ("{ empty = false }", [True, True, False]),
        ('{ same = "two" }', [True, False, False]),
        ('{ differs = "two" }', [False, True, True]),
    ],
)
def test_conditions(condition: str, met: list[bool]) -> None:
    """A condition holds of one of the values, of none, of a match, of an empty field, of an equal or another one."""
    definition = feed('service = { from = "three", when = { one = ' + condition + " } }")
    rows: list[dict[str, str | None]] = [{"one": "x"}, {"one": "y"}, {}]

    found = mapped(definition, [{**row, "two": "x", "three": "v"} for row in rows])
    assert [row["service"] == "v" for row in found] == met
