"""Times against zoneinfo: ordinary, doubled and skipped local hours, offsets, epochs, RFC 3339."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.errors import FeedError
from ingest.times import MOMENT, epoch, iso, local, precision
from tests.thorough import as_many

STAMP = "%Y-%m-%d %H:%M:%S"
ZONES = (
    "Europe/Amsterdam",
    "America/New_York",
    "Asia/Kathmandu",
    "Europe/London",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "UTC",
)
DOUBLED = "2026-10-25 02:30:00"
FIRST, SECOND = datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
ABSENT = {"utc": None, "utc_offset": None, "note": None, "ok": True, "missing": False}
WRONG = ABSENT | {"ok": False}


def moments(rule: pl.Expr, **columns: list[Any]) -> list[dict[str, Any]]:
    """The moments that `rule` makes of `columns`."""
    found = pl.DataFrame(columns, strict=False).select(rule).to_series()
    assert found.dtype == MOMENT
    return found.to_list()


def text(count: list[str | None]) -> pl.Series:
    """A text column, also where all of it is null."""
    return pl.Series(count, dtype=pl.String)


@cache
def changes(zone: str) -> tuple[datetime, ...]:
    """The UTC days on which `zone` changed its clock, 1991 to 2037."""
    info, day, found = ZoneInfo(zone), datetime(1991, 1, 1, tzinfo=UTC), []
    while day.year < 2038:
        after = day + timedelta(days=1)
        if day.astimezone(info).utcoffset() != after.astimezone(info).utcoffset():
            found.append(day)
        day = after
    return tuple(found)


def expected(clock: datetime, zone: str) -> dict[str, Any]:
    """What zoneinfo makes of a local time: the earlier instant, and whether there are two or none."""
    info = ZoneInfo(zone)
    first, second = (clock.replace(tzinfo=info, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first.astimezone(info).replace(tzinfo=None) != clock:
        return WRONG | {"missing": True}
    offset = int((clock - first.replace(tzinfo=None)).total_seconds()) // 60
    note = "ambiguous" if first != second else None
    return {"utc": first, "utc_offset": offset, "note": note, "ok": True, "missing": False}


@st.composite
def clocks(draw: st.DrawFn) -> tuple[str, list[datetime]]:
    """A zone and local times, many of them around its changes of clock."""
    zone = draw(st.sampled_from(ZONES))
    anywhere = st.datetimes(datetime(1990, 1, 2), datetime(2037, 12, 31))
    if changes(zone):
        minute = st.integers(-24 * 60, 48 * 60)
        near = st.builds(
            lambda day, shift: day.replace(tzinfo=None) + timedelta(minutes=shift),
            st.sampled_from(changes(zone)),
            minute,
        )
        hours = st.builds(lambda clock, hour: clock.replace(hour=hour), near, st.integers(0, 3))
        anywhere = st.one_of(anywhere, near, hours)
    return zone, draw(st.lists(anywhere, min_size=1, max_size=40))


@settings(max_examples=as_many(48), deadline=None)
@given(clocks())
def test_local_times_agree_with_zoneinfo(drawn: tuple[str, list[datetime]]) -> None:
    """Ordinary, doubled and skipped local times of every zone are what zoneinfo says they are."""
    zone, given_ = drawn
    whole = [clock.replace(microsecond=0) for clock in given_]
    wanted = [expected(clock, zone) for clock in whole]

    assert moments(local(pl.col("t"), STAMP, zone), t=[f"{clock:%Y-%m-%d %H:%M:%S}" for clock in whole]) == wanted
    assert moments(iso(pl.col("t"), zone), t=[clock.isoformat() for clock in whole]) == wanted


@settings(max_examples=as_many(25), deadline=None)
@given(st.lists(clocks(), min_size=1, max_size=4))
def test_a_zone_per_row_is_the_same_as_a_file_per_zone(drawn: list[tuple[str, list[datetime]]]) -> None:
    """Rows of several zones in one column are read each in its own."""
    rows = [(zone, clock.replace(microsecond=0)) for zone, several in drawn for clock in several]
    stamps = [f"{clock:%Y%m%d%H%M%S}" for _, clock in rows]
    found = moments(local(pl.col("t"), "%Y%m%d%H%M%S", pl.col("z")), t=stamps, z=[zone for zone, _ in rows])

    assert found == [expected(clock, zone) for zone, clock in rows]


def test_a_day_of_minutes_agrees_with_zoneinfo_on_the_days_of_change() -> None:
    """A long column, which is read by a table of its minutes, gives what a short one gives."""
    for start in (datetime(2026, 3, 29), datetime(2026, 10, 25)):
        clocks_ = [start + timedelta(minutes=at % 240) for at in range(1000)]
        found = moments(local(pl.col("t"), STAMP, "Europe/Amsterdam"), t=[str(clock) for clock in clocks_])

        assert found == [expected(clock, "Europe/Amsterdam") for clock in clocks_]


def test_a_zone_that_is_told_by_the_row_must_be_known() -> None:
    """A row without zone and without offset is no time; with an offset it needs no zone."""
    rule = local(pl.col("t"), STAMP, pl.col("z"), offset=pl.col("o"))
    bare, told = moments(rule, t=["2026-02-03 16:07:24"] * 2, z=[None, None], o=["", "+0100"])

    assert bare == WRONG
    assert told["utc"] == datetime(2026, 2, 3, 15, 7, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("offset", "utc", "minutes"),
    [
        ("+0100", SECOND, 60),
        ("+02:00", FIRST, 120),
        ("Z", datetime(2026, 10, 25, 2, 30, tzinfo=UTC), 0),
        ("-0330", datetime(2026, 10, 25, 6, 0, tzinfo=UTC), -210),
        ("-00:00", datetime(2026, 10, 25, 2, 30, tzinfo=UTC), None),
    ],
)
def test_an_offset_in_the_row_goes_before_the_zone(offset: str, utc: datetime, minutes: int | None) -> None:
    """A told offset decides, also in the doubled hour and against the zone."""
    (found,) = moments(local(pl.col("t"), STAMP, "Europe/Amsterdam", offset=pl.col("o")), t=[DOUBLED], o=[offset])

    assert found == {"utc": utc, "utc_offset": minutes, "note": None, "ok": True, "missing": False}


@pytest.mark.parametrize("offset", ["+01", "0100", "+1500", "+01:60", "CET"])
def test_an_offset_of_another_form_makes_the_row_wrong(offset: str) -> None:
    """An offset that can't be read is never replaced by the zone."""
    rule = local(pl.col("t"), STAMP, "Europe/Amsterdam", offset=pl.col("o"))

    assert moments(rule, t=["2026-02-03 16:07:24"], o=[offset]) == [WRONG]


def test_an_offset_makes_a_time_of_the_skipped_hour() -> None:
    """The hour that the zone skips is an instant where the row tells its offset."""
    rule = local(pl.col("t"), STAMP, "Europe/Amsterdam", offset=pl.col("o"))
    told, bare = moments(rule, t=["2026-03-29 02:30:00"] * 2, o=["+0100", None])

    assert (told["utc"], told["missing"]) == (datetime(2026, 3, 29, 1, 30, tzinfo=UTC), False)
    assert bare == WRONG | {"missing": True}


@pytest.mark.parametrize(
    ("hint", "utc", "note"),
    [
        (FIRST.timestamp(), FIRST, None),
        (SECOND.timestamp() + 3, SECOND, None),
        (FIRST.timestamp() - 1700, FIRST, None),
        (FIRST.timestamp() - 5400, FIRST, "ambiguous"),
        (None, FIRST, "ambiguous"),
        (float("nan"), FIRST, "ambiguous"),
    ],
)
def test_a_known_moment_nearby_settles_the_doubled_hour(hint: float | None, utc: datetime, note: str | None) -> None:
    """The nearer instant is taken; a moment far off settles nothing."""
    rule = local(pl.col("t"), STAMP, "Europe/Amsterdam", epoch_hint=pl.col("h"))
    (found,) = moments(rule, t=[DOUBLED], h=pl.Series([hint], dtype=pl.Float64).to_list())

    assert (found["utc"], found["note"]) == (utc, note)


def test_a_hint_never_moves_an_ordinary_hour() -> None:
    """A moment nearby settles the doubled hour and nothing else."""
    rule = local(pl.col("t"), STAMP, "Europe/Amsterdam", epoch_hint=pl.col("h"))
    (found,) = moments(rule, t=["2026-02-03 16:07:24"], h=[0])

    assert found["utc"] == datetime(2026, 2, 3, 15, 7, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("end", "seconds", "utc", "note"),
    [
        ("2026-10-25 03:30:00", 7200, FIRST, None),
        ("2026-10-25 03:30:00", 3601, SECOND, None),
        ("2026-10-25 02:31:00", 60, FIRST, "ambiguous"),
        ("2026-10-25 02:31:00", 3660, FIRST, None),
        ("2026-10-25 02:10:00", 2400, FIRST, None),
        ("2026-10-25 03:30:00", None, FIRST, "ambiguous"),
        ("2026-10-25 03:30:00", 20000, FIRST, "ambiguous"),
        ("", 7200, FIRST, "ambiguous"),
    ],
)
def test_end_and_duration_settle_the_doubled_hour(
    end: str, seconds: int | None, utc: datetime, note: str | None
) -> None:
    """The start is the instant that lies the duration before the end, where only one does."""
    duration = pl.Series([seconds], dtype=pl.Int64) * 1000
    rule = local(pl.col("t"), STAMP, "Europe/Amsterdam", pl.col("d"), end=pl.col("e"))
    (found,) = moments(rule, t=[DOUBLED], d=duration.to_list(), e=[end])

    assert (found["utc"], found["note"]) == (utc, note)


def test_a_hint_goes_before_the_duration() -> None:
    """What the id knows decides; the duration is asked only where it does not."""
    rule = local(pl.col("t"), STAMP, "Europe/Amsterdam", pl.col("d"), pl.col("h"), end=pl.col("e"))
    known, unknown = moments(
        rule, t=[DOUBLED] * 2, d=[3_600_000] * 2, e=["2026-10-25 03:30:00"] * 2, h=[FIRST.timestamp(), None]
    )

    assert (known["utc"], unknown["utc"]) == (FIRST, SECOND)


@pytest.mark.parametrize(
    "stamp",
    [
        "2026-02-30 00:00:00",
        "2025-02-29 00:00:00",
        "1900-02-29 00:00:00",
        "2026-13-01 00:00:00",
        "2026-00-01 00:00:00",
        "2026-01-00 00:00:00",
        "2026-02-03 26:00:00",
        "2026-02-03 24:00:00",
        "2026-02-03 16:60:00",
        "2026-02-03 16:07:60",
        "2026/02/03 16:07:24",
        "2026-2-3 16:07:24",
        "2026-02-03 16:07",
        "2026-02-03 16:07:24.5",
        "1899-12-31 00:00:00",
        "1926-02-03 16:07:24",
        "1970-01-01 00:00:00",
        "1989-12-31 23:59:59",
        "+026-02-03 16:07:24",
        "2026-02-03 16:0٧:4",
        "é",
    ],
)
def test_an_impossible_stamp_is_refused_never_carried_over(stamp: str) -> None:
    """Hour 26 is not two o'clock of the next day, and a re-saved stamp gets no seconds."""
    ordinary = "2026-02-03 16:07:24"
    wrong, right = moments(local(pl.col("t"), STAMP, "Europe/Amsterdam"), t=[stamp, ordinary])

    assert wrong == WRONG
    assert right["utc"] == datetime(2026, 2, 3, 15, 7, 24, tzinfo=UTC)


@pytest.mark.parametrize("rule", [local(pl.col("t"), STAMP, "UTC"), epoch(pl.col("t"), "s"), iso(pl.col("t"), "UTC")])
def test_nothing_is_no_time_and_no_fault(rule: pl.Expr) -> None:
    """An empty or missing text is an absent time."""
    assert moments(rule, t=["", None, " "]) == [ABSENT] * 3
    assert pl.DataFrame({"t": text([])}).select(rule).height == 0


@pytest.mark.parametrize(
    ("form", "stamp", "utc", "fine"),
    [
        ("%Y%m%d%H%M%S%2f", "2026020316072499", datetime(2026, 2, 3, 16, 7, 24, 990000, UTC), "cs"),
        ("%Y%m%d%H%M%S%3f", "20260203160724123", datetime(2026, 2, 3, 16, 7, 24, 123000, UTC), "ms"),
        ("%F %T%.f", "2026-02-03 16:07:24.1234567", datetime(2026, 2, 3, 16, 7, 24, 123456, UTC), "us"),
        ("%F %T%.f", "2026-02-03 16:07:24", datetime(2026, 2, 3, 16, 7, 24, tzinfo=UTC), "us"),
        ("%F %T,%f", "2026-02-03 16:07:24,000001", datetime(2026, 2, 3, 16, 7, 24, 1, UTC), "us"),
        ("%d/%m/%Y %H:%M", "03/02/2026 16:07", datetime(2026, 2, 3, 16, 7, tzinfo=UTC), "min"),
        ("%d%m%Y%H%M%S", "03022026160724", datetime(2026, 2, 3, 16, 7, 24, tzinfo=UTC), "s"),
        ("%y%m%d%H", "26020316", datetime(2026, 2, 3, 16, tzinfo=UTC), "min"),
        ("%b %d %Y %T", "FEB 03 2026 16:07:24", datetime(2026, 2, 3, 16, 7, 24, tzinfo=UTC), "s"),
        ("%%%Y-%m-%d %H", "%2026-02-03 16", datetime(2026, 2, 3, 16, tzinfo=UTC), "min"),
    ],
)
def test_a_form_is_read_by_its_words(form: str, stamp: str, utc: datetime, fine: str) -> None:
    """Each word of fixed width is read where it stands, and the form tells its precision."""
    (found,) = moments(local(pl.col("t"), form, "UTC"), t=[stamp])

    assert (found["utc"], precision(form)) == (utc, fine)


def test_a_month_of_another_language_and_a_bare_point_are_refused() -> None:
    """Only English month names are known, and a fraction has digits."""
    assert moments(local(pl.col("t"), "%b %d %Y %T", "UTC"), t=["MEI 03 2026 16:07:24"]) == [WRONG]
    rule = local(pl.col("t"), "%F %T%.f", "UTC")
    assert moments(rule, t=["2026-02-03 16:07:24.", "2026-02-03 16:07:24,5"]) == [WRONG] * 2


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ("%Y", "must all be in it"),
        ("%A %d %B %Y", "not a word of fixed width"),
        ("%Y%m%d%H%H", "stands in it twice"),
        ("%Y%m%d%2H", "not a word of fixed width"),
        ("%Y%m%d%H%", "not a word of fixed width"),
        ("%Yé%m%d%H", "must be ASCII"),
    ],
)
def test_a_form_that_is_not_of_fixed_width_is_refused(form: str, sentence: str) -> None:
    """A feed with a form that can't be read strictly does not load."""
    with pytest.raises(FeedError, match=sentence):
        local(pl.col("t"), form, "UTC")


def test_a_zone_that_does_not_exist_is_refused() -> None:
    """An unknown zone is refused when the rule is made, or when a row names it."""
    with pytest.raises(FeedError, match="not a time zone"):
        local(pl.col("t"), STAMP, "Europe/Nowhere")
    with pytest.raises(FeedError, match="not a time zone"):
        iso(pl.col("t"), "Europe/Nowhere")
    with pytest.raises(FeedError, match="not a time zone"):
        moments(local(pl.col("t"), STAMP, pl.col("z")), t=["2026-02-03 16:07:24"], z=["Europe/Nowhere"])


@settings(max_examples=as_many(25), deadline=None)
@given(st.lists(st.integers(631_152_000_000_000, 7_000_000_000_000_000), min_size=1, max_size=30))
def test_epochs_are_utc_in_each_unit(micros: list[int]) -> None:
    """Seconds, with or without decimals, milliseconds and microseconds name the same instants."""
    wanted = [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at) for at in micros]
    seconds = [at.replace(microsecond=0) for at in wanted]

    assert [row["utc"] for row in moments(epoch(pl.col("t"), "us"), t=[str(at) for at in micros])] == wanted
    decimals = [f"{at // 1_000_000}.{at % 1_000_000:06d}" for at in micros]
    assert [row["utc"] for row in moments(epoch(pl.col("t"), "s"), t=decimals)] == wanted
    assert [
        row["utc"] for row in moments(epoch(pl.col("t"), "s"), t=[str(at // 1_000_000) for at in micros])
    ] == seconds
    millis = [at.replace(microsecond=at.microsecond // 1000 * 1000) for at in wanted]
    assert [row["utc"] for row in moments(epoch(pl.col("t"), "ms"), t=[str(at // 1000) for at in micros])] == millis


@pytest.mark.parametrize("wrong", ["-1", "+5", "x", "1.", ".5", "1.5.5", "1e9", "0x10", "99999999999999", "NULL"])
def test_what_is_no_epoch_is_refused(wrong: str) -> None:
    """A sign, another base, a bare point or a year beyond 2199 is no epoch."""
    found = moments(epoch(pl.col("t"), "s"), t=[wrong, "1770131244", "1770131244.5"])

    assert found[0] == WRONG
    assert found[1] == {**ABSENT, "utc": datetime(2026, 2, 3, 15, 7, 24, tzinfo=UTC)}


def test_an_unknown_unit_is_refused() -> None:
    """Epochs count seconds, milliseconds or microseconds."""
    with pytest.raises(FeedError, match="unit must be"):
        epoch(pl.col("t"), "ns")


@settings(max_examples=as_many(25), deadline=None)
@given(
    st.lists(st.tuples(st.datetimes(datetime(1990, 1, 2), datetime(2198, 1, 1)), st.integers(-840, 840)), min_size=1)
)
def test_iso_stamps_agree_with_the_standard_library(rows: list[tuple[datetime, int]]) -> None:
    """An RFC 3339 stamp with an offset is the instant that Python's own parser makes of it."""
    stamps = []
    for clock, minutes in rows:
        sign, size = ("-" if minutes < 0 else "+"), abs(minutes)
        stamps.append(f"{clock.isoformat()}{sign}{size // 60:02d}:{size % 60:02d}")
    found = moments(iso(pl.col("t"), "UTC"), t=stamps)

    assert [row["utc"] for row in found] == [datetime.fromisoformat(stamp).astimezone(UTC) for stamp in stamps]
    assert [row["utc_offset"] for row in found] == [minutes for _, minutes in rows]


@pytest.mark.parametrize(
    ("stamp", "utc"),
    [
        ("2026-02-03T16:07:24Z", datetime(2026, 2, 3, 16, 7, 24, tzinfo=UTC)),
        ("2026-02-03t16:07:24z", datetime(2026, 2, 3, 16, 7, 24, tzinfo=UTC)),
        ("2026-02-03 16:07:24.5+0545", datetime(2026, 2, 3, 10, 22, 24, 500000, UTC)),
        ("2026-02-03T16:07:24", datetime(2026, 2, 3, 15, 7, 24, tzinfo=UTC)),
        ("2026-02-03", None),
        ("2026-02-03T16:07:24X", None),
        ("2026-02-03T16:07:24.Z", None),
        ("2026-02-03T16:07:24+25:00", None),
        ("2026-02-03T16:07:60Z", None),
        ("2026-02-03_16:07:24Z", None),
    ],
)
def test_forms_of_iso(stamp: str, utc: datetime | None) -> None:
    """RFC 3339 in its own variants, local without an offset, and nothing beside."""
    (found,) = moments(iso(pl.col("t"), "Europe/Amsterdam"), t=[stamp])

    assert (found["utc"], found["ok"]) == (utc, utc is not None)


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_an_epoch_of_nothing_is_no_time(unit: str) -> None:
    """An epoch of 0 says that it did not happen; one before 1990 is a fault, never a time."""
    first = 631_152_000 * {"s": 1, "ms": 1000, "us": 1_000_000}[unit]
    found = moments(epoch(pl.col("t"), unit), t=["0", "1", str(first - 1), str(first)])

    assert found[:3] == [ABSENT, WRONG, WRONG]
    assert found[3]["utc"] == datetime(1990, 1, 1, tzinfo=UTC)
    assert moments(epoch(pl.col("t"), "s"), t=["0.000", "0.5", "x.0"]) == [ABSENT, WRONG, WRONG]
    assert moments(iso(pl.col("t"), "UTC"), t=["1970-01-01T00:00:00Z"]) == [WRONG]
