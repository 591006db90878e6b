"""The shelf of feeds: shipped and own, loaded when they are used."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ingest.feed import SHIPPED, load_feed
from trafficvault import shelf
from trafficvault.errors import UsageError
from trafficvault.shelf import FeedShelf


def shelf_of(own: Path) -> FeedShelf:
    """The shelf of a vault in the Netherlands."""
    return FeedShelf(own, "Europe/Amsterdam", "NL")


def test_shipped_and_own_feeds_stand_together(tmp_path: Path) -> None:
    """A file in the operator's directory is one more feed, by its name; another kind of file is none."""
    text = (SHIPPED / "native_csv.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace('"native_csv"', '"mine"'))
    (tmp_path / "notes.txt").write_text("not a feed")
    feeds = shelf_of(tmp_path)

    assert list(feeds) == sorted([*(path.stem for path in SHIPPED.glob("*.toml")), "mine"])
    assert len(feeds) == len(list(feeds))
    assert "mine" in feeds
    assert "notes" not in feeds
    assert feeds["mine"].name == "mine"


def test_an_own_feed_takes_a_shipped_ones_place(tmp_path: Path) -> None:
    """The operator's file of a shipped name is the one that is read."""
    text = (SHIPPED / "native_csv.toml").read_text()
    (tmp_path / "native_csv.toml").write_text(text.replace("title", "title ", 1).replace("own CSV", "own CSV, adapted"))
    feeds = shelf_of(tmp_path)
    assert "adapted" in feeds["native_csv"].title
    assert len(feeds) == len(shelf_of(tmp_path / "nothing"))


def test_a_feed_is_loaded_once_and_when_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at the names loads nothing; the second use doesn't load again."""
    loaded: list[str] = []

    def counting(path: Path, zone: str, region: str) -> object:
        loaded.append(path.stem)
        return load_feed(path, zone, region)

    monkeypatch.setattr(shelf, "load_feed", counting)
    (tmp_path / "mine.toml").write_text((SHIPPED / "native_csv.toml").read_text().replace('"native_csv"', '"mine"'))
    feeds = shelf_of(tmp_path)
    assert "mine" in feeds
    assert list(feeds)
    assert loaded == []
    assert feeds["mine"] is feeds["mine"]
    assert loaded == ["mine"]
    assert feeds["native_csv"] is feeds["native_csv"]
    assert loaded == ["mine"]


def test_a_shipped_feed_is_the_same_with_its_examples_run_as_without(tmp_path: Path) -> None:
    """What a lookup gives of a shipped feed passes its examples, wherever the vault is, when they are run."""
    for feeds in (shelf_of(tmp_path), FeedShelf(tmp_path, "Pacific/Auckland", "NZ")):
        unproven = {name: feed.digest for name, feed in feeds.items()}
        assert feeds.faults() == []
        assert {name: feeds.tested(name).digest for name in feeds} == unproven


def test_a_feed_whose_examples_fail_is_used_by_nobody(tmp_path: Path) -> None:
    """An own feed that reads something else than its examples promise is refused, and names which."""
    text = (SHIPPED / "native_csv.toml").read_text().replace('"native_csv"', '"mine"')
    (tmp_path / "mine.toml").write_text(text.replace("+31612345678", "+31612345679", 1))
    feeds = shelf_of(tmp_path)

    with pytest.raises(UsageError, match="loading a feed: feed mine, example "):
        _ = feeds["mine"]
    assert len(feeds.faults()) == 1
    assert "mine" in feeds


def test_a_file_that_can_not_be_read_is_no_feed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shipped feed whose file is broken is an error of its use, with a sentence."""
    (tmp_path / "native_csv.toml").write_bytes(b"\xff")
    monkeypatch.setattr(shelf, "SHIPPED", tmp_path)
    with pytest.raises(UsageError, match="loading a feed: feed native_csv is not TOML"):
        _ = shelf_of(tmp_path / "none")["native_csv"]


def test_a_feed_that_does_not_load_harms_nobody_else(tmp_path: Path) -> None:
    """Its use is an error with a sentence, which `faults` tells too; other feeds are used as ever."""
    shutil.copy(SHIPPED / "native_csv.toml", tmp_path / "wrong.toml")
    feeds = shelf_of(tmp_path)

    assert feeds["native_csv"].name == "native_csv"
    with pytest.raises(UsageError, match="loading a feed: "):
        _ = feeds["wrong"]
    (fault,) = feeds.faults()
    assert "wrong" in fault


def test_an_unknown_feed_is_a_missing_key(tmp_path: Path) -> None:
    """The shelf is a mapping: no such feed is `KeyError`, and `get` gives None."""
    feeds = shelf_of(tmp_path)
    assert feeds.get("nosuch") is None
    with pytest.raises(KeyError):
        _ = feeds["nosuch"]


def test_how_files_are_numbered_is_known_without_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The modulus is the feed's, whether it was loaded or not; of an unknown feed, or one without numbers, None."""
    whole = shelf_of(tmp_path)
    wanted = {name: rule.modulus if (rule := feed.sequence) else None for name, feed in whole.items()}
    assert {whole.modulus(name) for name in whole} == set(wanted.values())
    monkeypatch.setattr(shelf, "load_feed", lambda *_: pytest.fail("it was loaded"))
    feeds = shelf_of(tmp_path)

    assert {name: feeds.modulus(name) for name in feeds} == wanted
    assert {feeds.modulus("mvno_pipe"), feeds.modulus("native_csv")} == {wanted["mvno_pipe"], None}
    assert feeds.modulus("nosuch") is None


def test_a_feed_that_is_none_has_no_numbers(tmp_path: Path) -> None:
    """A file that defines no feed is named by what asks how its files are numbered."""
    (tmp_path / "mine.toml").write_text("feed = ")
    with pytest.raises(UsageError, match="reading how feed mine numbers its files"):
        shelf_of(tmp_path).modulus("mine")
