"""A day of an invented mobile operator, as the host operator would deliver it: MVNO pipe files of any size, by seed.

Each file has the 25 fields that `ingest/feeds/mvno_pipe.toml` reads: home and roaming data, calls and SMS. A few
subscribers make most of the traffic, evenings are busier than nights, everybody has a circle of peers, one caller in
fifty withholds the number, and an SMS may come from a word. What goes from one subscriber to another is there twice, as
the caller's record and the called party's, of the same moment and duration.

A day is made in parts of bounded size, in time order, each from its own seed: any number of rows takes the memory of
one part, and the same seed gives the same bytes. Run `python -m benchmarks.traffic DIRECTORY --rows 1000000` for a file
to look at.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import BinaryIO
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from benchmarks.network import FIRST_IMSI, FIRST_NUMBER, SECONDS, Network, Numbers, moments

ZONE = ZoneInfo("Europe/Amsterdam")
FIELDS = 25
PART = 500_000
"""Rows that are made at once."""
_IDS_OF_A_DAY = 1_000_000_000

# Record type and share of events; data is most of what a mobile network records.
_MIX = (
    ("GP", 0.70),
    ("RGP", 0.04),
    ("SMSMO", 0.09),
    ("SMSMT", 0.06),
    ("MO", 0.06),
    ("MT", 0.03),
    ("RSMO", 0.01),
    ("RMT", 0.01),
)
_TYPES = tuple(name for name, _ in _MIX)
_MIRRORED = {"MO": "MT", "SMSMO": "SMSMT"}
_IS_DATA, _IS_CALL, _IS_OUT, _IS_ROAMING = (
    np.array([name in names for name in _TYPES])
    for names in (("GP", "RGP"), ("MO", "MT", "RMT"), ("SMSMO", "MO", "RSMO"), ("RGP", "RSMO", "RMT"))
)
_NETWORKS = (
    ("FRAF1", "Europe/Paris"),
    ("DEUD1", "Europe/Berlin"),
    ("BELMO", "Europe/Brussels"),
    ("GBRVF", "Europe/London"),
    ("GRCPF", "Europe/Athens"),
)
"""Visited networks (TADIG) and their zones."""
_SENDERS = ("Bezorging", "Bank", "Code", "Apotheek")
_SERVICES = ("1233", "112", "0900123456", "144")
_CIRCLE = 60
"""How many peers a subscriber has."""
_PEERS_PER_SUBSCRIBER = 20


def file_name(sequence: int) -> str:
    """The name of a home file by its sequence number, 0 to 999999."""
    return f"S4PGWM{sequence:06d}"


def traffic(
    rows: int, day: date, seed: int, network: Network | None = None, part: int = 0, parts: int = 1
) -> pl.DataFrame:
    """`rows` records of part `part` of `parts` of `day` (local), one column per field, in time order but for some late
    ones.
    """
    network = network or Network()
    chance = np.random.default_rng([seed, day.toordinal(), part, parts])
    kind = np.searchsorted(np.cumsum([share for _, share in _MIX])[:-1], chance.random(rows), side="right")
    served = network.ranks(chance, rows)
    peer = _peers(chance, served, network)
    seconds = moments(chance, rows, part, parts)
    # What goes from subscriber to subscriber stands twice, side by side; the surplus is cut at the end of the part.
    twice = (peer < network.subscribers) & np.isin(kind, [_TYPES.index(name) for name in _MIRRORED])
    of = np.repeat(np.arange(rows), 1 + twice)[:rows]
    second = np.zeros(rows, dtype=np.bool_)
    second[1:] = of[1:] == of[:-1]
    swap = np.arange(len(_TYPES))
    for mine, theirs in _MIRRORED.items():
        swap[_TYPES.index(mine)] = _TYPES.index(theirs)
    kind, served, peer = kind[of], served[of], peer[of]
    kind = np.where(second, swap[kind], kind)
    served, peer = np.where(second, peer, served), np.where(second, served, peer)
    session = _lognormal(chance, rows, mean=6.0, sigma=1.4, most=SECONDS)
    talk = _lognormal(chance, rows, mean=4.2, sigma=1.1, most=10_800)[of]
    hidden = chance.random(rows)[of]
    visited = chance.integers(0, len(_NETWORKS), rows)
    volumes = [
        _lognormal(chance, rows, mean, sigma, most) for mean, sigma, most in ((13, 2.4, 2**40), (11, 2.2, 2**38))
    ]
    data, call, out, roaming = (mask[kind] for mask in (_IS_DATA, _IS_CALL, _IS_OUT, _IS_ROAMING))
    word = (hidden > 0.7) & (kind == _TYPES.index("SMSMT")) & ~second
    at = seconds[of]
    names = _names(network)
    number, other = names.gather(served), names.gather(peer)
    words = pl.Series(_SENDERS).gather(visited % len(_SENDERS))
    home = datetime.combine(day, time(12), ZONE).strftime("%z")
    abroad = [datetime.combine(day, time(12), ZoneInfo(zone)).strftime("%z") for _, zone in _NETWORKS]
    nothing = pl.lit(None, dtype=pl.String)
    frame = pl.DataFrame(
        {
            "kind": pl.Series(_TYPES).gather(kind),
            "number": number,
            "other": other,
            "data": data,
            "call": call,
            "out": out,
            "roaming": roaming,
            "hidden": hidden < 0.02,
            "word": word,
            "words": words,
            "imsi": served + FIRST_IMSI,
            "stamp": int(f"{day:%Y%m%d}") * 1_000_000 + at // 3600 * 10_000 + at // 60 % 60 * 100 + at % 60,
            "duration": np.where(data, session, np.where(call, talk, 0)),
            "down": volumes[0],
            "up": volumes[1],
            "network": pl.Series([name for name, _ in _NETWORKS]).gather(visited),
            "offset": pl.Series(abroad).gather(visited),
            "customer": _customers(network).gather(served),
            "id": np.arange(rows, dtype=np.int64) + (day.toordinal() * _IDS_OF_A_DAY + part * (_IDS_OF_A_DAY // parts)),
        }
    )
    caller = pl.when("word").then("words").when(~pl.col("hidden")).then("other")
    fields: list[pl.Expr] = [
        pl.col("kind"),
        pl.when(pl.col("data") | pl.col("out")).then("number").otherwise(caller),
        pl.when("data").then(nothing).when("out").then("other").otherwise("number"),
        pl.when("out").then("other"),
        pl.col("number"),
        pl.col("imsi"),
        pl.col("stamp"),
        pl.col("duration"),
        pl.when("data").then("down"),
        pl.when("data").then("up"),
        pl.when("roaming").then("network"),
        nothing,
        pl.when("data").then(pl.lit("internet")),
        pl.when("roaming").then("offset").otherwise(pl.lit(home)),
        *[nothing] * 5,
        pl.lit("PGWM"),
        nothing,
        pl.when(~(pl.col("data") | pl.col("call"))).then(pl.lit(1)),
        pl.col("customer"),
        nothing,
        pl.col("id"),
    ]
    return frame.select(field.alias(f"field_{number}") for number, field in enumerate(fields, 1))


def write_part(file: BinaryIO, frame: pl.DataFrame) -> None:
    """Appends `frame` as an MVNO pipe file has it: no header, no trailer, no quotes."""
    frame.write_csv(file, include_header=False, separator="|", quote_style="never")


def write_file(path: Path, rows: int, day: date, seed: int = 1, network: Network | None = None) -> Path:
    """Writes one MVNO pipe file with the whole day, part by part."""
    parts = max(1, -(-rows // PART))
    with path.open("wb") as file:
        for part in range(parts):
            share = rows * (part + 1) // parts - rows * part // parts
            write_part(file, traffic(share, day, seed, network, part, parts))
    return path


def write_days(
    directory: Path, first: date, days: int, rows: int, seed: int = 1, network: Network | None = None
) -> Iterator[tuple[date, Path]]:
    """A file per day, each removed when the next is asked for: months of traffic take the disk of one day."""
    for number in range(days):
        day = first + timedelta(days=number)
        path = write_file(directory / file_name(number), rows, day, seed, network)
        try:
            yield day, path
        finally:
            path.unlink()


def _peers(chance: np.random.Generator, served: Numbers, network: Network) -> Numbers:
    """The other party of each row, as a position in `_names`: one of the subscriber's circle, near ones more often."""
    near = (chance.random(served.size) ** 3 * _CIRCLE).astype(np.uint64)
    mixed = (served.astype(np.uint64) * np.uint64(_CIRCLE) + near) * np.uint64(0x9E3779B97F4A7C15)
    share = (mixed >> np.uint64(40)).astype(np.float64) / 2**24
    pool = network.subscribers * _PEERS_PER_SUBSCRIBER
    peers = (share * share * pool).astype(np.int64)
    service = chance.random(served.size) < 0.01
    peers[service] = pool + peers[service] % len(_SERVICES)
    # Nobody calls himself.
    return np.where(peers == served, (peers + 1) % max(2, network.subscribers), peers)


@cache
def _names(network: Network) -> pl.Series:
    """Every number that can be a party: subscribers by rank, other mobile and fixed numbers, services."""
    pool = network.subscribers * _PEERS_PER_SUBSCRIBER
    mobile = pool * 17 // 20
    numbers = pl.concat(
        [
            pl.int_range(FIRST_NUMBER, FIRST_NUMBER + mobile, eager=True),
            pl.int_range(31_200_000_000, 31_200_000_000 + pool - mobile, eager=True),
        ]
    )
    return pl.concat([numbers.cast(pl.String), pl.Series(_SERVICES)])


@cache
def _customers(network: Network) -> pl.Series:
    return pl.Series([f"K{rank}" for rank in range(network.subscribers)])


def _lognormal(chance: np.random.Generator, rows: int, mean: float, sigma: float, most: int) -> Numbers:
    drawn = chance.standard_normal(rows, dtype=np.float32)
    drawn *= np.float32(sigma)
    drawn += np.float32(mean)
    return np.minimum(np.exp(drawn), np.float32(most)).astype(np.int64)


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
