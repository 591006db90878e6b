"""Compaction is invisible to answers: whatever was ingested, compacted and expired, in whatever order."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support import (
    NOW,
    OTHER,
    SUBSCRIBER,
    THIRD,
    Order,
    Usage,
    answer,
    ingest,
    layout_at,
    new_vault,
    opened,
    usage,
)
from tests.thorough import as_many
from trafficvault import app, compact, expire, merging, ordering
from trafficvault.clock import SetClock
from trafficvault.compaction import Selection
from trafficvault.durable import Disk
from trafficvault.policy_file import preset_text
from trafficvault.vault import Vault
from trafficvault.verify import verify

DAYS = ("16", "17", "18", "19")
QUESTIONS = ("activity", "contacts", "identifiers", "data_usage")

rows = st.builds(
    Usage,
    kind=st.sampled_from(["SMSMO", "SMSMT", "MO", "MT", "GP"]),
    a=st.sampled_from([SUBSCRIBER, OTHER]),
    b=st.sampled_from([OTHER, THIRD, ""]),
    at=st.builds(
        lambda day, hour, second: f"202611{day}{hour:02d}00{second:02d}",
        st.sampled_from(DAYS),
        st.integers(0, 23),
        st.integers(0, 3),
    ),
    seconds=st.integers(0, 90),
    visited=st.sampled_from(["", "FRAF1", "BELMO"]),
)
acts = st.lists(
    st.one_of(st.lists(rows, min_size=1, max_size=6), st.just("compact"), st.just("all"), st.just("expire")),
    min_size=2,
    max_size=8,
)


@contextmanager
def few_at_once(*, spilling: bool) -> Iterator[None]:
    """Row groups of few rows; with `spilling` so few rows in memory that ordering always goes over the disk."""
    with pytest.MonkeyPatch.context() as patch:
        if spilling:
            patch.setattr(ordering, "BUDGET", 900)
        patch.setattr(merging, "_GROUP", 4)
        yield


def told(
    vault: Vault, directory: Path, category: tuple[str, ...] = ("who", "where", "when", "how_much")
) -> list[pl.DataFrame]:
    """What every question answers, in the order of the package."""
    directory.mkdir(parents=True)
    found = []
    for number, question in enumerate(QUESTIONS):
        order = Order(questions=(question,), categories=category, reference=f"{directory.name}-{number}")
        done = answer(vault, order, directory / question)
        found.append(pl.read_parquet(done.package / "records.parquet"))
    return found


@pytest.mark.no_cover
@settings(
    max_examples=as_many(3),
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(history=acts)
def test_answers_are_those_of_a_vault_that_never_compacted(
    tmp_path_factory: pytest.TempPathFactory, history: list[str | list[Usage]]
) -> None:
    """The same history with and without compaction: same receipts, same answers, row by row; `verify` is clean."""
    base = tmp_path_factory.mktemp("history")
    short = base / "policy.toml"
    short.write_text(preset_text("telecom").replace('"P6M"', '"P4D"'))
    (base / "plain").mkdir()
    plain_vault = new_vault(base / "plain", str(short))
    # A copy: the ids of batches depend on the vault's keys.
    shutil.copytree(base / "plain", base / "compacted")
    layout = layout_at(base / "compacted")
    vaults = [plain_vault, app.open_vault(layout, Disk(), SetClock(NOW), writer=True)]
    later = NOW
    for number, act in enumerate(history):
        if isinstance(act, list):
            name, text = f"S4PGWM{number:06d}", usage(act)
            first, second = (ingest(vault, "mvno_pipe", text, name) for vault in vaults)
            assert (first.stored, first.duplicate, first.expired) == (second.stored, second.duplicate, second.expired)
        elif act == "expire":
            later += timedelta(hours=14)
            vaults = [opened(vault, later) for vault in vaults]
            for vault in vaults:
                expire.expire(vault)
        else:
            with few_at_once(spilling=number % 2 == 0):
                done = compact.compact(vaults[1], Selection(unsettled=act == "all"))
            assert done.faults == ()
    plain, compacted = (told(vault, base / "out" / name) for vault, name in zip(vaults, ("a", "b"), strict=True))
    for before, after in zip(plain, compacted, strict=True):
        assert after.equals(before)
    assert verify(vaults[1]).faults == ()


def test_an_order_without_location_is_answered_as_before(tmp_path: Path) -> None:
    """With some categories only, before and after, of files of several days and a merged one with late records."""
    vault = new_vault(tmp_path)
    some = [Usage(at=f"202611{day}1200{second:02d}", visited="FRAF1") for day in DAYS for second in range(4)]
    ingest(vault, "mvno_pipe", usage(some), "S4PGWM000001")
    ingest(vault, "mvno_pipe", usage([Usage(at="20261117130000", kind="MO", seconds=9)]), "S4PGWM000002")
    categories = ("who", "when", "how_much")
    before = told(vault, tmp_path / "before", categories)
    compact.compact(vault)
    ingest(vault, "mvno_pipe", usage([Usage(at="20261201120000")]), "S4PGWM000003")
    assert all(a.equals(b) for a, b in zip(told(vault, tmp_path / "after", categories), before, strict=True))
