"""The feeds of switches: Asterisk, Kamailio, an MVNO and wholesale line rental, each with what it alone does."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ingest.errors import FileRefused
from tests.ingest.shipped_feeds import (
    FEEDS,
    accounted,
    asterisk,
    everything,
    mvno,
    reading,
    rows,
)

# --- Asterisk ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "shape", "record_id", "correlation"),
    [
        (16, "16", None, None),
        (17, "17", None, "1770131244.16"),
        (18, "18", None, "1770131244.16"),
        (19, "19-custom", "1770131244.16/0", "1770131244.16"),
        (21, "21", "1770131244.16/0", "1770131244.16"),
    ],
)
def test_asterisk_shapes(columns: int, shape: str, record_id: str | None, correlation: str | None) -> None:
    """Each number of columns gives the same call; identity only where uniqueid and sequence are both there."""
    found = reading("asterisk_csv", asterisk(columns) * 2, shape=shape)
    row = rows(found, "voip")[0]

    assert found.shape == shape
    assert (row["a_number"], row["b_number"], row["duration_ms"]) == ("+31612345678", "+31201234567", 27_000)
    assert (row.get("record_id"), row.get("correlation_id")) == (record_id, correlation)
    assert [each["occurrence"] for each in rows(found, "voip")] == ([0, 1] if record_id is None else [0, 0])


def test_asterisk_seventeen_columns_need_the_source() -> None:
    """Seventeen columns end in uniqueid or userfield: without the source's word the file is refused."""
    with pytest.raises(FileRefused, match="equally well"):
        reading("asterisk_csv", asterisk(17))

    found = reading("asterisk_csv", asterisk(17, uniqueid="marker"), shape="17-userfield")
    assert "marker" not in everything(found)


def test_asterisk_name_in_latin_1_is_read_and_noted() -> None:
    """One byte that is not UTF-8 loses no row: the field is read as Latin-1 and the row noted."""
    data = asterisk(21, accountcode="x") + asterisk(21, accountcode="\xa5\xa5")
    found = reading("asterisk_csv", data.encode("latin-1"))

    assert accounted(found) == found.units == 2
    assert found.notes == {"latin-1": 1}
    assert [row["read_note"] for row in rows(found, "voip")] == [None, "latin-1"]


def test_asterisk_illegal_quotes_cost_one_row() -> None:
    """A row whose quoting is broken is one rejection; the columns of the others stay apart."""
    broken = asterisk(21).replace('"0612345678"', '""Naam" <204>"')
    found = reading("asterisk_csv", asterisk(21) * 2 + broken + asterisk(21))

    assert found.rejections.to_pylist() == [{"row": 3, "reason": "quoting", "raw": None}]
    assert len(rows(found, "voip")) == 3


def test_asterisk_keeps_leading_zeros_and_sequence_of_a_restart() -> None:
    """Numbers stay text, and the form of uniqueid may change in mid-file."""
    data = asterisk(21, dst="00441234567890") + asterisk(21, uniqueid="pbx-1770131250.1", sequence="0")
    found = rows(reading("asterisk_csv", data), "voip")

    assert found[0]["b_number"] == "+441234567890"
    assert [row["record_id"] for row in found] == ["1770131244.16/0", "pbx-1770131250.1/0"]


def test_asterisk_rounded_duration_is_no_fault() -> None:
    """An end one second later than start and duration say is what the writer does."""
    assert not reading("asterisk_csv", asterisk(21, duration="26")).rejections.num_rows


# --- Kamailio ---------------------------------------------------------------------------------------------------------

INVITE = "INVITE|1a|2b|c1|200|OK|{time}|*prepaid|31612345678|31201234567||1:2\n"
BYE = "BYE|1a|2b|c1|200|OK|{time}|||||1:2\n"


@pytest.mark.parametrize("bye_first", [True, False])
def test_kamailio_parts_in_any_order(bye_first: bool) -> None:
    """INVITE and BYE are parts of one call, in whatever order or file they come."""
    lines = [INVITE.format(time="1770131244"), BYE.format(time="1770131304")]
    found = rows(reading("kamailio_flatstore", "".join(reversed(lines) if bye_first else lines)), "voip")

    by_part = {row["part"]: row for row in found}
    assert by_part["first"]["correlation_id"] == by_part["last"]["correlation_id"] == "c1"
    assert (by_part["last"]["end"] - by_part["first"]["answer"]).total_seconds() == 60
    assert by_part["first"]["end"] is None
    assert by_part["last"]["event"] == "hangup"


def test_kamailio_open_call_is_findable() -> None:
    """An INVITE whose BYE never comes is a record with a start and no end."""
    found = rows(reading("kamailio_flatstore", INVITE.format(time="1770131244")), "voip")[0]

    assert (found["event"], found["part"], found.get("end")) == ("call", "first", None)


def test_kamailio_ack_without_invite_is_a_part() -> None:
    """An ACK whose INVITE is in another file keeps the time of the answer."""
    ack = INVITE.format(time="1770131244").replace("INVITE", "ACK")
    found = rows(reading("kamailio_flatstore", ack), "voip")[0]

    assert (found["event"], found["part"]) == ("answer", "next")
    assert found["start"] == found["answer"] == datetime.fromtimestamp(1770131244, UTC)


@pytest.mark.parametrize("columns", [11, 12, 13])
def test_kamailio_shapes(columns: int) -> None:
    """With or without the empty column and the module's name, a line gives the same call."""
    fields = INVITE.format(time="1770131244").strip().split("|")
    fields = fields[:10] + fields[11:] if columns == 11 else fields
    line = "|".join([*fields, *(['acc"2.1'] if columns == 13 else [])])
    found = reading("kamailio_flatstore", line)

    row = rows(found, "voip")[0]
    assert (found.shape, row["a_number"], row["session_id"]) == (str(columns), "+31612345678", "1:2")


def test_kamailio_rejections_keep_their_line() -> None:
    """A feed without content keeps the bytes of a line that it rejects."""
    line = INVITE.format(time="").strip()
    found = reading("kamailio_flatstore", INVITE.format(time="1770131244") * 2 + line + "\nINVITE|short\n")

    kept = [tuple(row.values()) for row in found.rejections.to_pylist()]
    assert kept == [
        (3, "no start", line.encode()),
        (4, "has 2 columns instead of 12", b"INVITE|short"),
    ]


# --- MVNO -------------------------------------------------------------------------------------------------------------


def test_two_equal_sms_of_one_second_are_two_records() -> None:
    """Without identity equal rows are told apart by their occurrence; with one they are the same record twice."""
    sms = mvno(record_type="SMSMO", number_b="31687654321")
    found = rows(reading("mvno_pipe", sms + mvno() + sms + sms), "mobile_usage")
    assert [(row["row"], row["occurrence"]) for row in found] == [(1, 0), (2, 0), (3, 1), (4, 2)]

    known = mvno(record_type="SMSMO", number_b="31687654321", call_id="1")
    assert [row["occurrence"] for row in rows(reading("mvno_pipe", known * 2 + sms), "mobile_usage")] == [0, 0, 0]


def test_served_party_by_record_type() -> None:
    """MSISDN is the caller of what goes out and of data, the called of what comes in."""
    kinds = {"GP": "a", "RGP": "a", "MO": "a", "RMO": "a", "SMSMO": "a", "RSMO": "a"}
    kinds |= {"MT": "b", "RMT": "b", "SMSMT": "b", "RSMT": "b"}
    data = "".join(mvno(record_type=kind, number_a="31201234567", operator_code="NLDPT") for kind in kinds)
    found = rows(reading("mvno_pipe", data), "mobile_usage")

    assert [row["served"] for row in found] == list(kinds.values())
    assert all(row[f"{row['served']}_number"] == "+31612345678" for row in found)
    presented = {"role": "presented", "number": "+31201234567"}
    assert all((row["other_parties"] == [presented]) == (row["served"] == "a") for row in found)


@pytest.mark.parametrize(
    ("name", "sequence"),
    [("S4PGWB000001", 1), ("S4PGWM999999.gz", 999_999), ("S4SVRO000000.csv", 0), ("S4SVRO12.csv", None), ("x", None)],
)
def test_file_sequence(name: str, sequence: int | None) -> None:
    """The sequence number is that in the file's name; a name of another form has none."""
    assert reading("mvno_pipe", mvno(), name=name).sequence == sequence


def test_doubled_and_missing_hour() -> None:
    """The doubled hour is settled by the offset, else noted; the missing hour is a rejection."""
    doubled = {"event_timestamp": "20261025023000"}
    data = mvno(**doubled, utc_offset="+0200") + mvno(**doubled, utc_offset="+0100") + mvno(**doubled)
    data += mvno(event_timestamp="20260329023000")
    found = reading("mvno_pipe", data)

    assert [row["start"].hour for row in rows(found, "mobile_usage")] == [0, 1, 0]
    assert [row["time_note"] for row in rows(found, "mobile_usage")] == [None, None, "ambiguous"]
    assert found.notes == {"ambiguous": 1}
    assert found.rejections["reason"].to_pylist() == ["start is a local time that did not exist"]


# --- WLR --------------------------------------------------------------------------------------------------------------


def wlr(**changes: tuple[str, str]) -> str:
    """The feed's own invented file with texts replaced."""
    text = FEEDS["wlr_fixed"].examples[0].raw.decode()
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    return text


def test_wlr_totals_that_hold() -> None:
    """A file whose trailer agrees with its records is committed: no mismatch."""
    found = reading("wlr_fixed", wlr())

    assert (found.mismatches, found.sequence, len(rows(found, "telephony"))) == ((), 42, 3)


def test_wlr_totals_that_do_not_hold() -> None:
    """A lost record shows in the count, the sum and the steps; a broken one in the sum too."""
    lines = wlr().splitlines(keepends=True)
    lost = reading("wlr_fixed", "".join(lines[:2] + lines[3:]))
    broken = reading("wlr_fixed", wlr(duration=("00010050", "0001x050")))

    assert len(lost.mismatches) == 3
    assert broken.mismatches == ("the trailer says 79500 ms as total_duration, the records give 19000 ms",)
    assert broken.rejections["reason"].to_pylist() == ["duration_ms is not of its form"]
    assert broken.rejections["raw"].to_pylist()[0] is not None


def test_wlr_without_trailer_is_truncated() -> None:
    """A file that lacks its trailer is refused whole."""
    with pytest.raises(FileRefused, match="truncated"):
        reading("wlr_fixed", "".join(wlr().splitlines(keepends=True)[:-1]))


def test_wlr_record_of_another_length_is_one_rejection() -> None:
    """A record cut short is a rejection, and the batch does not agree with its trailer."""
    found = reading("wlr_fixed", wlr(cut=("PSTN  ABC   10Buiten", "PSTN  ABC 10Buiten")))

    assert found.rejections["reason"].to_pylist() == ["has 221 bytes instead of 223 (record CDR)"]
    assert accounted(found) == found.units == 5
    assert len(found.mismatches) == 1
