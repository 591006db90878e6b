"""The simulated records as delivered files of three feeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random

from tests.simulation.book import Call
from tests.support import Usage, usage


def written(feed: str, calls: Sequence[Call], number: int, bad: int = 0) -> str:
    """The file `number`: the calls, and so many `bad` rows behind them.

    Columns stand in an order of the file's own, so that the same calls are never the same file.
    """
    if feed == "mvno_pipe":
        return usage([_usage(call, number) for call in calls]) + "not a row\n" * bad
    rows = [_columns(call) for call in calls] + [_columns(calls[0]) | {"start": "yesterday"}] * bad
    order = Random(number).sample(list(rows[0]), len(rows[0]))
    if feed == "native_ndjson":
        return "".join(json.dumps({name: row[name] for name in order if row[name]}) + "\n" for row in rows)
    return "".join(",".join(line) + "\n" for line in [order, *([row[name] for name in order] for row in rows)])


def _columns(call: Call) -> dict[str, str]:
    return {
        "class": call.record_class,
        "record_id": call.name,
        "start": f"{call.start:%Y-%m-%dT%H:%M:%SZ}",
        "a_number": call.number,
        "a_kind": "e164",
        "served": "a",
        "event": "call",
        "imsi": "204990000000001",
        "subscriber": call.subscriber,
        "start_cell": call.cell or "",
    }


def _usage(call: Call, number: int) -> Usage:
    mine = call.number.lstrip("+")
    at = f"{call.start:%Y%m%d%H%M%S}"
    return Usage(a=mine, msisdn=mine, at=at, offset="+0000", record_id=call.name)
