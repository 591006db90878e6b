"""The verb `compact`: what it prints, which exit codes it has, how it is narrowed."""

from __future__ import annotations

import pytest

from tests.trafficvault.cli.commandline import CommandLine
from trafficvault import locks


def test_it_needs_no_person_and_tells_each_partition(line: CommandLine) -> None:
    """One object with a list under its plural; a second run has nothing to do."""
    done = line("compact", "--json")
    assert done.code == 0
    assert done.object["left"] == done.object["faults"] == []
    assert done.object["replaced_files_gone"] is True
    first = done.object["compacted"][0]
    assert list(first) == ["class", "day", "files", "rows", "bytes_before", "bytes_after", "blocks"]
    assert (first["class"], first["day"], first["files"], first["rows"]) == ("mobile_usage", "2026-11-10", 1, 2)
    assert [item["day"] for item in done.object["compacted"]] == ["2026-11-10", "2026-11-11", "2026-11-12"]
    assert line("compact", "--json").object["compacted"] == []
    assert line("compact").out == "compacted: none\n"
    assert line("verify").code == 0
    assert line("status", "--json").object["to_compact"] == 0


def test_it_can_be_narrowed(line: CommandLine) -> None:
    """By class and by day, each more than once; a table for people."""
    assert line("compact", "--class", "voip", "--json").object["compacted"] == []
    done = line("compact", "--day", "2026-11-10", "--day", "2026-11-12", "--class", "mobile_usage", "--all")
    assert done.code == 0
    assert "2026-11-10" in done.out
    assert "2026-11-11" not in done.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--class", "fax"), "there is no class fax"),
        (("--day", "yesterday"), "a --day is not a date"),
    ],
)
def test_a_wrong_word_is_usage(line: CommandLine, words: tuple[str, ...], told: str) -> None:
    """Exit code 2, and nothing was begun."""
    done = line("compact", *words)
    assert done.code == 2
    assert told in done.err


def test_who_is_in_the_way_is_named(line: CommandLine) -> None:
    """Another compaction: exit code 8. A reader: told, and no failure."""
    with locks.compacting(line.layout):
        assert line("compact").code == 8
    with locks.reading(line.layout):
        done = line("compact")
    assert done.code == 0
    assert "a reader still has replaced files" in done.out


def test_a_fault_is_told_after_the_rest_was_done(line: CommandLine) -> None:
    """Exit code 5, with the partitions that were compacted on stdout."""
    path = next((line.layout.records / "mobile_usage" / "2026-11-11").glob("*.parquet"))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    done = line("compact", "--json")
    assert done.code == 5
    assert [item["day"] for item in done.object["compacted"]] == ["2026-11-10", "2026-11-12"]
    assert len(done.object["faults"]) == 1
    assert "verify" in done.err
