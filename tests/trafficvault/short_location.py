"""A vault whose location has a shorter term than its call, for the tests of terms per category."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from tests.support import SUBSCRIBER, Order, answer, ingest, new_vault
from trafficvault.receipts import Receipt
from trafficvault.vault import Vault

FIRST = datetime(2026, 11, 12, 10, 0, tzinfo=UTC)
"""Two days after the first records were made."""
GONE = datetime(2026, 12, 11, 23, 30, tzinfo=UTC)
"""When the location of 10 November is due after a month; of 11 November, that of its last half hour lasts still."""
OVER = datetime(2027, 5, 12, 0, 30, tzinfo=UTC)
"""When 10 November itself is due, after six months, and 11 November is not."""
CELL = "204-99-0001-0007"
MONTHS_END = datetime(2027, 3, 1, 12, tzinfo=UTC)
"""Noon after a UTC day that touches the last of February and the first of March in Amsterdam."""
LEAVES = datetime(2027, 3, 29, 0, 0, tzinfo=UTC)
"""When, after a month, the locations of 28 February leave that day: the key lives for those of 1 March."""
ENDS = datetime(2027, 4, 1, 22, 0, tzinfo=UTC)
"""When that key dies."""


def entry(name: str, term: str, classes: Sequence[str], categories: Sequence[str] = (), more: str = "") -> str:
    """One row of a policy."""
    listed = f"categories = {json.dumps(categories)}\n" if categories else ""
    return (
        f'[[entry]]\nid = "{name}"\nservice = "Service"\ndata = "Data"\nterm = "{term}"\ncontroller = "The provider"\n'
        f'legal_basis = "GDPR art. 6(1)(b)"\nclasses = {json.dumps(classes)}\n{listed}{more}\n'
    )


def rules(where: str = "P1M", rest: str = "P6M", *, more: str = "") -> str:
    """A policy that keeps `where` of mobile usage for `where` and all else for `rest`, by a clock nobody doubts."""
    head = f'zone = "Europe/Amsterdam"\nregion = "NL"\nmax_clock_step = "P999D"\nkeep_raw = "P0D"\n{more}'
    return (
        head
        + entry("calls", rest, ["telephony"])
        + entry("usage", rest, ["mobile_usage"], ["who", "when", "how_much"])
        + entry("location", where, ["mobile_usage"], ["where"])
    )


def new(directory: Path, text: str | None = None) -> Vault:
    """A vault under `rules`, with records of three moments of two days, and a row that was rejected."""
    file = directory / "rules.toml"
    file.write_text(rules() if text is None else text)
    vault = new_vault(directory, str(file), FIRST)
    moments = ["2026-11-10T12:00:00Z", "2026-11-11T12:00:00Z", "2026-11-11T23:50:00Z"]
    deliver(vault, [(f"r-{number}", moment) for number, moment in enumerate(moments)] + [("bad", "yesterday")])
    return vault


def of_two_months(directory: Path, text: str | None = None) -> Vault:
    """A vault under `rules` with three records of that UTC day: two of 28 February in Amsterdam, one of 1 March."""
    file = directory / "rules.toml"
    file.write_text(rules() if text is None else text)
    vault = new_vault(directory, str(file), MONTHS_END)
    moments = ["2027-02-28T08:00:00Z", "2027-02-28T22:50:00Z", "2027-02-28T23:30:00Z"]
    deliver(vault, [(f"r-{number}", moment) for number, moment in enumerate(moments)])
    return vault


def deliver(vault: Vault, rows: Sequence[tuple[str, str]], cell: str = CELL) -> Receipt:
    """Receives one file of calls from one cell: record id and start of each."""
    head = "class,record_id,start,a_number,b_number,served,event,duration_ms,imsi,start_cell,visited_country\n"
    lines = [
        f"mobile_usage,{name},{start},+{SUBSCRIBER},+31687654321,a,call,1000,204990000000001,{cell},DE\n"
        for name, start in rows
    ]
    return ingest(vault, "native_csv", head + "".join(lines), f"{rows[0][0]}.csv")


def asked(vault: Vault, out: Path, question: str = "activity", **order: Any) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The records and the manifest of a package."""
    given = {"questions": (question,), "reference": out.name, "classes": ("mobile_usage",)} | order
    package = answer(vault, Order(**given), out).package
    return pl.read_parquet(package / "records.parquet"), json.loads((package / "manifest.json").read_text())
