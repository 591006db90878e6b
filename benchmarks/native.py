"""The classes that an MVNO pipe file has not: sessions with public addresses and ports, CGNAT bindings, mail, and calls
that tell device and cell. Made as files of the shipped feed `native_csv`, from the subscribers of `benchmarks.network`.

Each function gives one day as a frame of text columns under the record's own names; `write_native` makes the file.
Times are RFC 3339 in UTC, addresses text, lists JSON. The same seed gives the same bytes.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.network import BLOCK, BLOCKS, DEVICES, FIRST_IMSI, SECONDS, Network, Numbers, moments

_CELLS = 4_000
_ID = 1_000_000


def calls(rows: int, day: date, seed: int, network: Network) -> pl.DataFrame:
    """Calls of class `telephony`: both numbers, IMSI, the IMEI of one of a few devices, the first and the last cell."""
    chance = np.random.default_rng([seed, day.toordinal(), 1])
    served, other = network.ranks(chance, rows), chance.integers(0, network.subscribers * 4, rows)
    start = moments(chance, rows)
    talk = np.minimum(chance.lognormal(4.2, 1.1, rows), 10_800).astype(np.int64)
    out = chance.random(rows) < 0.55
    # Most traffic is of the newest device; everybody is mostly at home.
    device = served * DEVICES + (chance.random(rows) ** 4 * DEVICES).astype(np.int64)
    home = served % _CELLS
    first = np.where(chance.random(rows) < 0.6, home, chance.integers(0, _CELLS, rows))
    last = np.where(chance.random(rows) < 0.8, first, chance.integers(0, _CELLS, rows))
    mine, theirs = _number(served), _number(other)
    return pl.DataFrame(
        {
            "class": _same("telephony", rows),
            "record_id": _ids("c", day, rows),
            "start": _stamps(day, start),
            "end": _stamps(day, start + talk),
            "served": pl.Series(["b", "a"]).gather(out.astype(np.int64)),
            "a_number": pl.Series(np.where(out, mine, theirs)),
            "b_number": pl.Series(np.where(out, theirs, mine)),
            "imsi": pl.Series(served + FIRST_IMSI).cast(pl.String),
            "imei": _padded(10_000_000_000 + device, 14),
            "start_cell": _cell(first),
            "end_cell": _cell(last),
            "event": _same("call", rows),
            "direction": pl.Series(["in", "out"]).gather(out.astype(np.int64)),
            "duration_ms": pl.Series(talk * 1000).cast(pl.String),
        }
    )


def sessions(rows: int, day: date, seed: int, network: Network) -> pl.DataFrame:
    """Sessions of class `internet`: the public address, the ports of the subscriber's block, the volume."""
    chance = np.random.default_rng([seed, day.toordinal(), 2])
    served = network.ranks(chance, rows)
    start = moments(chance, rows)
    length = np.minimum(chance.lognormal(7.0, 1.2, rows), SECONDS).astype(np.int64)
    frame = _block(served, rows)
    return pl.DataFrame(
        {
            "class": _same("internet", rows),
            "record_id": _ids("s", day, rows),
            "start": _stamps(day, start),
            "end": _stamps(day, np.minimum(start + length, SECONDS - 1)),
            **frame,
            "event": _same("data", rows),
            "bytes_up": pl.Series(np.minimum(chance.lognormal(11, 2.2, rows), 2**38).astype(np.int64)).cast(pl.String),
            "bytes_down": pl.Series(np.minimum(chance.lognormal(13, 2.4, rows), 2**40).astype(np.int64)).cast(
                pl.String
            ),
        }
    )


def bindings(rows: int, day: date, seed: int, network: Network) -> pl.DataFrame:
    """Bindings: who held which CGNAT port block for some hours, and every tenth row an IPv6 prefix for the day."""
    chance = np.random.default_rng([seed, day.toordinal(), 3])
    served = chance.integers(0, network.subscribers, rows)
    start = chance.integers(0, SECONDS // 2, rows)
    end = np.minimum(start + chance.integers(1_800, SECONDS // 2, rows), SECONDS - 1)
    prefixed = pl.Series(np.arange(rows) % 10 == 0)
    prefixes = pl.Series([network.prefix(int(rank)) if rank >= 0 else "" for rank in np.where(prefixed, served, -1)])
    frame = pl.DataFrame(
        {
            "class": _same("binding", rows),
            "record_id": _ids("b", day, rows),
            "start": _stamps(day, start),
            "end": _stamps(day, end),
            **_block(served, rows),
            "event": _same("port_block", rows),
            "prefixed": prefixed,
            "prefix": prefixes,
        }
    )
    return frame.with_columns(
        public_ip=pl.when("prefixed").then("prefix").otherwise("public_ip"),
        prefix_length=pl.when("prefixed").then(pl.lit("56")),
        port_from=pl.when(~pl.col("prefixed")).then("port_from"),
        port_to=pl.when(~pl.col("prefixed")).then("port_to"),
        event=pl.when("prefixed").then(pl.lit("lease")).otherwise("event"),
    ).drop("prefixed", "prefix")


def mails(rows: int, day: date, seed: int, network: Network) -> pl.DataFrame:
    """Mail traffic: the envelope's sender and its one to three recipients, in or out."""
    chance = np.random.default_rng([seed, day.toordinal(), 4])
    sender = network.ranks(chance, rows)
    receivers = [chance.integers(0, network.subscribers * 2, rows) for _ in range(3)]
    many = chance.integers(1, 4, rows)
    quoted = [pl.Series(receiver).cast(pl.String) for receiver in receivers]
    frame = pl.DataFrame({"many": many, "0": quoted[0], "1": quoted[1], "2": quoted[2]})
    named = [pl.format('"user{}@example.org"', pl.col(str(index))) for index in range(3)]
    listed = [pl.when(pl.col("many") > index).then(name) for index, name in enumerate(named)]
    recipients = frame.select(pl.format("[{}]", pl.concat_str(listed, separator=",", ignore_nulls=True)))
    return pl.DataFrame(
        {
            "class": _same("email", rows),
            "record_id": _ids("m", day, rows),
            "start": _stamps(day, moments(chance, rows)),
            "served": _same("none", rows),
            "mail_from": pl.select(pl.format("user{}@example.org", pl.lit(pl.Series(sender)))).to_series(),
            "mail_to": recipients.to_series(),
            "event": _same("mail", rows),
            "count": pl.Series(many).cast(pl.String),
        }
    )


def write_native(path: Path, frame: pl.DataFrame) -> Path:
    """Writes `frame` as a file of the feed `native_csv`."""
    frame.write_csv(path, quote_style="necessary", null_value="")
    return path


def write_ndjson(path: Path, frame: pl.DataFrame) -> Path:
    """Writes `frame` as a file of the feed `native_ndjson`, whole numbers and lists as JSON has them."""
    whole = ("duration_ms", "bytes_up", "bytes_down", "count", "port_from", "port_to", "prefix_length")
    frame = frame.with_columns(pl.col(name).cast(pl.Int64) for name in frame.columns if name in whole)
    lists = [pl.col(name).str.json_decode(pl.List(pl.String)) for name in frame.columns if name in ("mail_to",)]
    frame.with_columns(lists).write_ndjson(path)
    return path


def _block(served: Numbers, rows: int) -> dict[str, pl.Series]:
    """Address, ports and subscriber of each row's CGNAT block, all reckoned from the rank."""
    address = (198 << 24) + (18 << 16) + served // BLOCKS
    octets = [pl.Series(address >> shift & 255).cast(pl.String) for shift in (24, 16, 8, 0)]
    dotted = pl.select(pl.concat_str([pl.lit(octet) for octet in octets], separator=".")).to_series()
    first = 1_024 + served % BLOCKS * BLOCK
    return {
        "public_ip": dotted,
        "port_from": pl.Series(first).cast(pl.String),
        "port_to": pl.Series(first + BLOCK - 1).cast(pl.String),
        "subscriber": pl.select(pl.format("K{}", pl.lit(pl.Series(served)))).to_series(),
    }


def _same(text: str, rows: int) -> pl.Series:
    return pl.repeat(text, rows, eager=True)


def _ids(letter: str, day: date, rows: int) -> pl.Series:
    first = day.toordinal() * _ID
    return pl.select(pl.format(letter + "-{}", pl.int_range(first, first + rows))).to_series()


def _stamps(day: date, seconds: Numbers) -> pl.Series:
    midnight = datetime.combine(day, time.min, UTC)
    moment = pl.lit(midnight).dt.replace_time_zone(None) + pl.duration(seconds=pl.lit(pl.Series(seconds)))
    return pl.select(moment.dt.strftime("%Y-%m-%dT%H:%M:%SZ")).to_series()


def _padded(numbers: Numbers, digits: int) -> pl.Series:
    return pl.Series(numbers).cast(pl.String).str.zfill(digits)


def _number(ranks: Numbers) -> pl.Series:
    return pl.select(pl.format("+{}", pl.lit(pl.Series(31_600_000_000 + ranks)))).to_series()


def _cell(numbers: Numbers) -> pl.Series:
    """A CGI of an invented area: MCC-MNC-LAC-CI, lower-case hex."""
    names = pl.Series([f"204-99-{number // 100:04x}-{number:04x}" for number in range(_CELLS)])
    return names.gather(pl.Series(numbers))
