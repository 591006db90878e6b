"""Writes the golden plans beside this file: what `retention.plan` decides in scenes a reader can check on a calendar.

Run it by `python tests/trafficvault/golden/retention/generate.py` after a decision was meant to change, and review the
difference. `test_retention` fails while the files differ from what this gives.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from trafficvault.policy_file import parse, preset_text
from trafficvault.retention import Partition, plan

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Scene:
    """One golden file: a sentence, a policy, a moment, and what has a term then."""

    name: str
    sentence: str
    policy: str
    now: str
    partitions: tuple[Partition, ...]


def _days(record_class: str, *days: str, kind: str = "records", state: str = "live") -> tuple[Partition, ...]:
    return tuple(Partition(record_class, date.fromisoformat(day), kind, state) for day in days)


SCENES = (
    Scene(
        "ordinary_morning",
        "On an ordinary morning yesterday's midnight took one day of each class, and the next days stay.",
        preset_text("telecom"),
        "2026-11-12T06:00:00+01:00",
        (
            *_days("telephony", "2026-05-10", "2026-05-11", "2026-11-11"),
            *_days("voip", "2026-05-10", "2026-05-11"),
            *_days("binding", "2026-05-10", "2026-05-11"),
        ),
    ),
    Scene(
        "last_of_february",
        "Days at the end of August are clamped to 28 February and fall due together, those of September follow.",
        preset_text("telecom"),
        "2026-03-01T00:00:00+01:00",
        _days("email", "2025-08-27", "2025-08-28", "2025-08-29", "2025-08-30", "2025-08-31", "2025-09-01"),
    ),
    Scene(
        "leap_day",
        "In a leap year the end of August is clamped to 29 February instead.",
        preset_text("telecom"),
        "2028-02-29T12:00:00+01:00",
        _days("email", "2027-08-27", "2027-08-28", "2027-08-29", "2027-08-30", "2027-08-31"),
    ),
    Scene(
        "first_of_march",
        "The UTC day of 28 February reaches into 1 March in Amsterdam, whose six months end four days later.",
        preset_text("telecom"),
        "2026-09-01T12:00:00+02:00",
        _days("internet", "2026-02-26", "2026-02-27", "2026-02-28", "2026-03-01"),
    ),
    Scene(
        "clocks_go_back",
        "What ends on the day of 25 hours is due at the midnight that closes it, not an hour early.",
        preset_text("telecom"),
        "2026-10-25T23:59:59+01:00",
        _days("mobile_usage", "2026-04-22", "2026-04-23", "2026-04-24", "2026-04-25"),
    ),
    Scene(
        "clocks_go_forward",
        "What ends on the day of 23 hours is due at the midnight that closes it.",
        preset_text("telecom"),
        "2026-03-30T00:00:00+02:00",
        _days("mobile_usage", "2025-09-27", "2025-09-28", "2025-09-29"),
    ),
    Scene(
        "kiritimati",
        "Fourteen hours east of Greenwich a UTC day reaches far into the next local date, and waits for it.",
        preset_text("telecom").replace("Europe/Amsterdam", "Pacific/Kiritimati"),
        "2026-07-11T12:00:00+14:00",
        _days("voip", "2026-01-08", "2026-01-09", "2026-01-10", "2026-01-11"),
    ),
    Scene(
        "leftovers",
        "Rejections and held batches count from the day they came and die with the class they were kept under.",
        preset_text("telecom"),
        "2026-11-12T06:00:00+01:00",
        (
            *_days("voip", "2026-05-10", "2026-05-11", kind="rejections"),
            *_days("telephony", "2026-05-10", "2026-05-11", kind="held"),
        ),
    ),
    Scene(
        "interrupted_run",
        "What an earlier run began to expire is finished, due or not; tombstones are not touched again.",
        preset_text("telecom"),
        "2026-11-12T06:00:00+01:00",
        (
            *_days("telephony", "2026-05-08", state="tombstone"),
            *_days("telephony", "2026-05-09", "2026-05-20", state="expiring"),
            *_days("server_use", "2026-05-09", state="expiring"),
        ),
    ),
    Scene(
        "class_without_entry",
        "A class that no entry covers any longer is kept, however old, and the plan says what is missing.",
        preset_text("telecom"),
        "2026-11-12T06:00:00+01:00",
        _days("server_use", "2020-01-01"),
    ),
    Scene(
        "hosting",
        "Three months of the hosting preset, from the last day of November.",
        preset_text("hosting"),
        "2026-03-01T00:00:00+01:00",
        (*_days("server_use", "2025-11-28", "2025-11-29", "2025-11-30"), *_days("binding", "2025-11-29")),
    ),
)


def render() -> dict[str, str]:
    """The text of every golden file, by file name."""
    return {f"{scene.name}.json": _text(scene) for scene in SCENES}


def _text(scene: Scene) -> str:
    items = plan(scene.partitions, parse(scene.policy), datetime.fromisoformat(scene.now))
    decided = [
        {
            "kind": item.kind,
            "class": item.record_class,
            "day": item.day.isoformat(),
            "due": item.due and item.due.isoformat(),
            "action": item.action,
            "reason": item.reason,
        }
        for item in items
    ]
    return json.dumps({"scene": scene.sentence, "now": scene.now, "plan": decided}, indent=2) + "\n"


if __name__ == "__main__":
    for name, text in render().items():
        (HERE / name).write_text(text, encoding="utf-8")
