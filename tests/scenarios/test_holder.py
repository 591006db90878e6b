"""Who held an address: bindings that never end, and answers that must not name too many."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support import Order, answer, ingest, new_vault


def binding(subscriber: str, start: str, **more: object) -> str:
    """A binding of one public address to a subscriber, as NDJSON."""
    record = {"class": "binding", "served": "a", "subscriber": subscriber, "public_ip": "203.0.113.7", "start": start}
    return json.dumps({**record, **more}) + "\n"


def held(package: Path) -> list[dict[str, Any]]:
    """The rows of a package."""
    rows: list[dict[str, Any]] = json.loads((package / "records.json").read_text())["records"]
    return rows


ORDER = Order(
    targets=[("ip", "203.0.113.7")],
    start="2026-11-10T12:00:00Z",
    end="2026-11-10T13:00:00Z",
    categories=("who", "when"),
    questions=("holder",),
)


def test_a_binding_that_began_months_ago_and_never_ended_holds(tmp_path: Path) -> None:
    """An address whose assignment has begun and not ended is held, whichever day's file tells so."""
    vault = new_vault(tmp_path)
    ingest(vault, "native_ndjson", binding("S-1", "2026-06-01T08:00:00Z"), "bindings.ndjson")
    answer(vault, ORDER, tmp_path / "package")

    rows = held(tmp_path / "package")
    assert [row["subscriber"] for row in rows] == ["S-1"]
    assert rows[0]["held_until"] is None


def test_a_binding_that_ended_before_does_not(tmp_path: Path) -> None:
    """The next holder alone is named."""
    vault = new_vault(tmp_path)
    lines = binding("S-1", "2026-11-01T08:00:00Z", end="2026-11-10T11:00:00Z")
    ingest(vault, "native_ndjson", lines + binding("S-2", "2026-11-10T11:30:00Z"), "bindings.ndjson")
    answer(vault, ORDER, tmp_path / "package")

    assert [row["subscriber"] for row in held(tmp_path / "package")] == ["S-2"]


def test_two_holders_are_told_by_their_number_alone(tmp_path: Path) -> None:
    """More subscribers than the order allows are answered "not unique", without a list."""
    vault = new_vault(tmp_path)
    lines = binding("S-1", "2026-11-01T08:00:00Z") + binding("S-2", "2026-11-02T08:00:00Z")
    ingest(vault, "native_ndjson", lines, "bindings.ndjson")
    answer(vault, ORDER, tmp_path / "package")

    text = (tmp_path / "package" / "records.json").read_text()
    assert [row["answer"] for row in held(tmp_path / "package")] == ["not unique: 2"]
    assert "S-1" not in text
    assert "S-2" not in text


def test_a_duration_alone_ends_a_binding(tmp_path: Path) -> None:
    """A binding that tells start and duration is over afterwards, also for who may not see durations."""
    vault = new_vault(tmp_path)
    ingest(vault, "native_ndjson", binding("S-1", "2026-11-10T08:00:00Z", duration_ms=3_600_000), "bindings.ndjson")

    assert answer(vault, ORDER, tmp_path / "package").records == 0
