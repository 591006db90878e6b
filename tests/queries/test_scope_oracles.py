"""A scope against oracles: the same rows by SQL, and containment as ipaddress sees it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address
from typing import Any

import duckdb
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from queries.scope import (
    Scope,
    Target,
    call_filter,
    calls,
    prefilter,
    select,
    targets_table,
)
from tests.thorough import as_many

A, B, C = "+31612345678", "+31201234567", "+31301234567"
FROM, TO = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)
NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)

H = timedelta(hours=1)

NUMBERS = st.sampled_from([None, A, B, C, "112"])
IDENTITIES = st.sampled_from([None, "1", "2"])
TIMES = st.sampled_from([FROM - H, FROM, NOON, TO - H, TO, TO + H])
COLUMNS = {
    "start": TIMES,
    "end": st.none() | TIMES,
    "served": st.sampled_from([None, "a", "b", "c", "none"]),
    "a_number": NUMBERS,
    "a_asserted": NUMBERS,
    "b_number": NUMBERS,
    "c_number": NUMBERS,
    "other_parties": st.none() | st.lists(st.fixed_dictionaries({"role": st.just("x"), "number": NUMBERS}), max_size=2),
    "imsi": IDENTITIES,
    "peer_imsi": IDENTITIES,
    "start_cell": IDENTITIES,
    "end_cell": IDENTITIES,
    "mail_to": st.none() | st.lists(IDENTITIES, max_size=2),
    "correlation_id": st.sampled_from([None, "k"]),
    "part": st.sampled_from([None, "only", "first", "last"]),
}
ROWS = st.fixed_dictionaries(COLUMNS)
TARGETS = st.tuples(
    st.sampled_from(
        [("msisdn", A), ("msisdn", B), ("imsi", "1"), ("cell", "2"), ("email", "1"), ("number_range", "+312..+313")]
    ),
    st.sampled_from([(FROM, TO), (TO, TO + H)]),
)

SAME_IN_SQL = """
    SELECT DISTINCT r."row", w."index" FROM records r, wanted w
    WHERE CASE w.type
        WHEN 'msisdn' THEN w.value IN (r.a_number, r.a_asserted, r.b_number, r.c_number)
            OR list_contains(list_transform(r.other_parties, lambda p: p."number"), w.value)
        WHEN 'number_range' THEN len(list_filter(
            list_concat([r.a_number, r.a_asserted, r.b_number, r.c_number],
                        list_transform(coalesce(r.other_parties, []), lambda p: p."number")),
            lambda n: len(n) = len(split_part(w.value, '..', 1))
                AND n BETWEEN split_part(w.value, '..', 1) AND split_part(w.value, '..', 2))) > 0
        WHEN 'imsi' THEN w.value IN (r.imsi, r.peer_imsi)
        WHEN 'cell' THEN w.value IN (r.start_cell, r.end_cell)
        WHEN 'email' THEN list_contains(r.mail_to, w.value) END
    AND r.start < w."end" AND greatest(coalesce(r."end", r.start), r.start) >= w.start
"""


@settings(max_examples=25, deadline=None)
@given(st.lists(ROWS, max_size=12), st.lists(TARGETS, min_size=1, max_size=3))
def test_same_rows_in_duckdb(given_rows: list[dict[str, Any]], wanted: list[Any]) -> None:
    """The same selection written in SQL finds the same rows and targets, and no filter loses one."""
    from_text = build(given_rows)
    scope = Scope(
        tuple(
            Target(type_, value.split("..")[0], start, end, upper=value.split("..")[1] if ".." in value else None)
            for (type_, value), (start, end) in wanted
        ),
        frozenset({"telephony"}),
        frozenset({"who"}),
    )
    found = select(from_text, scope)
    direct = {
        (row, target)
        for row, targets, given_roles in found.select("row", "targets", "target_roles").rows()
        for target, role in zip(targets, given_roles, strict=True)
        if role != "part"
    }
    with duckdb.connect() as connection:
        connection.register("records", from_text.to_arrow())
        connection.register("wanted", targets_table(scope))
        expected = set(connection.sql(SAME_IN_SQL).fetchall())

    assert direct == expected
    assert found["row"].is_unique().all()
    first = prefilter(scope, from_text.columns)
    read = from_text.filter(first)
    assert {row for row, _ in expected} <= set(read["row"].to_list())
    whole = from_text.filter(first | call_filter(calls(read, scope)))
    assert select(whole, scope).equals(found)
    assert_masked(from_text, found, scope)


def build(given_rows: list[dict[str, Any]]) -> pl.DataFrame:
    """A typed frame of generated rows."""
    moment, party = pl.Datetime("us", "UTC"), pl.List(pl.Struct({"role": pl.String, "number": pl.String}))
    types: dict[str, Any] = {"start": moment, "end": moment, "other_parties": party, "mail_to": pl.List(pl.String)}
    frame = pl.DataFrame(given_rows, schema={name: types.get(name, pl.String) for name in COLUMNS})
    return frame.with_row_index("row", offset=1).with_columns(source=pl.lit("s"), record_class=pl.lit("telephony"))


def assert_masked(frame: pl.DataFrame, found: pl.DataFrame, scope: Scope) -> None:
    """A place is shown only of a row that holds a target itself, or of a part without parties."""
    values = {str(target.value) for target in scope.targets if target.type == "msisdn"}
    others = {target.type for target in scope.targets} - {"msisdn"}
    if others:
        return
    for row in found.to_dicts():
        known = row["a_asserted"] or row["a_number"]
        own = {"a": known, "b": row["b_number"], "c": row["c_number"]}.get(row["served"])
        silent = not any(row[name] for name in ("a_number", "a_asserted", "b_number", "c_number", "other_parties"))
        if row["start_cell"] is not None or row["imsi"] is not None:
            assert own in values or (silent and "part" in row["target_roles"])


@settings(max_examples=as_many(35), deadline=None)
@given(
    st.integers(0, 2**128 - 1),
    st.integers(1, 128),
    st.integers(0, 2**128 - 1),
    st.integers(0, 128),
    st.integers(0, 128),
)
def test_containment_is_that_of_the_prefixes(base: int, length: int, noise: int, own: int, shared: int) -> None:
    """Two prefixes meet exactly when the shorter of them holds the other, as integers tell."""
    # The stored address shares the first `shared` bits with the target, so that both answers are met often.
    other = base ^ (noise >> shared if shared < 128 else 0)
    if any(IPv6Address(value).ipv4_mapped for value in (base, other)):
        return
    frame = pl.DataFrame(
        {
            "public_ip": [other.to_bytes(16, "big")],
            "prefix_length": [own or None],
            "start": [NOON],
            "record_class": ["voip"],
        },
        schema_overrides={"prefix_length": pl.Int32},
    )
    target = Target("prefix", base.to_bytes(16, "big"), FROM, TO, length=length)
    bits = min(length, own or 128)

    found = select(frame, Scope((target,), frozenset({"voip"}), frozenset()))

    assert found.height == int(base >> (128 - bits) == other >> (128 - bits))
