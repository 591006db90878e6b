"""Values with parts: lists of texts, lists of parties, and extra columns."""

from __future__ import annotations

import json

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ingest.mapping import REASON
from ingest.nested import object_of
from tests.ingest.small_feed import feed, mapped, one


def test_lists() -> None:
    """A JSON array gives its texts, any other text a list of one, a broken array a rejection."""
    definition = feed('mail_to = { from = "one", as = "mails" }\nother_parties = { from = "two", as = "parties" }')
    good = mapped(definition, [{"one": '["A@x.org", "b@x.org"]', "two": '[{"role":"r","number":"+31612345678"}]'}])[0]

    assert good["mail_to"] == ["a@x.org", "b@x.org"]
    assert good["other_parties"] == [{"role": "r", "number": "+31612345678"}]
    assert one(definition, one="A@x.org")["mail_to"] == ["a@x.org"]
    assert one(feed('mail_to = { from = "one", as = "list" }'), one='["A", "b"]')["mail_to"] == ["A", "b"]
    for text in ('["a@x.org", 1]', '["a@x.org"', '["nobody"]', "[]", r'["\ud83d"]'):
        assert one(definition, one=text)[REASON] == "mail_to is not of its form", text
    for text in ("x", '[{"role":"r"}]', '{"role":"r","number":"1"}'):
        assert one(definition, two=text)[REASON] == "other_parties is not of its form", text


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=5))
def test_extra_is_json_that_gives_the_texts_back(values: list[tuple[str, str]]) -> None:
    """Extra columns are JSON objects of strings, whatever the fields hold."""
    frame = pl.DataFrame({"a": [a for a, _ in values], "b": [b for _, b in values]})

    found = object_of(frame, [("x", "a"), ("y", "b")])
    assert found is not None
    assert [json.loads(text) for text in found] == [{"x": a, "y": b} for a, b in values]
