"""A day of an invented mobile operator, as the host operator would deliver it: MVNO pipe files of any size, by seed.

Each file has the 25 fields that `ingest/feeds/mvno_pipe.toml` reads: home and roaming data, calls and SMS in both
directions. A few subscribers make most of the traffic, evenings are busier than nights, one caller in fifty withholds
the number, and an SMS may come from a word. IMSIs are of a network that is not assigned (204-99), mobile numbers of a
range that is not issued (+31 60…). The same seed gives the same bytes.

Run `python -m benchmarks.traffic DIRECTORY --rows 1000000` to have a file to look at.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

Numbers = npt.NDArray[np.int64]

ZONE = ZoneInfo("Europe/Amsterdam")
FIELDS = 25
_FIRST_NUMBER = 31_600_000_000
_FIRST_IMSI = 204_990_000_000_000
_SECONDS_OF_DAY = 86_400

# Record type, share of rows. Data is most of what a mobile network records.
_MIX = (
    ("GP", 0.70),
    ("RGP", 0.04),
    ("SMSMO", 0.08),
    ("SMSMT", 0.07),
    ("MO", 0.05),
    ("MT", 0.04),
    ("RSMO", 0.01),
    ("RMT", 0.01),
)
_TYPES = tuple(name for name, _ in _MIX)
_DATA = ("GP", "RGP")
_CALLS = ("MO", "MT", "RMT")
_OUTGOING = ("SMSMO", "MO", "RSMO")
_ROAMING = ("RGP", "RSMO", "RMT")
_NETWORKS = (("FRAF1", "+0100"), ("DEUD1", "+0100"), ("BELMO", "+0100"), ("GBRVF", "+0000"), ("GRCPF", "+0200"))
"""Visited networks (TADIG) with their winter offset; the generator makes winter days."""
_SENDERS = ("Bezorging", "Bank", "Code", "Apotheek")
_SERVICES = ("1233", "112", "0900123456", "144")
# Activity by local hour, relative.
_HOURS = (4, 2, 1, 1, 1, 2, 5, 9, 12, 13, 13, 14, 15, 14, 14, 15, 16, 18, 19, 20, 19, 16, 11, 7)


@dataclass(frozen=True, slots=True)
class Network:
    """The invented operator: how many subscribers it has, and how uneven their traffic is (0: all the same)."""

    subscribers: int = 50_000
    skew: float = 0.8

    def number(self, subscriber: int) -> str:
        """The number of a subscriber (0: the busiest), in international form without `+`."""
        return str(_FIRST_NUMBER + subscriber)

    def imsi(self, subscriber: int) -> str:
        """The IMSI of a subscriber."""
        return str(_FIRST_IMSI + subscriber)


def file_name(sequence: int) -> str:
    """The name of a home file by its sequence number, 0 to 999999."""
    return f"S4PGWM{sequence:06d}"


def traffic(rows: int, day: date, seed: int, network: Network | None = None) -> pl.DataFrame:
    """`rows` records of `day` (local, winter time), one text column per field, by time but for some late ones."""
    network = network or Network()
    chance = np.random.default_rng([seed, day.toordinal()])
    kind = chance.choice(len(_TYPES), size=rows, p=[share for _, share in _MIX])
    served = _skewed(chance, rows, network)
    seconds = _moments(chance, rows)
    visited = chance.integers(0, len(_NETWORKS), rows)
    frame = pl.DataFrame(
        {
            "kind": _words(kind, _TYPES),
            "served": served + _FIRST_NUMBER,
            "imsi": served + _FIRST_IMSI,
            "peer": _peers(chance, rows, network),
            "at": seconds,
            "talk": _lognormal(chance, rows, mean=4.2, sigma=1.1, most=10_800),
            "session": _lognormal(chance, rows, mean=6.0, sigma=1.4, most=_SECONDS_OF_DAY),
            "down": _lognormal(chance, rows, mean=13.0, sigma=2.4, most=2**40),
            "up": _lognormal(chance, rows, mean=11.0, sigma=2.2, most=2**38),
            "network": _words(visited, tuple(name for name, _ in _NETWORKS)),
            "offset": _words(visited, tuple(offset for _, offset in _NETWORKS)),
            "word": _words(chance.integers(0, len(_SENDERS), rows), _SENDERS),
            "by_word": chance.random(rows) < 0.3,
            "withheld": chance.random(rows) < 0.02,
            "id": np.arange(rows, dtype=np.int64) + day.toordinal() * 10_000_000,
        }
    )
    return _fields(frame, day)


def write_file(path: Path, rows: int, day: date, seed: int = 1, network: Network | None = None) -> Path:
    """Writes one MVNO pipe file: no header, no trailer, no quotes."""
    traffic(rows, day, seed, network).write_csv(path, include_header=False, separator="|", quote_style="never")
    return path


def _fields(frame: pl.DataFrame, day: date) -> pl.DataFrame:
    data, call = pl.col("kind").is_in(_DATA), pl.col("kind").is_in(_CALLS)
    roaming, outgoing = pl.col("kind").is_in(_ROAMING), pl.col("kind").is_in(_OUTGOING)
    number = pl.col("served").cast(pl.String)
    home = datetime.combine(day, time(12), ZONE).strftime("%z")
    stamp = (pl.lit(datetime.combine(day, time.min)) + pl.duration(seconds=pl.col("at"))).dt.strftime("%Y%m%d%H%M%S")
    empty = pl.lit("")
    caller = (
        pl.when(pl.col("withheld"))
        .then(empty)
        .when((pl.col("kind") == "SMSMT") & pl.col("by_word"))
        .then(pl.col("word"))
        .otherwise(pl.col("peer"))
    )
    duration = pl.when(data).then(pl.col("session")).when(call).then(pl.col("talk")).otherwise(0)
    fields = [
        pl.col("kind"),
        pl.when(data | outgoing).then(number).otherwise(caller),
        pl.when(data).then(empty).when(outgoing).then(pl.col("peer")).otherwise(number),
        pl.when(outgoing).then(pl.col("peer")).otherwise(empty),
        number,
        pl.col("imsi").cast(pl.String),
        stamp,
        duration.cast(pl.String),
        pl.when(data).then(pl.col("down").cast(pl.String)).otherwise(empty),
        pl.when(data).then(pl.col("up").cast(pl.String)).otherwise(empty),
        pl.when(roaming).then(pl.col("network")).otherwise(empty),
        empty,
        pl.when(data).then(pl.lit("internet")).otherwise(empty),
        pl.when(roaming).then(pl.col("offset")).otherwise(pl.lit(home)),
        *[empty] * 5,
        pl.lit("PGWM"),
        empty,
        pl.when(data | call).then(empty).otherwise(pl.lit("1")),
        pl.lit("K") + (pl.col("served") - _FIRST_NUMBER).cast(pl.String),
        empty,
        pl.col("id").cast(pl.String),
    ]
    return frame.select(field.alias(f"field_{number}") for number, field in enumerate(fields, 1))


def _skewed(chance: np.random.Generator, rows: int, network: Network) -> Numbers:
    """A subscriber per row; the one of rank r is drawn with a weight of 1 / r ** skew."""
    weights = np.arange(1, network.subscribers + 1, dtype=np.float64) ** -network.skew
    bounds = np.cumsum(weights) / weights.sum()
    return np.minimum(np.searchsorted(bounds, chance.random(rows)), network.subscribers - 1).astype(np.int64)


def _moments(chance: np.random.Generator, rows: int) -> Numbers:
    """Seconds of the local day, ascending but for a tail of late records."""
    shares = np.array(_HOURS, dtype=np.float64)
    hour = chance.choice(24, size=rows, p=shares / shares.sum())
    seconds = np.sort(hour * 3600 + chance.integers(0, 3600, rows)).astype(np.int64)
    late = chance.integers(0, rows, max(1, rows // 50)) if rows else np.empty(0, dtype=np.int64)
    seconds[late] = chance.permutation(seconds[late])
    return seconds


def _peers(chance: np.random.Generator, rows: int, network: Network) -> pl.Series:
    """The other party: a subscriber or another mobile number, now and then a fixed one or a short code."""
    numbers = pl.Series(_FIRST_NUMBER + chance.integers(0, network.subscribers * 20, rows)).cast(pl.String)
    fixed = pl.Series(31_200_000_000 + chance.integers(0, 10_000_000, rows)).cast(pl.String)
    roll = pl.Series("roll", chance.random(rows))
    services = _words(chance.integers(0, len(_SERVICES), rows), _SERVICES)
    frame = pl.DataFrame({"roll": roll, "number": numbers, "fixed": fixed, "service": services})
    chosen = (
        pl.when(pl.col("roll") < 0.85)
        .then(pl.col("number"))
        .when(pl.col("roll") < 0.99)
        .then(pl.col("fixed"))
        .otherwise(pl.col("service"))
    )
    return frame.select(chosen.alias("peer"))["peer"]


def _lognormal(chance: np.random.Generator, rows: int, *, mean: float, sigma: float, most: int) -> Numbers:
    return np.minimum(chance.lognormal(mean, sigma, rows), most).astype(np.int64)


def _words(index: npt.NDArray[np.integer], words: tuple[str, ...]) -> pl.Series:
    return pl.Series(words).gather(pl.Series(index))


def main() -> None:
    """Writes one file into a directory."""
    parser = argparse.ArgumentParser(description="Write an MVNO pipe file with invented traffic.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--day", type=date.fromisoformat, default=date(2026, 11, 18))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sequence", type=int, default=123)
    given = parser.parse_args()
    given.directory.mkdir(parents=True, exist_ok=True)
    print(write_file(given.directory / file_name(given.sequence), given.rows, given.day, given.seed))


if __name__ == "__main__":
    main()
