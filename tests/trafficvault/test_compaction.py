"""Compaction, planned: what is merged, when, and never more work than the late records are worth."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficvault.compaction import (
    LATE_FILES,
    LATE_SHARE,
    Holding,
    Selection,
    Stored,
    is_settled,
    may_still_come,
    plan,
)

DAY = date(2026, 11, 10)
NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


def delivered(number: int, rows: int = 10) -> Stored:
    """A file as a batch left it."""
    return Stored(f"{number:032x}", rows, merged=False, blocks=False)


def merged(number: int, rows: int = 1000, *, blocks: bool = True) -> Stored:
    """A file that compaction made."""
    return Stored(f"{number:032x}", rows, merged=True, blocks=blocks)


def planned(*files: Stored, now: datetime = NOW) -> list[tuple[str, ...]]:
    """The files that the plan merges, of one partition."""
    return [item.files for item in plan([Holding("voip", DAY, files)], now)]


def ids(*files: Stored) -> tuple[str, ...]:
    """Their ids."""
    return tuple(file.file_id for file in files)


@pytest.mark.parametrize(
    ("now", "settled"),
    [
        (datetime(2026, 11, 11, 0, 59, 59, tzinfo=UTC), False),
        (datetime(2026, 11, 11, 1, 0, tzinfo=UTC), True),
    ],
)
def test_a_day_is_left_to_settle_for_an_hour(now: datetime, settled: bool) -> None:
    """Not a second less; a run for everything takes it all the same."""
    holding = Holding("voip", DAY, (delivered(1),))
    assert is_settled(DAY, now) is settled
    assert bool(plan([holding], now)) is settled
    assert [item.files for item in plan([holding], now, Selection(unsettled=True))] == [ids(delivered(1))]


def test_files_as_delivered_are_merged_all() -> None:
    """One is rewritten as well: it has no blocks, and is not in the order of time. No file, no work."""
    assert planned(delivered(1)) == [ids(delivered(1))]
    assert planned(delivered(1), delivered(2)) == [ids(delivered(1), delivered(2))]
    assert planned() == []
    (item,) = plan([Holding("voip", DAY, (delivered(1), delivered(2)))], NOW)
    assert item.reason == "2 files as delivered"


def test_a_merged_day_is_left_in_peace() -> None:
    """Nothing is done twice."""
    assert planned(merged(1)) == []


def test_late_records_wait_until_they_are_worth_it() -> None:
    """An eighth of the day rewrites all of it; many small files before that are merged among themselves."""
    big = merged(1, 8 * 100)
    assert planned(big, delivered(2, 99)) == []
    assert planned(big, delivered(2, 100)) == [ids(big, delivered(2, 100))]
    few = [delivered(number, 1) for number in range(2, 2 + LATE_FILES)]
    assert planned(big, *few[1:]) == []
    assert planned(big, *few) == [ids(*few)]
    assert planned(big, merged(99, 16), *few) == [ids(merged(99, 16), *few)]
    assert planned(big, merged(99, 17), *few) == [ids(*few)]
    assert planned(big, merged(98, 33), merged(99, 16), *few) == [ids(merged(99, 16), *few)]
    assert planned(big, merged(99, 20)) == []


def test_a_block_file_that_is_gone_is_made_again() -> None:
    """Of the day's own file, or of the file of its late records."""
    broken = merged(1, blocks=False)
    assert planned(broken, delivered(2)) == [ids(broken, delivered(2))]
    late = merged(2, 5, blocks=False)
    assert planned(merged(1), late) == [ids(late)]


def test_a_day_that_lost_a_category_is_left_with_a_reason() -> None:
    """Nothing could show that a merge keeps its records."""
    (item,) = plan([Holding("voip", DAY, (delivered(1), delivered(2)), whole=False)], NOW)
    assert item.files == ()
    assert "category of the day was destroyed" in item.reason


def test_a_run_can_be_narrowed() -> None:
    """To classes, to days, to both; the plan is in order of class and day."""
    other = DAY + timedelta(days=1)
    holdings = [Holding(name, day, (delivered(1),)) for name in ("voip", "email") for day in (other, DAY)]

    def named(selection: Selection) -> list[tuple[str, date]]:
        return [(item.record_class, item.day) for item in plan(holdings, NOW, selection)]

    assert named(Selection()) == [("email", DAY), ("email", other), ("voip", DAY), ("voip", other)]
    assert named(Selection(classes=frozenset({"voip"}))) == [("voip", DAY), ("voip", other)]
    assert named(Selection(classes=frozenset({"voip"}), days=frozenset({other}))) == [("voip", other)]
    assert named(Selection(days=frozenset())) == []


def test_the_delivery_window_counts_from_the_end_of_the_day() -> None:
    """To the moment."""
    window = timedelta(days=35)
    end = datetime(2026, 11, 11, tzinfo=UTC) + window
    assert may_still_come(DAY, window, end - timedelta(microseconds=1))
    assert not may_still_come(DAY, window, end)


def test_a_trickle_of_late_records_costs_little() -> None:
    """Thousands of files of one record each beside a large day: what is merged again and again doubles each time."""
    files: tuple[Stored, ...] = (merged(0, 100_000),)
    written = most = 0
    for number in range(1, 5001):
        files = (*files, delivered(number, 1))
        for item in plan([Holding("voip", DAY, files)], NOW):
            taken = [file for file in files if file.file_id in item.files]
            written += sum(file.rows for file in taken)
            files = (
                *(file for file in files if file not in taken),
                merged(10_000 + number, sum(x.rows for x in taken)),
            )
        most = max(most, len(files))
    assert written <= 12 * 5000
    assert most <= LATE_FILES + 12


@given(st.lists(st.integers(1, 50), max_size=200))
def test_a_record_is_rewritten_a_bounded_number_of_times(deliveries: list[int]) -> None:
    """Whatever comes late and in which pieces, a run after each piece rewrites each record some ten times at most."""
    files: tuple[Stored, ...] = (merged(0, 1000),)
    written, rows = 0, 1000
    for number, more in enumerate(deliveries, 1):
        rows += more
        files = (*files, delivered(number, more))
        for item in plan([Holding("voip", DAY, files)], NOW):
            taken = [file for file in files if file.file_id in item.files]
            size = sum(file.rows for file in taken)
            written += size
            files = (*(file for file in files if file not in taken), merged(10_000 + number, size))
        assert sum(file.rows for file in files) == rows
        assert plan([Holding("voip", DAY, files)], NOW) == []
        assert sum(not file.merged for file in files) < LATE_FILES
    assert written <= (LATE_SHARE + 8) * rows
