"""A single target is looked for without joins: the same rows as by them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.record import CLASSES
from queries import matching
from queries.scope import Scope, Target, select
from tests.queries.conftest import FROM, TO, build_rows, make_target, packed
from tests.queries.test_scope_oracles import COLUMNS, A, H
from tests.thorough import as_many

ADDRESSES = st.sampled_from([None, "192.0.2.1", "192.0.2.77", "2001:db8::1"])
MORE: dict[str, st.SearchStrategy[Any]] = {
    "part": st.sampled_from([None, "only"]),
    "record_class": st.sampled_from(["telephony", "internet", "binding", "email", "mobile_usage"]),
    "a_kind": st.sampled_from([None, "e164", "uri", "extension"]),
    "b_kind": st.sampled_from([None, "e164", "uri", "extension"]),
    "public_ip": ADDRESSES.map(lambda text: text and packed(text)),
    "access_ip": ADDRESSES.map(lambda text: text and packed(text)),
    "prefix_length": st.sampled_from([None, 0, 24, 32]),
    "port_from": st.sampled_from([None, 1024]),
    "port_to": st.sampled_from([None, 2047]),
    "mail_from": st.sampled_from([None, "1", "2"]),
    "imei": st.sampled_from([None, "1", "2"]),
    "duration_ms": st.sampled_from([None, 0, 3_600_000, 10**15]),
    "utc_offset": st.sampled_from([None, 60]),
}
ROWS = st.fixed_dictionaries(COLUMNS | MORE)
KINDS = [
    *(("msisdn", A), ("extension", A), ("uri", A), ("number_range", "+31200000000..+31900000000"), ("imsi", "1")),
    *(("imei", "1"), ("email", "1"), ("cell", "2"), ("ip", "192.0.2.1"), ("prefix", "192.0.2.0/24")),
    *(("ip_port", "192.0.2.1:1500"), ("ip", "2001:db8::1"), ("iccid", "1")),
]
NEVER = Target("line", "in no row", FROM, TO)


@pytest.mark.no_cover
@settings(max_examples=as_many(50), deadline=None)
@given(st.lists(ROWS, max_size=8), st.sampled_from(KINDS), st.sampled_from([(FROM, TO), (TO, TO + H)]))
def test_same_rows_as_by_joins(rows: list[dict[str, Any]], kind: tuple[str, str], window: tuple[Any, Any]) -> None:
    """With a second target that is in no row the same rows come out, in the same roles and under the same masks."""
    frame = build_rows(*rows)
    one = make_target(*kind, *window)

    alone, beside = (
        select(frame, Scope(targets, frozenset(CLASSES), frozenset({"who"}))) for targets in [(one,), (one, NEVER)]
    )

    assert alone.equals(beside)
    assert alone.is_empty() or alone.schema == beside.schema


@pytest.mark.parametrize("kind", KINDS)
def test_hits_of_one_are_those_of_all(kind: tuple[str, str]) -> None:
    """Of a frame with no column that can hold the target no row is found, whatever its type."""
    frame = build_rows({"start": FROM}).select("record_class", "start", "source").with_row_index("_row")
    assert matching.hits_of_one(frame, make_target(*kind)).is_empty()
