"""Joining: an INVITE takes the time of its ACK, an ACK adds no event, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import delimited
from ingest.errors import FeedError
from ingest.joining import join
from ingest.raw import Dialect, Shape
from tests.thorough import as_many

SAMPLES = Path(__file__).resolve().parents[2] / "../shared/samples/cgrates_test_cdrs"
DIALOG = ("callid", "from_tag", "to_tag")
SCHEMA = ("row", "method", "callid", "from_tag", "to_tag", "time")

Line = tuple[str | None, str | None, str | None, str | None, str | None]


def lines(*given: Line) -> pl.DataFrame:
    """Lines of (method, call id, from tag, to tag, time), numbered from 1."""
    numbered = [(number, *line) for number, line in enumerate(given, 1)]
    return pl.DataFrame(numbered, schema=dict.fromkeys(SCHEMA, pl.String) | {"row": pl.Int64}, orient="row")


def joined(*given: Line) -> tuple[list[tuple[int, str | None]], int]:
    """Row and time of what remains, and how many lines were joined."""
    fields, number = join(lines(*given), DIALOG, "time")
    return list(fields.select("row", "time").iter_rows()), number


def test_an_invite_takes_the_time_of_its_ack() -> None:
    """The ACK's time goes to the INVITE, the ACK goes, the BYE stays as it is."""
    assert joined(("INVITE", "c", "f", "t", None), ("ACK", "c", "f", "t", "100"), ("BYE", "c", "f", "t", "160")) == (
        [(1, "100"), (3, "160")],
        1,
    )


def test_an_ack_adds_nothing_to_an_invite_with_a_time() -> None:
    """The INVITE keeps its own time, the ACK is joined."""
    assert joined(("INVITE", "c", "f", "t", "99"), ("ACK", "c", "f", "t", "100")) == ([(1, "99")], 1)


def test_the_order_in_the_file_does_not_matter() -> None:
    """An ACK may stand before its INVITE."""
    assert joined(("ACK", "c", "f", "t", "100"), ("INVITE", "c", "f", "t", None)) == ([(2, "100")], 1)


@pytest.mark.parametrize(
    "given_lines",
    [
        [("ACK", "c", "f", "t", "100")],
        [("INVITE", "c", "f", "t", None)],
        [("INVITE", "c", "f", "t", None), ("ACK", "c", "f", "t", None)],
        [("INVITE", "c", "f", "t", None), ("ACK", "c", "f", "other", "100")],
        [("INVITE", "c", "f", "t", None), ("ACK", "other", "f", "t", "100")],
        [("INVITE", None, None, None, None), ("ACK", None, None, None, "100")],
        [("INVITE", "c", "f", "t", None), ("ack", "c", "f", "t", "100")],
        [("BYE", "c", "f", "t", None), ("ACK", "c", "f", "t", "100")],
        [(None, "c", "f", "t", None), ("ACK", "c", "f", "t", "100")],
    ],
)
def test_what_has_no_partner_is_left(given_lines: list[Line]) -> None:
    """A line whose other half is not in the file, or does not have the time either, stays for the caller."""
    fields = lines(*given_lines)
    assert join(fields, DIALOG, "time")[0].equals(fields)
    assert join(fields, DIALOG, "time")[1] == 0


def test_an_empty_tag_equals_an_empty_tag() -> None:
    """Lines of one Call-ID without a To tag belong together."""
    assert joined(("INVITE", "c", "f", None, None), ("ACK", "c", "f", None, "100")) == ([(1, "100")], 1)


def test_several_of_one_dialog_go_in_pairs() -> None:
    """The second INVITE of a dialog takes the time of the second ACK; one without its own ACK takes none."""
    first, second = ("INVITE", "c", "f", "t", None), ("ACK", "c", "f", "t", "100")
    later = ("ACK", "c", "f", "t", "200")
    assert joined(first, second, first, later) == ([(1, "100"), (3, "200")], 2)
    assert joined(first, second, first) == ([(1, "100"), (3, None)], 1)
    assert joined(first, second, later) == ([(1, "100")], 2)
    assert joined(("INVITE", "c", "f", "t", "90"), second, first, later) == ([(1, "90"), (3, "200")], 2)


def test_nothing_to_join() -> None:
    """A file without lines, and one without ACK, come back as they are."""
    assert joined() == ([], 0)
    assert joined(("INVITE", "c", "f", "t", None)) == ([(1, None)], 0)


def test_other_words() -> None:
    """Method words and columns are the feed's."""
    fields = pl.DataFrame({"kind": ["start", "go"], "id": ["1", "1"], "at": [None, "5"]})
    assert join(fields, ["id"], "at", "kind", "start", "go")[0].rows() == [("start", "1", "5")]


@pytest.mark.parametrize(("on", "time"), [(["nowhere"], "time"), (DIALOG, "nowhere"), ([], "time")])
def test_columns_that_are_not_there(on: list[str], time: str) -> None:
    """Joining by a column that the shape lacks is the feed's fault."""
    with pytest.raises(FeedError, match="joining lines needs the columns"):
        join(lines(), on, time)


def by_hand(given: list[Line]) -> tuple[list[tuple[int, str | None]], int]:
    """The same rule, line by line."""
    times = [line[4] for line in given]
    gone: set[int] = set()
    for key in {line[1:4] for line in given if line[1] is not None}:
        invites = [n for n, line in enumerate(given) if line[0] == "INVITE" and line[1:4] == key]
        acks = [n for n, line in enumerate(given) if line[0] == "ACK" and line[1:4] == key]
        for invite, ack in zip(invites, acks, strict=False):
            times[invite] = times[invite] or times[ack]
        if any(times[invite] is not None for invite in invites):
            gone |= set(acks)
    return [(n + 1, times[n]) for n in range(len(given)) if n not in gone], len(gone)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["INVITE", "ACK", "BYE", None]),
            st.sampled_from(["c", "d", None]),
            st.just("f"),
            st.sampled_from(["t", None]),
            st.sampled_from(["1", "2", None]),
        ),
        max_size=12,
    )
)
@settings(max_examples=as_many(80), deadline=None)
def test_joining_equals_the_rule_by_hand(given_lines: list[Line]) -> None:
    """Over any lines the whole-column way gives what the rule gives line by line."""
    assert joined(*given_lines) == by_hand(given_lines)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample files are not part of the repository")
def test_flatstore_sample_with_ack() -> None:
    """Of twelve lines four are ACKs: four calls with a time remain, and their BYEs."""
    columns = ("method", "from_tag", "to_tag", "callid", "code", "reason", "time", *"abcdef")
    data = (SAMPLES / "acc_flatstore_ackSuccessfull.log").read_bytes()
    fields, number = join(delimited.parse(data, [Shape("s", columns[:13])], Dialect("|"), None).fields, DIALOG, "time")

    assert number == data.count(b"ACK|") == 4
    assert fields["method"].to_list() == ["INVITE", "BYE"] * 4
    assert fields["time"].null_count() == 0


def test_a_time_of_0_is_none() -> None:
    """Kamailio writes 0 where it has no time: the INVITE takes that of its ACK, and an ACK of 0 gives none."""
    lines = pl.DataFrame(
        {"callid": ["x", "x", "y", "y"], "method": ["INVITE", "ACK"] * 2, "time": ["0", "9", " 00", "0"]}
    )
    found, joined = join(lines, ["callid"], "time")

    assert (found["time"].to_list(), joined) == (["9", None, None], 1)
