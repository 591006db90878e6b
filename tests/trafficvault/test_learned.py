"""What is remembered from file to file of how to read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ingest.planned import draft
from tests.support import Usage, new_vault, usage
from trafficvault import intake, receive

MANY = 8192
"""Rows for which a plan is made."""


def test_words_of_records_do_not_outlive_their_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the words of a file settled serves the next one, until the key ring is renewed."""
    vault, drafts = new_vault(tmp_path), list[int]()
    feed, source = intake.feed_and_source(vault, "mvno_pipe", None)

    def taken(rows: int) -> int:
        """How many records of a file with so many rows are new."""
        some = [Usage(at=f"2026111012{n // 60 % 60:02d}{n % 60:02d}", seconds=n) for n in range(rows)]
        return receive.receive(vault, feed, source, usage(some).encode(), f"file{rows}").stored

    def drawn(*given: Any) -> Any:
        drafts.append(1)
        return draft(*given)

    monkeypatch.setattr("ingest.plan.draft", drawn)

    assert [taken(MANY), taken(MANY + 1)] == [MANY, 1]
    assert len(drafts) == 1
    vault.keys.renew([], lambda generation: None)
    assert [taken(1), taken(MANY + 2)] == [0, 1]
    assert len(drafts) == 2
