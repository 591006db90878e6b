"""Disclose beside the stories: what fails after the intent leaves no package, and a line that says so."""

from __future__ import annotations

import errno
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from queries import engine
from queries.questions import QuestionError
from tests.support import Order, answer, approved, new_vault, signed_in
from tests.trafficvault.prepared_vault import Prepared
from trafficvault import disclose, people, search
from trafficvault.errors import FaultError, RefusedError, UsageError, VaultError
from trafficvault.vault import Vault


def run(vault: Vault, warrant: str, out: Path, question: str | None = "activity", who: str = "olga") -> None:
    """Runs a question by one of the staff."""
    disclose.run(vault, signed_in(vault, who), warrant, out, question)


def last(vault: Vault, count: int = 1) -> list[dict[str, Any]]:
    """The last entries of the audit log."""
    return vault.audit.show(count)


def states(vault: Vault) -> list[str]:
    """The states of all disclosures."""
    with vault.catalogue.reading() as tx:
        return [row["state"] for row in tx.select("disclosures")]


def test_intent_and_result_are_in_the_log(stored: Vault, prepared: Prepared, tmp_path: Path) -> None:
    """Both entries name the disclosure; the manifest's digest of the result is the one that was entered."""
    run(stored, prepared.warrant, tmp_path / "package")
    intent, result = last(stored, 2)

    assert (intent["act"], result["act"], result["person"]) == ("disclose-intent", "disclose", "olga")
    assert (intent["detail"]["registered_by"], intent["detail"]["approved_by"]) == ("olga", "piet")
    assert intent["detail"]["disclosure"] == result["detail"]["disclosure"]
    assert (result["detail"]["records"], result["detail"]["complete"]) == (5, 0)
    manifest = json.loads((tmp_path / "package" / "manifest.json").read_text())
    assert manifest["disclosure"] == result["detail"]["disclosure"]
    assert manifest["four_eyes"] == "procedural"
    assert manifest["retained_data_mark"] == disclose.MARK
    assert states(stored) == ["released"]


def test_two_runs_are_two_disclosures(stored: Vault, prepared: Prepared, tmp_path: Path) -> None:
    """Each question of a warrant is a disclosure of its own."""
    run(stored, prepared.warrant, tmp_path / "one", "activity")
    run(stored, prepared.warrant, tmp_path / "two", "contacts")
    assert states(stored) == ["released", "released"]


def test_a_changed_record_file_leaves_no_package(stored: Vault, prepared: Prepared, tmp_path: Path) -> None:
    """A file that doesn't open stops the whole answer: part of one would pass for all of it."""
    path = max(stored.layout.records.rglob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(VaultError):
        run(stored, prepared.warrant, tmp_path / "package")

    assert list(tmp_path.glob("package*")) == []
    assert states(stored) == ["failed"]
    assert last(stored)[0]["act"] == "disclose-failed"
    assert "error" in last(stored)[0]["detail"]


def test_a_question_that_runs_out_of_time_leaves_no_package(
    stored: Vault, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question that can't be answered within its limits is a refusal, with the engine's own words."""

    def slow(*arguments: object) -> Iterator[pa.RecordBatch]:
        raise QuestionError("the question took too long")

    monkeypatch.setattr(engine, "answers", slow)
    with pytest.raises(RefusedError, match="the question took too long"):
        run(stored, prepared.warrant, tmp_path / "package")
    assert list(tmp_path.glob("package*")) == []
    assert last(stored)[0]["detail"]["error"] == "QuestionError"


def test_who_was_disabled_vouches_for_nothing(stored: Vault, prepared: Prepared, tmp_path: Path) -> None:
    """A warrant whose approver was disabled before the run opens no key."""
    ada = signed_in(stored, "ada")
    with stored.catalogue.transaction() as tx:
        people.disable(tx, "piet", (ada,))
    with pytest.raises(RefusedError, match="the warrant's approver is disabled"):
        run(stored, prepared.warrant, tmp_path / "package")
    assert states(stored) == ["failed"]


def test_refusals_come_before_any_key(
    stored: Vault, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused run writes one line, whoever asked, makes no disclosure and never begins to search."""

    def never(*arguments: object) -> None:
        raise AssertionError("it searched")

    monkeypatch.setattr(search, "Search", never)
    with pytest.raises(RefusedError, match="the question cell is not in the warrant"):
        run(stored, prepared.warrant, tmp_path / "package", "cell")
    with pytest.raises(RefusedError, match="there is no question nosuch"):
        run(stored, prepared.warrant, tmp_path / "package", "nosuch")
    with pytest.raises(RefusedError, match="needs the role officer"):
        run(stored, prepared.warrant, tmp_path / "package", who="piet")
    assert [(entry["act"], entry["person"]) for entry in last(stored, 4)] == [
        ("warrant-approve", "piet"),
        ("disclose-refused", "olga"),
        ("disclose-refused", "olga"),
        ("disclose-refused", "piet"),
    ]
    assert states(stored) == []


def test_every_reason_is_told(stored: Vault, tmp_path: Path) -> None:
    """A question that needs what the warrant doesn't cover, and isn't in it, is refused for both."""
    narrow = approved(stored, Order(reference="PV-2", categories=("who", "when")))
    with pytest.raises(RefusedError) as refused:
        run(stored, narrow, tmp_path / "package", "cell")
    assert "the question cell is not in the warrant" in str(refused.value)
    assert "needs where" in str(refused.value)


def test_what_can_be_mended_is_usage(stored: Vault, prepared: Prepared, tmp_path: Path) -> None:
    """A directory that exists and a question that isn't named are told before anything is entered."""
    before = last(stored)
    with pytest.raises(UsageError, match="name a new directory"):
        run(stored, prepared.warrant, tmp_path)
    with pytest.raises(UsageError, match="name one with --question"):
        run(stored, prepared.warrant, tmp_path / "package", None)
    assert last(stored) == before


def test_a_package_has_a_place_of_its_own(stored: Vault, prepared: Prepared, tmp_path: Path) -> None:
    """In the vault, beside its keys or below a file nothing is written; the last is known only after the intent."""
    for inside in (stored.layout.vault / "package", stored.layout.keys / "deep" / "package"):
        with pytest.raises(UsageError, match="a package is in clear"):
            run(stored, prepared.warrant, inside)
        assert not inside.exists()
    assert states(stored) == []
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match=r"writing the package package: .*; name another directory"):
        run(stored, prepared.warrant, tmp_path / "file" / "package")
    assert states(stored) == ["failed"]
    assert last(stored)[0]["detail"]["error"] == "FileExistsError"


def test_an_unapproved_warrant_changed_by_hand_is_a_fault(stored: Vault, prepared: Prepared, tmp_path: Path) -> None:
    """Signatures copied into the row by other means are found by its seal."""
    stored.catalogue.close()
    with sqlite3.connect(stored.layout.catalogue) as database:
        database.execute("update warrants set approved_by = 'otto'")
    database.close()
    with pytest.raises(FaultError):
        run(stored, prepared.warrant, tmp_path / "package")


def test_a_narrow_warrant_gives_narrow_columns(stored: Vault, tmp_path: Path) -> None:
    """Columns of categories that the warrant doesn't cover are not in the package, empty or filled."""
    answer(stored, Order(reference="PV-3", categories=("who", "when")), tmp_path / "package")
    rows = json.loads((tmp_path / "package" / "records.json").read_text())["records"]
    assert rows
    assert all(not {"start_cell", "duration_ms", "bytes_down"} & {key for key in row if row[key]} for row in rows)


def test_what_can_not_be_read_is_told_apart_from_what_can_not_be_written(tmp_path: Path) -> None:
    """A record file by its id, and a fault; a package by its name, and a wrong directory. Neither tells a path."""
    vault = new_vault(tmp_path)
    name = f"{'0a' * 16}.parquet"
    named = OSError(errno.EIO, "Input/output error", str(vault.layout.records / "voip" / name))
    worded = OSError(f"Failed to read '{vault.layout.records}/voip/{name}'")
    for problem, reason in ((named, "Input/output error"), (worded, "OSError")):
        told = disclose._told(vault, tmp_path / "out", problem)
        assert isinstance(told, FaultError)
        assert str(told) == f"reading {name} for the answer: {reason}; no package was made"
    beside = disclose._told(vault, tmp_path / "out", OSError(errno.EIO, "bad", str(vault.layout.catalogue)))
    assert "a file of the vault" in str(beside)
    written = disclose._told(vault, tmp_path / "out", OSError(errno.EACCES, "Permission denied", str(tmp_path / "out")))
    assert isinstance(written, UsageError)
    assert str(written) == "writing the package out: Permission denied; name another directory"
