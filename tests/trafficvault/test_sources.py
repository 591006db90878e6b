"""`sources.toml`: who delivers what, and what its deliveries alone can tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.source import NumberPlan, Source
from tests.thorough import as_many
from trafficvault.errors import UsageError
from trafficvault.policy_file import parse as parse_policy
from trafficvault.policy_file import preset_text
from trafficvault.sources import TEMPLATE, Named, faults, gaps, implicit, overdue, parse


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape of a feed, by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class Feed:
    """As much of a feed as a source needs."""

    name: str
    record_class: str | None
    shapes: Sequence[Named] = field(default=())
    content: Sequence[str] = ()


POLICY = parse_policy(preset_text("telecom"))
FEEDS = {
    "asterisk_csv": Feed("asterisk_csv", "voip", (Shape("standard"), Shape("custom"))),
    "native_csv": Feed("native_csv", None),
    "wlr_fixed": Feed("wlr_fixed", "telephony"),
}
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def test_the_template_of_a_new_vault_has_no_source_and_an_example_that_works() -> None:
    """As it stands it names none; with its comment signs off the example is a source."""
    example = "\n".join(line[2:] for line in TEMPLATE.splitlines() if line.startswith(("# [", "# "))).partition("[pbx")
    (source,) = parse("[pbx" + example[2], FEEDS, POLICY).values()

    assert parse(TEMPLATE, FEEDS, POLICY) == {}
    assert (source.name, source.customer, source.cadence) == ("pbx-east", "example-trading", "P1D")


def test_a_source_says_everything_of_itself() -> None:
    """Every key reaches the source."""
    text = """
    [pbx-1]
    feed = "asterisk_csv"
    customer = "example-trading"
    class = "telephony"
    zone = "Asia/Kathmandu"
    region = "NP"
    number_plan = { country = "977", international = "00", national = "", bare = "subscriber", area = "1", access = "9",
                    extension = [3, 4] }
    identity = ["record_id", "start"]
    sequence = "cdr_(?P<seq>[0-9]+)"
    sequence_modulus = 1000000
    cadence = "PT5M"
    shape = "custom"
    """.replace("\n                    ", " ")

    assert parse(text, FEEDS, POLICY) == {
        "pbx-1": Source(
            name="pbx-1",
            feed="asterisk_csv",
            customer="example-trading",
            record_class="telephony",
            zone="Asia/Kathmandu",
            region="NP",
            number_plan=NumberPlan("977", "00", "", "subscriber", "1", "9", (3, 4)),
            shape="custom",
            sequence="cdr_(?P<seq>[0-9]+)",
            sequence_modulus=1_000_000,
            cadence="PT5M",
            identity=("record_id", "start"),
        )
    }


@pytest.mark.parametrize("feed", sorted(FEEDS))
def test_what_a_source_leaves_out_is_the_feed_s_and_the_policy_s(feed: str) -> None:
    """A source that names only its feed differs from the implicit one by its name alone."""
    named = parse(f'[mine]\nfeed = "{feed}"\n', FEEDS, POLICY)["mine"]
    own = implicit(FEEDS[feed], POLICY)

    assert (own.name, own.zone, own.region, own.customer) == (feed, "Europe/Amsterdam", "NL", None)
    assert own.record_class == FEEDS[feed].record_class
    assert parse(f'[{feed}]\nfeed = "{feed}"\n', FEEDS, POLICY) == {feed: own}
    assert [getattr(named, name) for name in own.__dataclass_fields__ if name != "name"] == [
        getattr(own, name) for name in own.__dataclass_fields__ if name != "name"
    ]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        pytest.param("", "feed is missing", id="no feed"),
        pytest.param('feed = "asterisk"', "feed is 'asterisk', did you mean 'asterisk_csv'", id="unknown feed"),
        pytest.param('feed = "native_csv"\nclass = "voice"', "class is 'voice'", id="unknown class"),
        pytest.param('feed = "native_csv"\nclass = "server_use"', "no entry of policy.toml covers that", id="no term"),
        pytest.param('feed = "native_csv"\nzone = "Mars/Base"', "zone: looking for time zone 'Mars/Base'", id="zone"),
        pytest.param('feed = "native_csv"\nregion = "nl"', "region is 'nl'", id="region"),
        pytest.param('feed = "native_csv"\ncadense = "P1D"', "unknown key 'cadense', did you mean 'cadence'", id="key"),
        pytest.param('feed = "native_csv"\ncadence = "daily"', "cadence: reading period 'daily'", id="cadence"),
        pytest.param('feed = "native_csv"\ncadence = "P0D"', "cadence is a period of no length", id="no cadence"),
        pytest.param('feed = "native_csv"\nsequence = "([0-9]+)"', "needs a group named seq", id="no group"),
        pytest.param('feed = "native_csv"\nsequence = "(?P<seq>"', "not a regular expression", id="no expression"),
        pytest.param(f'feed = "native_csv"\nsequence = "{"a" * 201}"', "sequence has 201 characters", id="too long"),
        pytest.param('feed = "native_csv"\nsequence_modulus = 1', "sequence_modulus is 1", id="modulus"),
        pytest.param('feed = "native_csv"\nidentity = []', "identity is an empty list", id="no identity"),
        pytest.param(
            'feed = "asterisk_csv"\nshape = "customs"', "shape is 'customs', did you mean 'custom'", id="shape"
        ),
        pytest.param('feed = "native_csv"\nshape = "a"', "shape is 'a'; none is known here", id="feed without shapes"),
        pytest.param(
            'feed = "native_csv"\nnumber_plan = { bare = "local" }', "number_plan: bare is 'local'", id="bare"
        ),
        pytest.param('feed = "native_csv"\nnumber_plan = { bare = "subscriber" }', "area is missing", id="no area"),
        pytest.param('feed = "native_csv"\nnumber_plan = { country = "NL" }', "country must be digits", id="country"),
        pytest.param('feed = "native_csv"\nnumber_plan = { extension = [4, 3] }', "extension must be", id="extension"),
        pytest.param('feed = "native_csv"\nnumber_plan = { extension = "3" }', "extension must be", id="no lengths"),
        pytest.param('feed = "native_csv"\nnumber_plan = { prefix = "0" }', "unknown key 'prefix'", id="plan key"),
    ],
)
def test_a_fault_of_a_source_is_told_in_a_sentence(lines: str, words: str) -> None:
    """The sentence names the source; the file's other sources are still judged."""
    found = faults(f'[mine]\n{lines}\n[other]\nfeed = "no"\n', FEEDS, POLICY)

    assert len(found) == 2
    assert found[0].startswith("reading sources.toml, source 'mine'")
    assert words in found[0]
    assert "source 'other'" in found[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "it is not TOML"),
        ("mine = 1", "mine must be a table"),
        ('["a b"]\nfeed = "native_csv"', "a source's name has letters"),
        ('[wlr_fixed]\nfeed = "native_csv"', "feed 'wlr_fixed' has that name"),
    ],
)
def test_what_is_not_a_table_of_sources_is_refused(text: str, words: str) -> None:
    """Names are short words, and a feed's name stays the feed's own source."""
    with pytest.raises(UsageError, match=words):
        parse(text, FEEDS, POLICY)


def test_the_hint_tells_how_many_faults_are_left() -> None:
    """Opening a vault stops at the first fault and says that there are others."""
    with pytest.raises(UsageError) as caught:
        parse('[a]\nfeed = "x"\n[b]\nfeed = "y"\n', FEEDS, POLICY)

    assert caught.value.hint == "1 more: `config check` lists them"


@pytest.mark.parametrize(
    ("numbers", "modulus", "missing"),
    [
        pytest.param([], None, [], id="nothing came"),
        pytest.param([7], 10, [], id="one file"),
        pytest.param([1, 2, 5, 9, 10], None, [(3, 4), (6, 8)], id="two holes"),
        pytest.param([5, 3, 1, 3], None, [(2, 2), (4, 4)], id="late and double files"),
        pytest.param([999_998, 999_999, 0, 1], 1_000_000, [], id="a whole wrap"),
        pytest.param(
            [999_998, 0, 2], 1_000_000, [(999_999, 999_999), (1, 1)], id="a hole before the wrap and one after"
        ),
        pytest.param([999_998, 3], 1_000_000, [(999_999, 2)], id="a hole across the wrap"),
        pytest.param([0, 1, 999_998], 1_000_000, [(999_999, 999_999)], id="sorted, the wrap is still seen"),
        pytest.param([8, 9, 0, 1, 2, 3, 5, 6, 7, 8, 9, 1], 10, [(4, 4), (0, 0)], id="a hole in each of two rounds"),
        pytest.param([3, 1_000_002], 1_000_000, [], id="a number above the modulus is taken within it"),
    ],
)
def test_missing_numbers_are_found(numbers: list[int], modulus: int | None, missing: list[tuple[int, int]]) -> None:
    """A hole is a run of numbers that the source must have used and that did not come."""
    assert gaps(numbers, modulus) == missing


@given(
    start=st.integers(0, 99),
    lost=st.sets(st.integers(1, 298)),
    swaps=st.lists(st.integers(0, 298), max_size=40),
)
@settings(max_examples=as_many(50))
def test_three_rounds_with_losses_and_late_files_give_exactly_the_losses(
    start: int, lost: set[int], swaps: list[int]
) -> None:
    """As long as no hole or delay comes near half a round, every lost file is named and no other."""
    lost = {item for item in lost if item % 7 < 5}  # runs of at most five, so that no hole is half a round
    came = [item for item in range(300) if item not in lost]
    for place in swaps:
        if place + 1 < len(came):
            came[place], came[place + 1] = came[place + 1], came[place]
    found = gaps([(start + item) % 100 for item in came], 100)
    named = sum((last - first) % 100 + 1 for first, last in found)

    assert named == len(lost)
    assert {first for first, _ in found} == {(start + item) % 100 for item in lost if item - 1 not in lost}


def _source(name: str, cadence: str | None, zone: str = "Europe/Amsterdam") -> Source:
    return Source(name, "native_csv", None, "voip", zone, "NL", None, None, None, None, cadence, None)


def test_a_source_is_overdue_after_its_cadence() -> None:
    """To the moment: what is due now is not yet late; who never delivered is; who has no cadence never is."""
    sources = {
        name: _source(name, cadence)
        for name, cadence in (("daily", "P1D"), ("hourly", "PT1H"), ("never", "P1D"), ("free", None))
    }
    received: dict[str, datetime | str] = {"daily": NOW - timedelta(days=1), "hourly": "2026-11-20T22:59:59Z"}

    assert overdue(sources, received, NOW) == ["hourly", "never"]
    assert overdue(sources, received, NOW + timedelta(microseconds=1)) == ["daily", "hourly", "never"]


def test_a_day_of_cadence_is_a_day_of_the_source_s_zone() -> None:
    """On the day of 25 hours a daily file may come an hour later."""
    received = {"daily": datetime(2026, 10, 24, 10, tzinfo=UTC)}
    now = datetime(2026, 10, 25, 10, 30, tzinfo=UTC)

    assert overdue({"daily": _source("daily", "P1D")}, received, now) == []
    assert overdue({"daily": _source("daily", "P1D", "UTC")}, received, now) == ["daily"]


def test_a_sequence_rule_reads_the_number_of_a_file() -> None:
    """The group `seq` is what a reader takes the number from."""
    source = parse('[a]\nfeed = "native_csv"\nsequence = "S4(?P<seq>[0-9]{6})"\n', FEEDS, POLICY)["a"]
    assert source.sequence is not None
    match = re.search(source.sequence, "S4000123")

    assert match is not None
    assert match["seq"] == "000123"
