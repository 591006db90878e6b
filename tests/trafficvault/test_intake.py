"""The door of intake: the feed and source of a file, and what a check tells without storing anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import Usage, opened, usage
from tests.trafficvault.prepared_vault import HELD_FILE, Prepared, bundled
from trafficvault import intake
from trafficvault.errors import BatchError, RefusedError, UsageError
from trafficvault.vault import Vault

ROWS = usage([Usage(at="20261113120000")])
SOURCES = """
[home]
feed = "mvno_pipe"
customer = "acme"

[odd]
feed = "mvno_pipe"
identity = ["nosuch"]
"""


@pytest.fixture
def vault(stored: Vault) -> Vault:
    """The prepared vault with two sources."""
    stored.layout.sources.write_text(SOURCES)
    return opened(stored)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that the vault has not seen."""
    path = tmp_path / "S4PGWM000004"
    path.write_text(ROWS)
    return path


def test_a_feed_is_its_own_source_unless_one_is_named(vault: Vault) -> None:
    """Without a source, or by the feed's own name, it is the implicit one: no customer, the feed's class."""
    for name in (None, "mvno_pipe"):
        feed, source = intake.feed_and_source(vault, "mvno_pipe", name)
        assert (feed.name, source.name, source.customer) == ("mvno_pipe", "mvno_pipe", None)
    assert intake.feed_and_source(vault, "mvno_pipe", "home")[1].customer == "acme"


def test_a_source_of_the_feeds_name_takes_its_place(stored: Vault) -> None:
    """Who gives sources.toml a table by the feed's name means that one."""
    stored.layout.sources.write_text('[mvno_pipe]\nfeed = "mvno_pipe"\ncustomer = "acme"\n')
    vault = opened(stored)
    assert intake.feed_and_source(vault, "mvno_pipe", "mvno_pipe")[1].customer == "acme"


@pytest.mark.parametrize(("feed", "source"), [("nosuch", None), ("mvno_pipe", "nosuch"), ("wlr_fixed", "home")])
def test_what_is_unknown_is_usage(vault: Vault, feed: str, source: str | None) -> None:
    """An unknown feed or source, or a source of another feed."""
    with pytest.raises(UsageError):
        intake.feed_and_source(vault, feed, source)


def test_without_sources_none_is_known(stored: Vault) -> None:
    """The sentence says so."""
    with pytest.raises(UsageError, match=r"sources\.toml has none"):
        intake.feed_and_source(stored, "mvno_pipe", "home")


def test_a_check_stores_nothing(vault: Vault, file: Path) -> None:
    """It counts as `ingest` would; batches, files and log stay as they were."""
    before = intake.batches(vault), vault.audit.show(100), sorted(vault.layout.vault.rglob("*"))
    found = intake.check(vault, "mvno_pipe", "home", file)
    assert (found.status, found.counts["records"], found.reason) == ("would be committed", 1, None)
    assert (intake.batches(vault), vault.audit.show(100), sorted(vault.layout.vault.rglob("*"))) == before


def test_a_source_that_does_not_fit_is_usage(vault: Vault, file: Path) -> None:
    """An identity that the feed doesn't have is told by check and ingest alike."""
    with pytest.raises(UsageError, match="reading a file of source odd: "):
        intake.check(vault, "mvno_pipe", "odd", file)
    with pytest.raises(UsageError, match="reading a file of source odd: "):
        intake.ingest(vault, "mvno_pipe", "odd", file)


def test_a_held_batch_of_a_source_that_changed(stored: Vault, tmp_path: Path) -> None:
    """Its feed or source must fit when it is accepted: what doesn't is usage, a source that is gone too."""
    stored.layout.sources.write_text('[exchange]\nfeed = "wlr_fixed"\n')
    path = tmp_path / HELD_FILE
    path.write_bytes(bundled(HELD_FILE))
    held = intake.ingest(opened(stored), "wlr_fixed", "exchange", path)
    assert held.status == "held"
    stored.layout.sources.write_text('[exchange]\nfeed = "wlr_fixed"\nidentity = ["nosuch"]\n')
    with pytest.raises(UsageError, match="reading a file of source exchange: "):
        intake.accept(opened(stored), "otto", held.batch_id)
    stored.layout.sources.write_text("")
    with pytest.raises(UsageError, match="looking for source exchange"):
        intake.accept(opened(stored), "otto", held.batch_id)
    assert intake.batch(stored, held.batch_id).status == "held"


def test_a_held_batch_of_a_feed_that_changed(stored: Vault, prepared: Prepared) -> None:
    """Where the feed of today refuses the bytes, accepting says so, and the batch stays held."""
    text = (Path(__file__).resolve().parents[2] / "ingest" / "feeds" / "native_ndjson.toml").read_text()
    (stored.layout.feeds / "wlr_fixed.toml").write_text(text.replace('"native_ndjson"', '"wlr_fixed"'))
    vault = opened(stored)
    with pytest.raises((BatchError, UsageError)):
        intake.accept(vault, "otto", prepared.held)
    assert intake.batch(vault, prepared.held).status == "held"


def test_a_file_over_the_limit_is_refused_before_it_is_read(vault: Vault, file: Path) -> None:
    """Its receipt has the file's digest and no counts, and the same file again is refused again.

    A feed whose file is read whole has a bound of its own.
    """
    small = replace(vault, settings=replace(vault.settings, max_unpacked=10, max_file=20))
    first, again = (intake.ingest(small, "mvno_pipe", None, file) for _ in range(2))
    assert (first.status, first.read) == ("refused", 0)
    assert first.reason is not None
    assert "`max_unpacked` is 10" in first.reason
    assert again == first
    assert intake.check(small, "mvno_pipe", None, file).status == "would be refused"
    assert "`max_file` is 20" in str(intake.check(small, "wlr_fixed", None, file).reason)
    assert intake.ingest(vault, "mvno_pipe", None, file).sha256 == first.sha256


def test_an_unknown_batch_is_refused(stored: Vault, prepared: Prepared) -> None:
    """`batch list` shows those there are; what was rejected of one is told by row and reason."""
    with pytest.raises(RefusedError, match="there is none; `batch list` shows them"):
        intake.batch(stored, "0" * 24)
    (row,) = intake.rejected_rows(stored, prepared.committed)
    assert row["row"] == 5
    assert intake.rejected_rows(stored, prepared.held) == []
