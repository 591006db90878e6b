"""Calls that are stored in several parts: found whole across midnight, with no key further off than a day."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support import Order, answer, ingest, new_vault

DAY = datetime(2026, 11, 10, tzinfo=UTC)


def line(method: str, call: int, at: datetime) -> str:
    """A flatstore line of call number `call`; a BYE names no number."""
    parties = "*prepaid|31612345678|31687654321" if method == "INVITE" else "||"
    return f"{method}|f{call}|t{call}|call-{call}@sip.example|200|OK|{int(at.timestamp())}|{parties}||{call}:{call}\n"


def rows_of(package: Path) -> list[dict[str, Any]]:
    """The rows of a package."""
    rows: list[dict[str, Any]] = json.loads((package / "records.json").read_text())["records"]
    return rows


def test_a_call_over_midnight_is_whole_though_the_window_ends_before_its_bye(tmp_path: Path) -> None:
    """The BYE after the window's end belongs to a record that matches; calls of later days stay out."""
    vault = new_vault(tmp_path)
    lines = ""
    for call in range(4):
        begin = DAY + timedelta(days=call, hours=23, minutes=50)
        lines += line("INVITE", call, begin) + line("BYE", call, begin + timedelta(minutes=20))
    receipt = ingest(vault, "kamailio_flatstore", lines, "acc.log")
    assert receipt.stored == 8
    order = Order(start="2026-11-10T00:00:00Z", end="2026-11-11T00:00:00Z")
    done = answer(vault, order, tmp_path / "package")

    rows = rows_of(tmp_path / "package")
    assert done.records == 2
    assert {row["correlation_id"] for row in rows} == {"call-0@sip.example"}
    assert rows[0]["assembled_end"].startswith("2026-11-11T00:10:00")
    assert [row["target_role"] for row in rows] == ["a", "part"]


def test_a_window_that_begins_after_the_invite_finds_the_call_by_its_overlap(tmp_path: Path) -> None:
    """A call that began before the window and whose record ends inside it is in the window."""
    vault = new_vault(tmp_path)
    record = {
        "class": "telephony",
        "start": "2026-11-10T23:50:00Z",
        "end": "2026-11-11T00:10:00Z",
        "a_number": "+31612345678",
        "event": "call",
    }
    ingest(vault, "native_ndjson", json.dumps(record) + "\n", "calls.ndjson")
    order = Order(start="2026-11-11T00:00:00Z", end="2026-11-12T00:00:00Z")

    assert answer(vault, order, tmp_path / "package").records == 1
