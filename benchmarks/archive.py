"""Months of traffic in a vault and in ClickHouse at once, and the lookups that both are asked.

Whom a benchmark looks for goes by rank: the busiest subscriber, the one at 3 % of the ranks (97 of 100 have less
traffic) and the median. A peer's rows and the vault's are compared as tuples of what both tell of an event; the vault
leaves out what a record says of a served party that is no target, so no such column is among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from benchmarks import native
from benchmarks.house import ALL_TIME, compact, new_house, order, take
from benchmarks.network import Network
from benchmarks.peers import clickhouse as ch
from benchmarks.scale import LAST_DAY, Scale
from benchmarks.traffic import write_days
from tests.support import Order
from trafficvault.vault import Vault

Event = tuple[object, ...]
LAST_FULL_DAY = LAST_DAY - timedelta(days=1)
LAYOUTS = {
    "usage": ch.USAGE,
    "calls": ch.CALLS,
    "sessions": ch.SESSIONS,
    "bindings": ch.BINDINGS,
    "mails": ch.MAILS,
}
_NATIVE = {
    "calls": native.calls,
    "sessions": native.sessions,
    "bindings": native.bindings,
    "mails": native.mails,
}
_KINDS = {
    "GP": ("data", None),
    "RGP": ("data", None),
    "SMSMO": ("sms", "out"),
    "RSMO": ("sms", "out"),
    "SMSMT": ("sms", "in"),
    "MO": ("call", "out"),
    "MT": ("call", "in"),
    "RMT": ("call", "in"),
}


@dataclass(frozen=True, slots=True)
class Lookup:
    """One question to both: the warrant's target, classes and window; the peer's statement; the tuples of an answer.

    A warrant names a person in whatever role. `sides` are statements for a part of its rows, by the role they are of.
    """

    name: str
    target: tuple[str, str]
    classes: tuple[str, ...]
    window: tuple[str, str]
    statements: tuple[str, ...]
    ours: Callable[[pl.DataFrame], list[Event]]
    theirs: Callable[[pl.DataFrame], list[Event]]
    sides: Mapping[str, str] = field(default_factory=dict)

    def order(self, question: str = "activity") -> Order:
        """The warrant."""
        return order(*self.target, self.classes, question, self.window)


def fill(directory: Path, scale: Scale, network: Network, peer: ch.ClickHouse | None) -> Vault:
    """A vault with every day of `scale`, compacted where this version can, and the same files in the peer's indexed
    tables, merged.
    """
    vault = new_house(directory / "house")
    if peer is not None:
        for table, layout in LAYOUTS.items():
            peer.empty(table, layout, indexed=True)
    for day, path in write_days(directory, scale.first_day, scale.days, scale.day_rows, network=network):
        _both(vault, peer, path, "mvno_pipe", "usage", scale.day_rows)
        for table, make in _NATIVE.items():
            rows = scale.call_rows if table == "calls" else scale.native_rows
            file = native.write_native(directory / f"{table}-{day}", make(rows, day, 1, network))
            _both(vault, peer, file, "native_csv", table, rows)
            file.unlink()
    compact(vault)
    if peer is not None:
        for table in LAYOUTS:
            peer.merge(table)
    return vault


def _both(vault: Vault, peer: ch.ClickHouse | None, path: Path, feed: str, table: str, rows: int) -> None:
    receipt = take(vault, path, feed)
    assert receipt.stored == rows, f"{feed}: {receipt.stored} of {rows} rows are stored"
    if peer is not None:
        peer.load(table, path)


def lookups(network: Network, middle: date) -> list[Lookup]:
    """Every identifier kind, for the median, the p97 and the heaviest subscriber; `middle` is a day with traffic."""
    ranks = {
        "median": network.subscribers // 2,
        "p97": network.subscribers * 3 // 100,
        "heaviest": 0,
    }
    return [lookup for who, rank in ranks.items() for lookup in _of(network, who, rank, middle)]


def _of(network: Network, who: str, rank: int, middle: date) -> Iterable[Lookup]:
    number, imei = network.number(rank), network.imei(rank)
    yield Lookup(
        f"msisdn in any role, {who}",
        ("msisdn", f"+{number}"),
        ("mobile_usage",),
        ALL_TIME,
        (f"SELECT * FROM usage WHERE a = '{number}' OR b = '{number}'",),
        _our_usage,
        _their_usage,
        {side: f"SELECT * FROM usage WHERE {side} = '{number}'" for side in ("a", "b")},
    )
    yield Lookup(
        f"imsi, {who}",
        ("imsi", network.imsi(rank)),
        ("mobile_usage",),
        ALL_TIME,
        (f"SELECT * FROM usage WHERE imsi = {network.imsi(rank)}",),
        _our_usage,
        _their_usage,
    )
    yield Lookup(
        f"imei, {who}",
        ("imei", imei),
        ("telephony",),
        ALL_TIME,
        (f"SELECT * FROM calls WHERE imei = '{imei}'",),
        _our_calls,
        _their_calls,
    )
    begin = noon(middle)
    hour = (begin.isoformat(), (begin + timedelta(hours=1)).isoformat())
    address, port = network.address(rank), network.ports(rank)[0] + 500
    held = (
        f"public_ip = toIPv6('{address}') AND port_from <= {port} AND port_to >= {port} "
        f"AND start < {int(begin.timestamp()) + 3600} AND end >= {int(begin.timestamp())}"
    )
    yield Lookup(
        f"ip_port in an hour, {who}",
        ("ip_port", f"{address}:{port}"),
        ("internet", "binding"),
        hour,
        (f"SELECT * FROM sessions WHERE {held}", f"SELECT * FROM bindings WHERE {held}"),
        _our_sessions,
        _their_sessions,
    )
    mail = network.mail(rank)
    yield Lookup(
        f"email, {who}",
        ("email", mail),
        ("email",),
        ALL_TIME,
        (f"SELECT * FROM mails WHERE mail_from = '{mail}' OR has(mail_to, '{mail}')",),
        _our_mails,
        _their_mails,
    )


def noon(day: date) -> datetime:
    """Twelve o'clock UTC."""
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


def answer_of(package: Path) -> pl.DataFrame:
    """The rows of a package, by the names of the record."""
    return pl.read_parquet(package / "records.parquet")


def frame_of(tables: Iterable[pa.Table]) -> pl.DataFrame:
    """The rows of one or several answers of the peer, columns that one lacks null."""
    return pl.concat([pl.DataFrame(table) for table in tables], how="diagonal_relaxed")


def _our_usage(rows: pl.DataFrame) -> list[Event]:
    names = (
        "start",
        "a_number",
        "b_number",
        "event",
        "direction",
        "duration_ms",
        "bytes_down",
        "bytes_up",
        "record_id",
    )
    return sorted(
        (_epoch(start), _digits(a), _digits(b), event, direction or "", (ms or 0) // 1000, down or 0, up or 0, int(id_))
        for start, a, b, event, direction, ms, down, up, id_ in _columns(rows, names)
    )


def _their_usage(rows: pl.DataFrame) -> list[Event]:
    names = ("start", "a", "b", "event", "duration", "down", "up", "call_id")
    return sorted(
        (start, a, b, _KINDS[kind][0], _KINDS[kind][1] or "", seconds, down, up, id_)
        for start, a, b, kind, seconds, down, up, id_ in _columns(rows, names)
    )


def _our_calls(rows: pl.DataFrame) -> list[Event]:
    names = (
        "start",
        "end",
        "a_number",
        "b_number",
        "imsi",
        "imei",
        "start_cell",
        "end_cell",
        "direction",
        "duration_ms",
    )
    return sorted(
        (_epoch(start), _epoch(end), a, b, int(imsi), *rest)
        for start, end, a, b, imsi, *rest in _columns(rows, (*names, "record_id"))
    )


def _their_calls(rows: pl.DataFrame) -> list[Event]:
    names = ("start", "end", "a", "b", "imsi", "imei", "start_cell", "end_cell", "direction", "duration", "record_id")
    return sorted(_columns(rows, names))


def _our_sessions(rows: pl.DataFrame) -> list[Event]:
    names = ("start", "end", "public_ip", "port_from", "port_to", "subscriber", "bytes_up", "bytes_down", "record_id")
    return sorted(
        (_epoch(start), _epoch(end), *told, up or 0, down or 0, id_)
        for start, end, *told, up, down, id_ in _columns(rows, names)
    )


def _their_sessions(rows: pl.DataFrame) -> list[Event]:
    names = ("start", "end", "public_ip", "port_from", "port_to", "subscriber", "up", "down", "record_id")
    return sorted(
        (start, end, ".".join(str(octet) for octet in address[12:]), first, last, subscriber, up or 0, down or 0, id_)
        for start, end, address, first, last, subscriber, up, down, id_ in _columns(rows, names)
    )


def _our_mails(rows: pl.DataFrame) -> list[Event]:
    names = ("start", "mail_from", "mail_to", "count", "record_id")
    return sorted(
        (_epoch(start), sender, tuple(sorted(receivers)), count, id_)
        for start, sender, receivers, count, id_ in _columns(rows, names)
    )


def _their_mails(rows: pl.DataFrame) -> list[Event]:
    names = ("start", "mail_from", "mail_to", "count", "record_id")
    return sorted(
        (start, sender, tuple(sorted(receivers)), count, id_)
        for start, sender, receivers, count, id_ in _columns(rows, names)
    )


def _columns(rows: pl.DataFrame, names: tuple[str, ...]) -> Iterable[Any]:
    """The rows as tuples of the columns `names`; a column that the answer has not is null in each."""
    absent = [pl.lit(None).alias(name) for name in names if name not in rows.columns]
    return rows.with_columns(absent).select(names).iter_rows()


def _epoch(moment: datetime) -> int:
    return int(moment.timestamp())


def _digits(number: str | None) -> str:
    return (number or "").removeprefix("+")
