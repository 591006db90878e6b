"""Lookups by each kind of identifier over all days: from the approved warrant to the package on disk, audit included.

The peer is asked for the same rows of its indexed and merged tables and hands them out in memory: it signs nothing,
writes no files and checks no scope. Beside speed stands correctness: the two sets of rows are equal, row by row.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from benchmarks import archive
from benchmarks.archive import Lookup
from benchmarks.child import run_child
from benchmarks.cold import run_cold
from benchmarks.house import order, record_bytes
from benchmarks.network import Network
from benchmarks.peers.clickhouse import ClickHouse
from benchmarks.peers.peer import Lap
from benchmarks.scale import NOW, Scale, chosen
from benchmarks.watch import Watch
from tests.support import PASSWORD, approved, signed_in
from trafficvault import disclose
from trafficvault.disclose import Disclosure
from trafficvault.vault import Vault

LOOKUPS = {lookup.name: lookup for lookup in archive.lookups(chosen().network, archive.LAST_FULL_DAY)}
ROUNDS, LONG_ROUNDS = 5, 3
"""Of a lookup, and of one of the heaviest subscriber, which in full takes a minute."""


@pytest.fixture(scope="module")
def stored(
    tmp_path_factory: pytest.TempPathFactory, scale: Scale, network: Network, clickhouse: ClickHouse | None
) -> Vault:
    """All days in the vault and in the peer."""
    return archive.fill(tmp_path_factory.mktemp("archive"), scale, network, clickhouse)


def selecting(peer: ClickHouse, statements: tuple[str, ...]) -> Callable[[], Lap]:
    """Asks the peer for the rows of each statement."""

    def act() -> Lap:
        total = Lap(0, 0)
        for statement in statements:
            total += peer.ask(statement)[0]
        return total

    return act


@pytest.mark.bench
@pytest.mark.parametrize("name", LOOKUPS)
def test_lookup(watch: Watch, stored: Vault, clickhouse: ClickHouse | None, tmp_path: Path, name: str) -> None:
    """The act `warrant run` as the command line calls it, warm; its rows equal the peer's."""
    lookup = LOOKUPS[name]
    warrant, officer, number = approved(stored, lookup.order()), signed_in(stored, "olga"), count()

    def act() -> Disclosure:
        return disclose.run(stored, officer, warrant, tmp_path / str(next(number)))

    peers = {}
    if clickhouse is not None:
        peers = {"ClickHouse": selecting(clickhouse, lookup.statements)}
        peers |= {side: selecting(clickhouse, (statement,)) for side, statement in lookup.sides.items()}
    done, race = watch.race(act, LONG_ROUNDS if "heaviest" in name else ROUNDS, peers)

    assert done.complete
    if clickhouse is not None:
        require_equal(lookup, done.package, clickhouse)
    theirs = race.seconds(1000)
    sides = {side: theirs.pop(side) for side in lookup.sides if side in theirs}
    watch.note(f"lookup by {name}", race.ours.seconds * 1000, "ms", theirs)
    for side, milliseconds in sides.items():
        told = f"lookup by {name}, theirs as {side.upper()} party alone"
        watch.note(told, race.ours.seconds * 1000, "ms", {"ClickHouse": milliseconds})
    watch.note(f"lookup by {name}, rows", done.records, "rows")


def require_equal(lookup: Lookup, package: Path, peer: ClickHouse) -> None:
    """The package has the peer's rows, no more and no fewer, row by row."""
    ours = lookup.ours(archive.answer_of(package))
    theirs = lookup.theirs(archive.frame_of(peer.ask(statement)[1] for statement in lookup.statements))
    assert len(ours) == len(theirs), f"{lookup.name}: {len(ours)} rows of ours, {len(theirs)} of the peer's"
    assert ours == theirs, f"{lookup.name}: the rows differ"


@pytest.mark.bench
def test_contacts(watch: Watch, stored: Vault, network: Network, clickhouse: ClickHouse | None, tmp_path: Path) -> None:
    """The top of a subscriber's contacts, counted."""
    rank = network.subscribers * 3 // 100
    me = network.number(rank)
    warrant = approved(stored, order("msisdn", f"+{me}", ("mobile_usage",), "contacts"))
    officer, number = signed_in(stored, "olga"), count()
    statement = (
        f"SELECT if(a = '{me}', b, a) AS peer, count() AS times, min(start) AS first, max(start) AS last, "
        f"sum(duration) AS seconds FROM usage WHERE a = '{me}' OR b = '{me}' GROUP BY peer ORDER BY times DESC"
    )
    peers = {} if clickhouse is None else {"ClickHouse": selecting(clickhouse, (statement,))}

    def act() -> Disclosure:
        return disclose.run(stored, officer, warrant, tmp_path / str(next(number)))

    done, race = watch.race(act, ROUNDS, peers)

    assert done.records > 0
    watch.note("top contacts, p97", race.ours.seconds * 1000, "ms", race.seconds(1000))


@pytest.mark.bench
def test_cell(watch: Watch, stored: Vault, clickhouse: ClickHouse | None, tmp_path: Path) -> None:
    """Who was served by a cell in an hour."""
    begin = archive.noon(archive.LAST_FULL_DAY)
    cell, end = "204-99-0000-0005", begin + timedelta(hours=1)
    window = (begin.isoformat(), end.isoformat())
    warrant = approved(stored, order("cell", cell, ("telephony",), "cell", window))
    officer, number = signed_in(stored, "olga"), count()
    statement = (
        "SELECT if(served = 'a', a, b) AS party, imsi, imei, min(start), max(start), count() FROM calls "
        f"WHERE (start_cell = '{cell}' OR end_cell = '{cell}') AND start < {int(end.timestamp())} "
        f"AND end >= {int(begin.timestamp())} GROUP BY ALL"
    )
    peers = {} if clickhouse is None else {"ClickHouse": selecting(clickhouse, (statement,))}

    def act() -> Disclosure:
        return disclose.run(stored, officer, warrant, tmp_path / str(next(number)))

    done, race = watch.race(act, ROUNDS, peers)

    if clickhouse is not None:
        assert done.records == clickhouse.ask(statement)[1].num_rows
    watch.note("cell in an hour", race.ours.seconds * 1000, "ms", race.seconds(1000))


@pytest.mark.bench
def test_cold(watch: Watch, stored: Vault, network: Network, tmp_path: Path) -> None:
    """A median subscriber by the command line, from a process that has just started, its imports and the sign-in
    included; and of the act alone in such a process, how long it takes and what it reads.
    """
    me = f"+{network.number(network.subscribers // 2)}"
    warrant = approved(stored, order("msisdn", me, ("mobile_usage",), reference="PV-2026-000124"))
    number = count()
    vault = ("--vault", str(stored.layout.vault), "--keys", str(stored.layout.keys))

    def act() -> None:
        run_cold(NOW, "olga", PASSWORD, *vault, "warrant", "run", warrant, "--out", str(tmp_path / str(next(number))))

    _, race = watch.race(act, 5)
    told = run_child("disclose", str(stored.layout.vault.parent), warrant, str(tmp_path / str(next(number))))

    assert told["records"] > 0
    watch.note("cold process, msisdn, median: opening and answering", told["seconds"] * 1000, "ms")
    watch.note("cold process, msisdn, median: `trafficvault warrant run`", race.ours.seconds * 1000, "ms")
    share = told["read"] / record_bytes(stored) * 100
    watch.note("cold process, msisdn, median: read by system calls", share, "% of stored bytes")


@pytest.mark.bench
def test_size(watch: Watch, stored: Vault, clickhouse: ClickHouse | None, scale: Scale) -> None:
    """Bytes on disk of all days, lookup structures included."""
    rows = scale.days * (scale.day_rows + scale.call_rows + 3 * scale.native_rows)
    total, _ = watch.race(lambda: record_bytes(stored), 1)
    peers = {}
    if clickhouse is not None:
        peers["ClickHouse"] = sum(clickhouse.size(table) for table in archive.LAYOUTS) / rows
    watch.note("archive, on disk", total / rows, "bytes/record", peers)
