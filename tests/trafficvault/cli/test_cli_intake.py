"""Verbs that take data in: feeds, sources, ingest, batch."""

from __future__ import annotations

import gzip
from datetime import timedelta

import pytest

from tests.support import Usage, usage
from tests.trafficvault.cli.commandline import CommandLine
from tests.trafficvault.prepared_vault import Prepared, bundled
from trafficvault.receipts import COUNTS

SHIPPED = {"native_csv", "native_ndjson", "asterisk_csv", "kamailio_flatstore", "mvno_pipe", "wlr_fixed"}
SOURCES = """
[acme]
feed = "asterisk_csv"
customer = "acme"
cadence = "P1D"

[mvno-home]
feed = "mvno_pipe"
sequence = "^HOME(?P<seq>[0-9]+)$"
sequence_modulus = 100
"""
OWN_FEED = """
feed = "NAME"
title = "three columns"
class = "voip"
reader = "delimited"
[[shapes]]
name = "3"
columns = ["when", "who", "note"]
[columns]
start = { from = "when", as = "epoch" }
a = { from = "who", as = "party" }
[[example]]
name = "one call"
raw = "1770131244,+31612345678,x"
[[example.records]]
start = 2026-02-03T15:07:24Z
time_precision = "s"
a_number = "+31612345678"
a_kind = "e164"
"""
NOT_A_FEED = "no pipe at all\nnone\n"


def new_rows(count: int = 2) -> str:
    """An MVNO file that the prepared vault has not seen."""
    return usage([Usage(at=f"202611131200{second:02d}") for second in range(count)])


def receipts(line: CommandLine) -> list[dict[str, object]]:
    """Every batch of the vault."""
    found: list[dict[str, object]] = line("batch", "list", "--json").object["receipts"]
    return found


def test_the_feeds_are_listed(line: CommandLine) -> None:
    """Every shipped feed is there with its class and digest, in JSON as in the table, and passes its examples."""
    rows = line("feeds", "--json").object["feeds"]
    assert {row["feed"] for row in rows} == SHIPPED
    assert {row["feed"]: row["class"] for row in rows}["native_csv"] is None
    assert all(len(row["digest"]) == 64 for row in rows)
    tested = line("feeds", "test")
    assert tested.code == 0
    assert all(name in tested.out for name in SHIPPED)
    assert "in the record" in line("feeds").out


def test_a_feed_of_the_vaults_own_is_used_like_a_shipped_one(line: CommandLine) -> None:
    """A TOML file in the vault's `feeds/` is a feed by its file's name."""
    (line.layout.feeds / "mine.toml").write_text(OWN_FEED.replace("NAME", "mine"))
    assert "mine" in {row["feed"] for row in line("feeds", "--json").object["feeds"]}
    done = line("ingest", "mine", line.file("mine.csv", "1794913398,+31612345678,x\n"), "--json")
    assert (done.code, done.object["receipts"][0]["stored"]) == (0, 1)


def test_a_feed_that_does_not_load_stops_who_uses_it_alone(line: CommandLine) -> None:
    """Its use and the lists that show it are exit code 2; another feed's files are taken in."""
    (line.layout.feeds / "wrong.toml").write_text('feed = "wrong"\n')
    file = line.file("S4PGWM000004", new_rows())
    for words in (("feeds",), ("feeds", "test"), ("ingest", "wrong", file)):
        done = line(*words)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("trafficvault: loading a feed: ")
    assert line("ingest", "mvno_pipe", file).code == 0


def test_feeds_check_tells_what_would_become_of_a_file(line: CommandLine) -> None:
    """Counts, reasons, dropped columns and content are told; nothing is stored."""
    before = receipts(line)
    file = line.file("S4PGWM000004", new_rows() + "broken\n")
    found = line("feeds", "check", "mvno_pipe", file, "--json").object

    assert found["status"] == "would be committed"
    assert found["counts"] == {"read": 3, "records": 2, "joined": 0, "ignored": 0, "rejected": 1}
    assert sum(found["rejected_by"].values()) == 1
    assert found["content"] == ["description"]
    assert "prerated_amount" in found["dropped"]
    shown = line("feeds", "check", "mvno_pipe", file)
    assert shown.code == 0
    assert "dropped as content: description" in shown.out
    assert receipts(line) == before


@pytest.mark.parametrize(
    ("feed", "content", "status"),
    [
        ("mvno_pipe", NOT_A_FEED.encode(), "refused"),
        ("wlr_fixed", bundled("WLR-DEMO-000018.CDR").replace(b"0612345678", b"0612345679"), "held"),
        ("mvno_pipe", gzip.compress(new_rows().encode(), mtime=0)[:-12], "refused"),
    ],
    ids=["no feed of that form", "totals that disagree", "cut gzip"],
)
def test_feeds_check_and_ingest_agree_on_a_bad_file(line: CommandLine, feed: str, content: bytes, status: str) -> None:
    """A file that would be held or refused is exit code 4 at the check and at the ingest, with the same reason."""
    file = line.file("WLR-DEMO-000018.CDR", content)
    checked = line("feeds", "check", feed, file, "--json")
    taken = line("ingest", feed, file, "--json")

    assert checked.code == taken.code == 4
    receipt = taken.object["receipts"][0]
    assert checked.object["status"] == f"would be {status}"
    assert receipt["status"] == status
    assert checked.object["reason"] == receipt["reason"]
    assert f"it would be {status}" in checked.err
    if status == "refused":
        assert [receipt[name] for name in COUNTS] == [0] * 8
    else:
        assert receipt["held"] == receipt["read"] > 0
    shown = line("feeds", "check", feed, file)
    assert shown.code == 4
    assert receipt["reason"] in shown.out


def test_a_class_that_the_policy_does_not_keep_is_refused(line: CommandLine) -> None:
    """Without a term nothing is stored: check and ingest both say that no entry covers the class."""
    policy = line.layout.policy
    policy.write_text(policy.read_text().replace('"voip", ', "").replace('["voip"]', "[]"))
    file = line.file("Master.csv", bundled("Master.csv"))
    for words in (("feeds", "check"), ("ingest",)):
        done = line(*words, "asterisk_csv", file, "--json")
        assert done.code == 4
        assert "no entry of policy.toml covers it" in done.out


def test_the_sources_are_listed(line: CommandLine) -> None:
    """Sources show their feed, customer and cadence; zone and region are the policy's unless they say otherwise."""
    assert line("sources").out == "sources: none\n"
    line.layout.sources.write_text(SOURCES)
    rows = line("sources", "--json").object["sources"]
    assert rows[0] == {
        "source": "acme", "feed": "asterisk_csv", "customer": "acme", "class": "voip",
        "zone": "Europe/Amsterdam", "region": "NL", "cadence": "P1D",
    }  # fmt: skip
    assert "mvno-home" in line("sources").out


def test_a_named_source_takes_the_file(line: CommandLine) -> None:
    """The receipt names the source; the same content from another source is another batch."""
    line.layout.sources.write_text(SOURCES)
    file = line.file("HOME07", new_rows())
    named = line("ingest", "mvno_pipe", file, "--source", "mvno-home", "--json").object["receipts"][0]
    implicit = line("ingest", "mvno_pipe", file, "--source", "mvno_pipe", "--json").object["receipts"][0]

    assert (named["source"], named["status"], named["stored"]) == ("mvno-home", "committed", 2)
    assert implicit["source"] == "mvno_pipe"
    assert implicit["batch_id"] != named["batch_id"]


@pytest.mark.parametrize(
    ("feed", "source", "said"),
    [
        ("nosuch", None, "looking for feed nosuch: there is none; known are asterisk_csv, "),
        ("mvno_pipe", "nosuch", "looking for source nosuch: sources.toml has acme, mvno-home"),
        ("mvno_pipe", "acme", "source acme delivers feed asterisk_csv, not mvno_pipe"),
    ],
)
def test_an_unknown_feed_or_source_is_usage(line: CommandLine, feed: str, source: str | None, said: str) -> None:
    """Exit code 2 says what there is, and nothing is stored."""
    line.layout.sources.write_text(SOURCES)
    before = receipts(line)
    options = () if source is None else ("--source", source)
    done = line("ingest", feed, line.file("x", new_rows()), *options)

    assert done.code == 2
    assert said in done.err
    assert receipts(line) == before


def test_missing_files_are_gaps(line: CommandLine) -> None:
    """Between files 1 and 3 one is missing, by the feed's own rule; a source may have its own, which wraps."""
    gap = {"source": "mvno_pipe", "first": 2, "last": 2, "from_day": "2026-11-10", "to_day": "2026-11-12"}
    assert line("sources", "gaps", "--json").object == {"gaps": [gap]}
    line.layout.sources.write_text(SOURCES)
    for number in ("98", "01"):
        file = line.file(f"HOME{number}", new_rows(int(number)))
        assert line("ingest", "mvno_pipe", file, "--source", "mvno-home").code == 0
        line.now += timedelta(seconds=1)
    gaps = line("sources", "gaps", "--json").object["gaps"]
    assert [(item["source"], item["first"], item["last"]) for item in gaps] == [
        ("mvno-home", 99, 0),
        ("mvno_pipe", 2, 2),
    ]
    assert "2026-11-12" in line("sources", "gaps").out


def test_the_same_file_again_is_no_failure(line: CommandLine) -> None:
    """The second time the receipt says already-ingested, with the counts of the first, and exit code 0."""
    file = line.file("S4PGWM000004", new_rows())
    first = line("ingest", "mvno_pipe", file, "--json").object["receipts"][0]
    again = line("ingest", "mvno_pipe", file, "--json")

    assert again.code == 0
    assert again.object["receipts"][0] == first | {"status": "already-ingested"}


def test_a_refused_file_is_read_again(line: CommandLine) -> None:
    """A file that was refused isn't known: the same bytes are tried again, and refused again."""
    file = line.file("S4PGWM000004", NOT_A_FEED)
    assert [line("ingest", "mvno_pipe", file).code for _ in range(2)] == [4, 4]
    assert [row["status"] for row in receipts(line)].count("refused") == 1


def test_one_bad_file_among_good_ones(line: CommandLine) -> None:
    """Each file has its receipt; one that was refused makes the exit code 4, and the others are stored."""
    good, bad = line.file("S4PGWM000004", new_rows()), line.file("S4PGWM000005", NOT_A_FEED)
    line.now += timedelta(seconds=1)
    done = line("ingest", "mvno_pipe", bad, good)

    assert done.code == 4
    assert "1 of 2 files were held or refused" in done.err
    assert {row["file"]: row["status"] for row in receipts(line)[-2:]} == {bad.name: "refused", good.name: "committed"}
    assert "refused: " in done.out


def test_a_file_over_the_limit_is_refused_with_a_receipt(line: CommandLine) -> None:
    """A file over `max_unpacked` is refused unread, at the check as at the ingest; the one beside it is stored."""
    settings = line.layout.settings
    settings.write_text(settings.read_text().replace('max_unpacked = "1024GiB"', 'max_unpacked = "1KiB"'))
    good, large = line.file("S4PGWM000004", new_rows()), line.file("S4PGWM000005", new_rows(40))
    assert line("feeds", "check", "mvno_pipe", large).code == 4
    done = line("ingest", "mvno_pipe", large, good, "--json")

    assert done.code == 4
    refused, taken = done.object["receipts"]
    assert (refused["status"], refused["file"], refused["read"]) == ("refused", "S4PGWM000005", 0)
    assert "`max_unpacked` is 1024; split the file" in refused["reason"]
    assert (taken["status"], taken["stored"]) == ("committed", 2)


def test_the_receipts_before_an_error_are_told(line: CommandLine) -> None:
    """An error at one file ends the run; what came before it is stored, and its receipt is printed."""
    line.now += timedelta(days=30)
    good = line.file("S4PGWM000004", new_rows())
    future = line.file("S4PGWM000005", usage([Usage(at="20270101120000")]))
    done = line("ingest", "mvno_pipe", good, future, "--json")

    assert done.code == 6
    assert "1 in the future; nothing was stored and the file stays where it is" in done.err
    assert [row["file"] for row in done.object["receipts"]] == ["S4PGWM000004"]
    assert {"S4PGWM000004", "S4PGWM000005"} & {str(row["file"]) for row in receipts(line)} == {"S4PGWM000004"}


def test_every_receipt_balances(line: CommandLine) -> None:
    """In every batch, what was read is what became of it."""
    for row in receipts(line):
        assert row["read"] == sum(int(str(row[name])) for name in COUNTS if name != "read")


def test_a_batch_is_shown_with_its_reasons(line: CommandLine, prepared: Prepared) -> None:
    """Partitions, and why rows were rejected, are in words and in JSON; an unknown id is exit code 3."""
    row = line("batch", "show", prepared.committed, "--json").object
    shown = line("batch", "show", prepared.committed)

    assert row["partitions"] == ["mobile_usage/2026-11-10", "mobile_usage/2026-11-11"]
    assert "mobile_usage/2026-11-10, mobile_usage/2026-11-11" in shown.out
    assert [f"{reason}: 1" in shown.out for reason in row["rejected_by"]] == [True]
    assert line("batch", "show", "nosuch").code == 3


def test_an_operator_accepts_a_held_batch(line: CommandLine, prepared: Prepared) -> None:
    """Held, it is whole and stored nowhere; accepted by an operator, its records are stored, once."""
    held = line("batch", "show", prepared.held, "--json").object
    assert (held["status"], held["stored"], held["partitions"]) == ("held", 0, [])
    assert list(line.layout.held.rglob("*.sealed"))
    assert line("batch", "accept", prepared.held).code == 2
    assert line("batch", "accept", prepared.held, user="olga").code == 3

    done = line("batch", "accept", prepared.held, "--json", user="otto")
    receipt = done.object["receipts"][0]
    assert (done.code, receipt["status"], receipt["stored"], receipt["held"]) == (0, "committed", 3, 0)
    assert receipt["mismatched"]
    assert list(line.layout.held.rglob("*.sealed")) == []
    assert line("verify").code == 0
    assert line("batch", "accept", prepared.held, user="otto").code == 3
    assert line("batch", "accept", "nosuch", user="otto").code == 3
    assert line("audit", "show", "--last", "1", "--json", user="aukje").object["entries"][0]["person"] == "otto"


def test_a_held_batch_whose_feed_changed_is_not_accepted(line: CommandLine, prepared: Prepared) -> None:
    """When the feed, as it is today, refuses the bytes, accepting is exit code 4 and the batch stays held."""
    (line.layout.feeds / "wlr_fixed.toml").write_text(OWN_FEED.replace("NAME", "wlr_fixed"))
    done = line("batch", "accept", prepared.held, user="otto")

    assert done.code == 4
    assert "as the feed reads it today" in done.err
    assert line("batch", "show", prepared.held, "--json").object["status"] == "held"


def test_withdrawing_a_batch_takes_two_persons(line: CommandLine, prepared: Prepared) -> None:
    """An operator proposes it, an administrator approves it, and the list says so."""
    proposed = line("batch", "withdraw", prepared.committed, "--reason", "wrong", "--json", user="otto")
    proposal = proposed.object["proposal_id"]
    assert line("proposal", "approve", proposal, user="otto").code == 3
    done = line("proposal", "approve", proposal, user="ada")
    assert done.out.startswith(f"withdrew batch {prepared.committed}: 4 records are gone, certified by 2")
    assert {item["status"] for item in receipts(line) if item["batch_id"] == prepared.committed} == {"withdrawn"}
    assert line("batch", "withdraw", prepared.committed, "--reason", "wrong", user="otto").code == 3
    assert line("batch", "withdraw", prepared.held, "--reason", "wrong", user="otto").out.startswith("proposed")
    assert line("verify").code == 0


def test_replacing_a_batch_takes_two_persons(line: CommandLine, prepared: Prepared) -> None:
    """The file is held, and stored in the place of the other when a second person agreed."""
    file = line.file("right", new_rows())
    words = ("ingest", "mvno_pipe", file, "--replaces", prepared.committed, "--reason", "half of it")
    assert line(*words[:2], file, *words[2:], user="otto").code == 2
    assert "proposed batch-replace" in line(*words, user="otto").out
    (proposal,) = line("proposal", "list", "--json", user="otto").object["proposals"]
    done = line("proposal", "approve", proposal["proposal_id"], user="ada")
    assert "is stored instead: 2 records" in done.out
    assert line("verify").code == 0
    told = line("ingest", "mvno_pipe", line.file("other", new_rows(3)), *words[3:], "--json", user="otto")
    assert told.code == 3
