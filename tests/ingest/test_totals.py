"""Control totals and file sequences: held, broken, missing."""

from __future__ import annotations

import polars as pl
import pytest

from ingest.errors import FeedError
from ingest.raw import REJECTIONS, Raw
from ingest.totals import Sequence, Sum, Totals, mismatches, sequence_number

TOTALS = Totals(
    count="records",
    sums=(Sum("duration", "total", "duration_hhmmssss"), Sum("units", "all_units", "integer")),
    same=("file",),
    step_field="number",
    step=10,
)
TRAILER = {"records": "00000003", "total": "000000010350", "all_units": "6", "file": "F1"}


def raw(
    *, trailer: dict[str, str] | None = None, header: dict[str, str] | None = None, rejected: int = 0, joined: int = 0
) -> Raw:
    """Three records, 1 minute 3.5 seconds and 6 units together, numbered 10, 20, 30."""
    fields = pl.DataFrame(
        {
            "row": [2, 3, 4],
            "number": ["0000010", "0000020", "0000030"],
            "duration": ["00000150", "00010000", "00000200"],
            "units": ["1", "2", "3"],
        }
    )
    rows = [{"row": 5 + at, "reason": "x", "raw": None} for at in range(rejected)]
    rejections = pl.DataFrame(rows, schema=REJECTIONS)
    return Raw(
        fields=fields,
        rejections=rejections,
        ignored={},
        joined=joined,
        units=3 + rejected + joined,
        shape=None,
        header={"file": "F1"} if header is None else header,
        trailer=TRAILER if trailer is None else trailer,
    )


def test_totals_that_hold_say_nothing() -> None:
    """No mismatch where count, sums, equal fields and record numbers agree, and where a feed has no totals."""
    assert mismatches(TOTALS, raw()) == ()
    assert mismatches(None, raw(trailer={})) == ()
    assert mismatches(Totals(), raw()) == ()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"records": "00000004"}, "the trailer says 4 records, the file has 3"),
        ({"records": "x"}, "the trailer says nothing records, the file has 3"),
        ({"total": "000000010351"}, "the trailer says 63510 ms as total, the records give 63500 ms"),
        ({"all_units": "7"}, "the trailer says 7 as all_units, the records give 6"),
        ({"file": "F2"}, "header and trailer give a different file"),
    ],
)
def test_totals_that_do_not_hold_give_both_values(change: dict[str, str], sentence: str) -> None:
    """Each total that is wrong is a sentence of its own, with both counts."""
    assert mismatches(TOTALS, raw(trailer={**TRAILER, **change})) == (sentence,)


def test_missing_trailer_is_a_mismatch() -> None:
    """Without a trailer nothing is proven."""
    assert mismatches(TOTALS, raw(trailer={})) == ("the file has no trailer, so its control totals are not known",)


def test_rejected_and_joined_lines_are_counted() -> None:
    """The count of a trailer is held against every line that stands for a record, readable or not."""
    found = mismatches(Totals(count="records"), raw(rejected=1, joined=1))

    assert found == ("the trailer says 3 records, the file has 5",)


@pytest.mark.parametrize(
    ("numbers", "wrong"),
    [
        (["0000010", "0000020", "0000040"], 1),
        (["0000010", "0000010", "0000030"], 2),
        (["0000010", None, "0000030"], 2),
        (["0000510", "0000520", "0000530"], 0),
    ],
    ids=["a gap", "a number twice", "a number missing", "another first number"],
)
def test_steps_of_record_numbers(numbers: list[str | None], wrong: int) -> None:
    """Record numbers that do not follow by the step are counted; where they begin does not matter."""
    file = raw()
    changed = Raw(
        fields=file.fields.with_columns(pl.Series("number", numbers, dtype=pl.String)),
        rejections=file.rejections,
        ignored={},
        joined=0,
        units=3,
        shape=None,
        trailer=TRAILER,
    )

    found = mismatches(Totals(step_field="number", step=10), changed)
    assert found == ((f"{wrong} of 3 records do not follow in number by 10",) if wrong else ())


def test_no_records_have_no_steps() -> None:
    """An empty file with a trailer that says so holds."""
    empty = Raw(raw().fields.clear(), raw().rejections, {}, 0, 0, None, {}, {"records": "0", "total": "000000000000"})

    assert mismatches(Totals("records", (Sum("duration", "total", "duration_hhmmssss"),), (), "number"), empty) == ()


@pytest.mark.parametrize(
    ("sequence", "own", "name", "number"),
    [
        (Sequence(file_name="^F(?P<seq>[0-9]+)"), None, "F000999.csv", 999),
        (Sequence(file_name="^F(?P<seq>[0-9]+)"), None, "G1", None),
        (Sequence(file_name="^F(?P<seq>[0-9]+)?"), None, "F", None),
        (Sequence(file_name="^F(?P<seq>.+)"), None, "Fx", None),
        (Sequence(file_name="^F(?P<seq>[0-9]+)"), "-(?P<seq>[0-9]+)$", "F1-7", 7),
        (None, "-(?P<seq>[0-9]+)$", "F1-7", 7),
        (Sequence(field="file"), None, "F1", None),
        (Sequence(field="number"), None, "F1", 42),
        (None, None, "F1", None),
    ],
)
def test_sequence_number(sequence: Sequence | None, own: str | None, name: str, number: int | None) -> None:
    """A file's number stands in its name or header; the source's rule goes before the feed's; no number is None."""
    assert sequence_number(sequence, own, raw(header={"file": "F1", "number": "000042"}), name) == number


def test_sequence_rule_of_a_source_needs_its_group() -> None:
    """A rule without the group `seq` is refused, not read as no number."""
    with pytest.raises(FeedError, match="group named seq"):
        sequence_number(None, "[0-9]+", raw(), "F1")


def test_a_file_name_cannot_hang_the_reader() -> None:
    """A rule that backtracks without end in other engines takes linear time, and a name counts up to 255 characters."""
    rule = Sequence(file_name="^(?P<seq>(?:[0-9]+)+)x$")

    assert sequence_number(rule, None, raw(), "1" * 40 + "y") is None
    assert sequence_number(None, "(?P<seq>[0-9]+)$", raw(), "a" * 252 + "1234") == 123


def test_a_sequence_rule_of_a_source_has_no_look_around() -> None:
    """What the linear engine cannot run is refused in words."""
    with pytest.raises(FeedError, match="without look-around"):
        sequence_number(None, "(?<=F)(?P<seq>[0-9]+)", raw(), "F1")
