"""`sources.toml`: who delivers which feed, one table per source; and what can be told from its deliveries alone.

A source gives a feed its customer, class, zone, region, number plan, sequence rule, cadence, shape and identity.
What it leaves out is the feed's, and for zone and region the policy's. `gaps` and `overdue` are pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final, Protocol

from ingest.errors import FeedError
from ingest.record import CLASSES
from ingest.source import BARE, NumberPlan, Source
from trafficvault.errors import UsageError
from trafficvault.period import Period
from trafficvault.policy import Policy
from trafficvault.toml_table import Table, parse_table, require_region
from trafficvault.zones import zone_of

TEMPLATE: Final = """\
# Who delivers which feed, one table per source. Without a table, a feed is read as its own source: no customer, the
# feed's class, zone and region of the policy. Keys: feed, customer, class, zone, region, number_plan, identity,
# sequence, sequence_modulus, cadence, shape, keep_raw. An example, to copy and adapt:
#
# [pbx-east]
# feed = "asterisk_csv"
# customer = "example-trading"                    # whose extensions these are: 1001 here is never 1001 elsewhere
# class = "voip"
# zone = "Europe/Amsterdam"
# region = "NL"
# number_plan = { country = "31", national = "0", bare = "subscriber", area = "20", extension = [3, 4] }
# sequence = "cdr-(?P<seq>[0-9]+)[.]csv"          # the file's number, in its name
# sequence_modulus = 1000000                      # 999999 is followed by 0
# cadence = "P1D"                                 # a file is expected at least this often
# keep_raw = "P3D"                                # the delivered bytes stay, sealed, this long, for `batch reread`
"""

_FILE = "sources.toml"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MOST_PATTERN = 200
_MOST_MODULUS = 10**12


class Named(Protocol):
    """A shape of a feed's files."""

    @property
    def name(self) -> str:
        """The shape's name."""
        ...


class FeedDefaults(Protocol):
    """What a source needs to know of its feed."""

    @property
    def name(self) -> str:
        """The feed's name."""
        ...

    @property
    def record_class(self) -> str | None:
        """The class of its records; None where each record names its own."""
        ...

    @property
    def content(self) -> Sequence[str]:
        """Its columns that hold content."""
        ...

    @property
    def shapes(self) -> Sequence[Named]:
        """The shapes its files may have."""
        ...


def implicit(feed: FeedDefaults, policy: Policy) -> Source:
    """The source that a feed is read as when none is named: its own name, no customer, everything else the feed's."""
    return Source(
        name=feed.name,
        feed=feed.name,
        customer=None,
        record_class=feed.record_class,
        zone=policy.zone,
        region=policy.region,
        number_plan=None,
        shape=None,
        sequence=None,
        sequence_modulus=None,
        cadence=None,
        identity=None,
    )


def parse(text: str, feeds: Mapping[str, FeedDefaults], policy: Policy) -> dict[str, Source]:
    """The sources that the TOML `text` writes, by name. Raises `UsageError` with its first fault; see `faults`."""
    found, problems = _parse(text, feeds, policy)
    if problems:
        more = f"{len(problems) - 1} more: `config check` lists them" if len(problems) > 1 else None
        raise UsageError(problems[0], hint=more)
    return found


def faults(text: str, feeds: Mapping[str, FeedDefaults], policy: Policy) -> list[str]:
    """Every source's first fault, a sentence each; none when all are in order."""
    return _parse(text, feeds, policy)[1]


def gaps(numbers: Iterable[int], modulus: int | None = None) -> list[tuple[int, int]]:
    """The runs of missing sequence numbers between the first and the last of `numbers`, as (first, last), in order.

    `numbers` come in the order of receipt, where it is known. With a `modulus` the number after `modulus - 1` is 0:
    each number is then taken to be the one nearest to the highest so far (serial number arithmetic, RFC 1982 §3.2), so
    that late files and many rounds are told apart as long as no file is late by half a round. A run across the wrap
    has a first greater than its last.
    """
    positions: set[int] = set()
    highest: int | None = None
    for number in numbers:
        position = number
        if modulus is not None and highest is not None:
            ahead = (number - highest) % modulus
            position = highest + (ahead if ahead <= modulus // 2 else ahead - modulus)
        positions.add(position)
        highest = position if highest is None else max(highest, position)
    ordered = sorted(positions)
    runs = [(low + 1, high - 1) for low, high in pairwise(ordered) if high - low > 1]
    return runs if modulus is None else [(first % modulus, last % modulus) for first, last in runs]


def overdue(sources: Mapping[str, Source], received: Mapping[str, datetime | str], now: datetime) -> list[str]:
    """The names, sorted, of the sources that have been silent for longer than their cadence.

    `received` tells when each source last delivered, as a moment or its RFC 3339 text. A source with a cadence that has
    never delivered is silent too. A source without a cadence is expected never, and is never overdue.
    """
    silent = []
    for name, source in sources.items():
        if source.cadence is None:
            continue
        last = received.get(name)
        moment = datetime.fromisoformat(last) if isinstance(last, str) else last
        if moment is None or Period.parse(source.cadence).after(moment, source.zone) < now:
            silent.append(name)
    return sorted(silent)


def _parse(text: str, feeds: Mapping[str, FeedDefaults], policy: Policy) -> tuple[dict[str, Source], list[str]]:
    try:
        top = parse_table(text, _FILE)
    except UsageError as problem:
        return {}, [str(problem)]
    found: dict[str, Source] = {}
    problems: list[str] = []
    for name in top.names():
        try:
            found[name] = _source(name, top.table(name, f"source {name!r}"), feeds, policy)
        except UsageError as problem:
            problems.append(str(problem))
    customers = {source.customer for source in found.values() if source.customer is not None}
    problems += [
        f"reading {_FILE}: source {name!r} has the name of another source's customer, whose extensions would then "
        "be its own; give it another name or a customer"
        for name, source in found.items()
        if name in customers and source.customer != name
    ]
    return found, problems


def _source(name: str, table: Table, feeds: Mapping[str, FeedDefaults], policy: Policy) -> Source:
    if _NAME.fullmatch(name) is None:
        raise table.fault("a source's name has letters, digits, dots, dashes and underscores, at most 64")
    feed = feeds[table.one_of("feed", sorted(feeds))]
    if name in feeds and name != feed.name:
        raise table.fault(f"feed {name!r} has that name and this source delivers {feed.name!r}; give it another")
    record_class = table.one_of("class", CLASSES) if table.has("class") else feed.record_class
    zone = table.text_or("zone", policy.zone)
    try:
        zone_of(zone)
    except UsageError as problem:
        raise table.fault(f"zone: {problem}") from problem
    found = Source(
        name=name,
        feed=feed.name,
        customer=table.text_or_none("customer"),
        record_class=record_class,
        zone=zone,
        region=require_region(table) if table.has("region") else policy.region,
        number_plan=_number_plan(table.table("number_plan")) if table.has("number_plan") else None,
        shape=table.one_of("shape", [shape.name for shape in feed.shapes]) if table.has("shape") else None,
        sequence=_sequence(table) if table.has("sequence") else None,
        sequence_modulus=table.whole("sequence_modulus", 2, _MOST_MODULUS) if table.has("sequence_modulus") else None,
        cadence=_cadence(table) if table.has("cadence") else None,
        identity=_some(table, "identity") if table.has("identity") else None,
        keep_raw=_keep_raw(table, feed) if table.has("keep_raw") else None,
    )
    table.finish()
    if record_class is not None and policy.term_of(record_class) is None:
        raise table.fault(f"it stores class {record_class} and no entry of policy.toml covers that; add it to one")
    return found


def _number_plan(table: Table) -> NumberPlan:
    default = NumberPlan()
    try:
        plan = NumberPlan(
            country=table.text_or("country", default.country),
            international=_prefix(table, "international", default.international),
            national=_prefix(table, "national", default.national),
            bare=table.one_of("bare", BARE) if table.has("bare") else default.bare,
            area=table.text_or_none("area"),
            access=table.text_or_none("access"),
            extension=_lengths(table) if table.has("extension") else None,
        )
    except FeedError as problem:
        raise table.fault(str(problem)) from problem
    table.finish()
    if plan.bare == "subscriber" and plan.area is None:
        raise table.fault('bare is "subscriber" and area is missing: a local number needs its area code')
    return plan


def _prefix(table: Table, key: str, default: str) -> str:
    # Empty is a plan of its own: no such prefix is dialled.
    return "" if table.has(key) and table.value(key) == "" else table.text_or(key, default)


def _lengths(table: Table) -> tuple[int, int]:
    match table.value("extension"):
        case [int(low), int(high)]:
            return low, high
        case _:
            raise table.fault("extension must be a least and a greatest number of digits, such as [3, 4]")


def _sequence(table: Table) -> str:
    pattern = table.text("sequence")
    if len(pattern) > _MOST_PATTERN:
        raise table.fault(f"sequence has {len(pattern)} characters; it may have {_MOST_PATTERN}")
    try:
        groups: Mapping[str, int] = re.compile(pattern).groupindex
    except re.error as problem:
        raise table.fault(f"sequence is not a regular expression: {problem}") from problem
    if "seq" not in groups:
        raise table.fault("sequence needs a group named seq around the file's number: (?P<seq>[0-9]+)")
    return pattern


def _cadence(table: Table) -> str:
    cadence = table.period("cadence")
    if cadence == Period():
        raise table.fault("cadence is a period of no length")
    return str(cadence)


def _keep_raw(table: Table, feed: FeedDefaults) -> str:
    keep = table.period("keep_raw")
    if keep.months:
        raise table.fault(f"keep_raw is {keep}; write it in days or hours, months have no one length")
    if feed.content and keep != Period():
        raise table.fault(f"keep_raw is {keep} and feed {feed.name!r} has content, which is never kept; leave it out")
    return str(keep)


def _some(table: Table, key: str) -> tuple[str, ...]:
    found: Sequence[str] = table.texts(key)
    if not found:
        raise table.fault(f"{key} is an empty list; leave it out to use the feed's")
    return tuple(found)
