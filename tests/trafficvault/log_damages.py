"""What can be done to the segments of a log with ten entries, and what verification says to it."""

from __future__ import annotations

import json
import shutil

from tests.trafficvault.log_house import SIGNING_KEY, START, House
from trafficvault import chain, signing
from trafficvault.chain import Head


def _drop_last_line(house: House) -> None:
    path = house.segments()[-1]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def _cut_mid_line(house: House) -> None:
    path = house.segments()[-1]
    path.write_bytes(path.read_bytes()[:-30])


def _cut_newline(house: House) -> None:
    path = house.segments()[-1]
    path.write_bytes(path.read_bytes()[:-1])


def _swap_lines(house: House) -> None:
    path = house.segments()[0]
    first, second, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([second, first, *rest]))


def _double_line(house: House) -> None:
    path = house.segments()[1]
    first, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([first, first, *rest]))


def _drop_middle_line(house: House) -> None:
    path = house.segments()[0]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))


def _drop_end_of_full_segment(house: House) -> None:
    path = house.segments()[0]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def _tear_full_segment(house: House) -> None:
    path = house.segments()[0]
    path.write_bytes(path.read_bytes()[:-1])


def _swap_segments(house: House) -> None:
    first, second = house.segments()[:2]
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)


def _add_to_full_segment(house: House) -> None:
    first, second = house.segments()[:2]
    first.write_bytes(first.read_bytes() + second.read_bytes().splitlines(keepends=True)[0])


def _add_signed_entry(house: House) -> None:
    line = chain.write_line(
        Head(10, json.loads(house.lines()[-1])["hash"]), signing.instant(START), "", None, SIGNING_KEY
    )
    path = house.segments()[-1]
    path.write_bytes(path.read_bytes() + line + b"\n")


def _add_torn_end(house: House) -> None:
    path = house.segments()[-1]
    path.write_bytes(path.read_bytes() + b'{"body":"')


def _replace_last(house: House) -> None:
    lines = house.lines()
    head = Head(9, json.loads(lines[-2])["hash"])
    path = house.segments()[-1]
    line = chain.write_line(head, signing.instant(START), "", None, SIGNING_KEY)
    path.write_bytes(b"".join([*path.read_bytes().splitlines(keepends=True)[:-1], line + b"\n"]))


DAMAGES = {
    "the last line removed": (_drop_last_line, "ends at entry 9 and the catalogue knows 10: its tail is missing"),
    "the last line cut": (_cut_mid_line, "entry 10: the line is torn"),
    "the last newline cut": (_cut_newline, "entry 10: the line is torn"),
    "two lines exchanged": (_swap_lines, "entry 2 stands where 1 belongs"),
    "a line doubled": (_double_line, "entry 5 stands where 6 belongs"),
    "a line removed": (_drop_middle_line, "entry 3 stands where 2 belongs"),
    "a full segment shortened": (_drop_end_of_full_segment, "it has 3 entries where 4 belong"),
    "a full segment torn": (_tear_full_segment, "entry 4: the line is torn"),
    "two segments exchanged": (_swap_segments, "entry 5 stands where 1 belongs"),
    "a full segment lengthened": (_add_to_full_segment, "it has 5 entries where 4 belong"),
    "an entry added by who has the key": (_add_signed_entry, "the catalogue is older than the log"),
    "a torn end added": (_add_torn_end, "torn, in a line that the catalogue never had"),
    "the last line replaced by who has the key": (_replace_last, "entry 10 on disk is another"),
    "the last segment removed": (
        lambda house: house.segments()[-1].unlink(),
        "ends at entry 8 and the catalogue knows 10",
    ),
    "a segment removed": (lambda house: house.segments()[1].unlink(), "segment 00000002.log is missing"),
    "all segments removed": (
        lambda house: shutil.rmtree(house.layout.audit),
        "ends at entry 0 and the catalogue knows 10",
    ),
    "a stranger": (lambda house: (house.layout.audit / "notes.txt").write_text("x"), "notes.txt is not a segment"),
}
