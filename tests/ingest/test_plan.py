"""Plans: whole slices at one go are what the rules give column by column."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Barrier, Lock, Thread
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ingest.errors import FileRefused
from ingest.feed import SHIPPED, load_feed
from ingest.learned import KEPT, Learned
from ingest.mapping import REASON, canonical
from ingest.plan import Mapped, Plan
from ingest.planned import draft
from ingest.read import TYPES, _parse, without_content
from tests.ingest.small_feed import FIELDS, feed, source
from tests.thorough import as_many

LATEST = datetime(2026, 11, 1, tzinfo=UTC)
MVNO = load_feed(SHIPPED / "mvno_pipe.toml")
NAMES = MVNO.shapes[0].columns
PLAIN = {
    "record_type": "GP",
    "number_a": "31612345678",
    "msisdn": "31612345678",
    "imsi": "204990000000001",
    "event_timestamp": "20260203160724",
    "duration": "60",
    "download": "5",
    "utc_offset": "+0100",
    "customer_number": "K7",
    "call_id": "1",
}
ODD: dict[str, list[str | None]] = {
    "record_type": ["MO", "RMO", "MT", "SMSMT", "RGP", "XX", None],
    "number_a": [
        "Bank",
        "112",
        "+31612345678",
        "0031612345678",
        "0612345678",
        "31 6 12345678",
        "7",
        "316123456789",
        "",
    ],
    "number_b": ["31201234567", "sip:a@b.nl", "anonymous", "31112", "311612345678", None],
    "number_dialed": ["0612345678", "+1"],
    "msisdn": [None, "31687654321", "3100000000"],
    "imsi": ["20499", "204990000000001f", " 204990000000001", "+20499000000001", "000000", None],
    "event_timestamp": ["20261303160724", "20261025023000", "20260329023000", "2026020316072", "+2026020316072", None],
    "duration": ["-1", "1.5", " 7", "007", "x", "99999999999999", None],
    "download": ["9223372036854775807", "9223372036854775808", "-5"],
    "operator_code": ["FRAF1", "USACG", "GBRVF", "AAAXX", " NLDPT"],
    "utc_offset": ["-0000", "Z", "+0200", "x", " ", None],
    "tele_service": ["11"],
    "overseas": ["1", 'a"b'],
    "quantity": ["2", "x"],
    "call_id": [None, "2"],
}


def frame_of(rows: list[dict[str, str | None]], names: tuple[str, ...]) -> pl.DataFrame:
    """Fields as a reader gives them."""
    columns = {name: pl.Series([row.get(name) for row in rows], dtype=pl.String) for name in names}
    numbers = pl.Series(range(1, len(rows) + 1), dtype=pl.Int64)
    return pl.DataFrame({"row": numbers, **columns, "read_note": pl.Series([None] * len(rows), dtype=pl.String)})


def require_same(found: Mapped, wanted: pl.DataFrame) -> None:
    """Each column that has a value, of the record's type, and the same names of columns that could have one."""
    assert set(found.given) - {REASON, "!identified"} == set(wanted.columns) - {REASON, "!identified"}
    filled = [one.name for one in wanted if one.null_count() < len(one)]
    assert not [one.name for one in found.frame if one.name not in filled and one.null_count() < len(one)]
    kinds = [pl.col(name).cast(TYPES[name]) if name in TYPES else pl.col(name) for name in filled]
    assert_frame_equal(found.frame.select(kinds), wanted.select(kinds))


@pytest.mark.no_cover
@given(
    st.lists(
        st.dictionaries(st.sampled_from(sorted(ODD)), st.integers(0, 8), max_size=3),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from([0, 150]),
    st.sampled_from(["nothing", "a slice", "a file"]),
)
@settings(max_examples=as_many(40), deadline=None)
def test_a_plan_gives_what_the_rules_give(odd: list[dict[str, int]], plain: int, before: str) -> None:
    """Whatever stands in the fields, and whatever stood in those of an earlier slice or file."""
    rows: list[dict[str, str | None]] = [
        {**PLAIN, **{name: ODD[name][place % len(ODD[name])] for name, place in changed.items()}} for changed in odd
    ]
    many: list[dict[str, str | None]] = [{**PLAIN}] * plain
    fields = frame_of([*rows, *many, *rows], NAMES)
    own = source(feed="mvno_pipe")
    plan, learned = Plan(MVNO, own, LATEST, least=1), Learned()
    if before == "a slice":
        plan.mapped(frame_of([dict(PLAIN)] * 4, NAMES), "25")
    if before == "a file":
        earlier = frame_of([{**PLAIN, **odd} for odd in rows[:1] for _ in range(4)], NAMES)
        Plan(MVNO, own, LATEST, least=1, learned=learned).mapped(earlier, "25")
        plan = Plan(MVNO, own, LATEST, least=1, learned=learned)

    require_same(plan.mapped(fields, "25"), canonical(fields, MVNO, own, "25", LATEST))


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.toml")))
def test_the_examples_of_the_shipped_feeds(name: str) -> None:
    """A plan gives of every shipped feed's examples what its rules give."""
    shipped = load_feed(SHIPPED / f"{name}.toml")
    for example in shipped.examples:
        own = source(
            feed=name,
            shape=example.shape,
            zone=example.zone or "Europe/Amsterdam",
            region=example.region or "NL",
            customer=example.customer,
            record_class=example.record_class,
        )
        try:
            raw = without_content(_parse(example.raw, shipped, own), shipped)
        except FileRefused:
            assert example.refused
            continue
        if not raw.fields.height:
            continue
        fields = pl.concat([raw.fields] * 3)
        fields = fields.with_columns(pl.int_range(1, pl.len() + 1).alias("row"))
        wanted = canonical(fields, shipped, own, raw.shape, LATEST)

        require_same(Plan(shipped, own, LATEST, least=1).mapped(fields, raw.shape), wanted)


RULES: dict[str, tuple[str, dict[str, str | None]]] = {
    "text": ('subscriber = { from = ["one", "two"], nulls = ["-"] }', {"one": "-", "two": "K1"}),
    "a pattern": ("service = { from = \"one\", pattern = '^([a-z]+)-' }", {"one": "internet-1"}),
    "words of many": ('service = { from = "one", map = { a = "b" } }', {"one": "a"}),
    "a constant where a field has a word": (
        'event = { constant = "call", when = { one = ["x"] } }',
        {"one": "x"},
    ),
    "a constant where fields agree": (
        'part = [{ constant = "first", when = { one = { same = "two" } } }, { from = "three" }]',
        {"one": "x", "two": "x", "three": "next"},
    ),
    "lower case and cells": (
        'technology = { from = "one", as = "lower" }\nstart_cell = { from = "two", as = "cell" }',
        {"one": "SIP", "two": " 204-99-1A2B "},
    ),
    "milliseconds and numbers with a range": (
        'duration_ms = { from = "one", as = "milliseconds" }\nport_from = { from = "two" }',
        {"one": "1500", "two": "65536"},
    ),
    "an epoch": ('start = { from = "one", as = "epoch" }', {"one": "1770000000"}),
    "RFC 3339": ('start = { from = "one", as = "iso_time" }', {"one": "2026-02-03T16:07:24.25+01:00"}),
    "a local time of signs": (
        'start = { from = "one", as = "local_time", format = "%F %T", duration = { from = "two", as = "seconds" } }',
        {"one": "2026-02-03 16:07:24", "two": "60"},
    ),
    "a time before another": (
        'end = { from = "one", as = "epoch" }\n'
        'start = { after = "end", minus = { from = "two", as = "seconds" }, when = { three = ["x"] } }',
        {"one": "1770000000", "two": "60", "three": "x"},
    ),
    "an end before its start": (
        'start = { from = "one", as = "epoch" }\nend = { from = "two", as = "epoch" }',
        {"one": "1770000000", "two": "1770000001"},
    ),
    "a record id": ('record_id = { from = "one" }', {"one": "7"}),
    "a record id that never varies": ('record_id = { constant = "same" }\nsubscriber = { from = "two" }', {"two": "7"}),
    "a party by its nature": (
        'a = { from = "one", as = "party", nature = "two", natures = { i = "international" } }',
        {"one": "31612345678", "two": "i"},
    ),
    "a customer": ('customer = { from = "one" }\na = { from = "two", as = "party" }', {"one": "acme", "two": "1001"}),
    "an asserted party": ('a_asserted = { from = "one", as = "party" }', {"one": "0612345678"}),
    "who withholds": ('cli_withheld = { from = "one", as = "withheld" }', {"one": "anonymous"}),
    "emergency by a word": ('emergency = { from = "one" }', {"one": "yes"}),
    "texts joined": ('service = { from = ["one", "two"], join = "-" }', {"one": "a", "two": "b"}),
    "a list of parties": (
        'other_parties = { from = "one" }',
        {"one": '[{"role":"called","number":"+31612345678"}]'},
    ),
    "a party beside another": (
        'a = { from = "one", as = "party", bare = "international" }\n'
        'other_parties = { role = "presented", from = "two", as = "party", unlike = "a_number" }',
        {"one": "31612345678", "two": "31612345678"},
    ),
    "a number that is never asked for": (
        'count = { from = "one", when = { two = ["x"] } }\nsubscriber = { from = "three" }',
        {"one": "5", "two": "y", "three": "K7"},
    ),
    "a clock": (
        'start = { from = "one", as = "epoch" }\nend = { after = "start", plus = { from = "two", as = '
        '"duration_hhmmss" } }',
        {"one": "1770000000", "two": "000100"},
    ),
    "the end of a time that is never told": (
        'start = { from = "time", as = "epoch" }\nend = { after = "start", plus = { from = "two", as = "seconds" } }',
        {"one": "x", "two": "60"},
    ),
    "times read in two ways": (
        'start = [{ from = "one", as = "epoch" }, { from = "two", as = "iso_time" }]',
        {"two": "2026-02-03T16:07:24Z"},
    ),
    "an address": ('public_ip = { from = "one" }', {"one": "203.0.113.7"}),
    "a text kept for its form": ('access_ip = { from = "one", invalid = "extra" }', {"one": "203.0.113.300"}),
}
IDENTITY = '[identity]\nfields = ["three", "two"]\noptional = ["two"]\n[extra]\nhow_much = ["three"]'


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("more", ["", IDENTITY])
@pytest.mark.parametrize("places", [(), FIELDS])
def test_rules_of_every_kind(name: str, more: str, places: tuple[str, ...]) -> None:
    """A rule that a plan covers, and one that it does not, give the same, with what is odd among what is plain."""
    rule, values = RULES[name]
    definition = feed(rule, more)
    odd: list[dict[str, str | None]] = [{**values, field: text} for field in places for text in (None, " ", "z9")]
    fields = frame_of([*odd, *[values] * 120], definition.fields())

    require_same(
        Plan(definition, source(), LATEST, least=1).mapped(fields, "all"),
        canonical(fields, definition, source(), "all", LATEST),
    )


MANY: tuple[str, ...] = (
    'service = { from = "two", map = { w1 = "a" }, unknown = "empty" }',
    'event = [{ constant = "call", when = { two = ["w1"] } }, { from = "one" }]',
    'a = [{ from = "one", as = "party", when = { two = ["w1"] } }, { from = "one", as = "party" }]',
    'start = { from = "three", as = "local_time", format = "%F %T", offset = "two" }',
)


@pytest.mark.parametrize("rule", MANY)
def test_fields_of_many_words(rule: str) -> None:
    """A field that should have few words may have many."""
    definition = feed(rule)
    values = {"one": "31612345678", "three": "2026-02-03 16:07:24"}
    fields = frame_of([{**values, "two": f"w{number}"} for number in range(200)], definition.fields())

    require_same(
        Plan(definition, source(), LATEST, least=1).mapped(fields, "all"),
        canonical(fields, definition, source(), "all", LATEST),
    )


def test_words_that_become_many() -> None:
    """A field whose words were few in a slice may have many in the next."""
    definition = feed('service = { from = "two", map = { w1 = "a" }, unknown = "keep" }\nsubscriber = { from = "one" }')
    plan = Plan(definition, source(), LATEST, least=1)

    for words in (2, 10, 70, 100):
        rows: list[dict[str, str | None]] = [{"one": str(number), "two": f"w{number % words}"} for number in range(150)]
        fields = frame_of(rows, definition.fields())
        require_same(plan.mapped(fields, "all"), canonical(fields, definition, source(), "all", LATEST))


def test_what_a_file_taught_is_not_learned_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a known form begins with the words of earlier ones, as long as together they are few, and are not
    forgotten.
    """
    definition = feed('service = { from = "two", map = { w1 = "a" }, unknown = "keep" }\nsubscriber = { from = "one" }')
    learned, drafts = Learned(), list[int]()

    def drawn(*given: Any) -> Any:
        drafts.append(1)
        return draft(*given)

    def after(words: range, of: str = "test") -> int:
        """How much was learned once a file with those words, of that source, was read."""
        rows: list[dict[str, str | None]] = [{"one": str(number), "two": f"w{number}"} for number in words]
        fields, own = frame_of(rows, definition.fields()), source(name=of)
        plan = Plan(definition, own, LATEST, least=1, learned=learned)
        require_same(plan.mapped(fields, "all"), canonical(fields, definition, own, "all", LATEST))
        return len(drafts)

    monkeypatch.setattr("ingest.plan.draft", drawn)

    assert [after(words) for words in (range(9), range(5), range(20, 29), range(25))] == [1, 1, 2, 3]
    assert [after(words) for words in (range(29), range(30, 80), range(30, 80), range(29))] == [3, 4, 4, 5]
    assert [after(range(29), of) for of in ("test", "other")] == [5, 6]
    assert [after(range(29), str(number)) for number in range(KEPT)][-1] == 6 + KEPT
    assert after(range(29)) == 7 + KEPT
    learned.forget()
    assert after(range(29)) == 8 + KEPT


def test_too_many_odd_rows() -> None:
    """Slices of which much is odd are read without a plan, from the third on without a try."""
    own = source(feed="mvno_pipe")
    plan = Plan(MVNO, own, LATEST, least=1)
    fields = frame_of([{**PLAIN, "imsi": "20499"}, dict(PLAIN)] * 4, NAMES)
    wanted = canonical(fields, MVNO, own, "25", LATEST)

    for _ in range(3):
        require_same(plan.mapped(fields, "25"), wanted)


def test_many_threads() -> None:
    """Threads that carry out one plan learn words and texts from each other's slices, and each gets its own rows."""
    own = source(feed="mvno_pipe")
    plan = Plan(MVNO, own, LATEST, least=1)
    slices = [
        frame_of([{**PLAIN, "number_a": text, "record_type": kind, "call_id": f"{kind}{text}"}] * 50, NAMES)
        for text in ("Bank", "112", "31612345678")
        for kind in ("MT", "MO", "SMSMT")
    ]
    found: dict[int, Mapped] = {}

    def work(first: int) -> None:
        for place in range(first, len(slices), 2):
            found[place] = plan.mapped(slices[place], "25")

    threads = [Thread(target=work, args=(first,)) for first in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    for place, fields in enumerate(slices):
        require_same(found[place], canonical(fields, MVNO, own, "25", LATEST))


def test_what_another_thread_learned_is_not_learned_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads that come with the same words at the same time learn them once."""
    plan = Plan(MVNO, source(feed="mvno_pipe"), LATEST, least=1)
    fields = frame_of([{**PLAIN}] * 50, NAMES)
    both, lock, drafts = Barrier(2, timeout=60), Lock(), list[int]()

    class Gate:
        """The plan's lock, at which the two meet."""

        def __enter__(self) -> None:
            both.wait()
            lock.acquire()

        def __exit__(self, *error: object) -> None:
            lock.release()

    def drawn(*given: Any) -> Any:
        drafts.append(1)
        return draft(*given)

    monkeypatch.setattr(plan, "_lock", Gate())
    monkeypatch.setattr("ingest.plan.draft", drawn)
    threads = [Thread(target=plan.mapped, args=(fields, "25")) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(drafts) == 1
    require_same(plan.mapped(fields, "25"), canonical(fields, MVNO, source(feed="mvno_pipe"), "25", LATEST))


def test_nothing_of_a_row_is_shown() -> None:
    """Printing a plan or what it gave shows no value."""
    plan = Plan(MVNO, source(feed="mvno_pipe"), LATEST, least=1)
    found = plan.mapped(frame_of([{**PLAIN, "number_a": "Bank", "record_type": "MT"}] * 9, NAMES), "25")

    assert not [
        text for text in ("Bank", "31612345678", "GP") if text in repr([found, plan, plan._odd, *plan._known.values()])
    ]
