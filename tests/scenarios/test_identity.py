"""What counts as the same record, the same person, and whose data may leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import OTHER, SUBSCRIBER, Order, Usage, answer, ingest, new_vault, opened, usage
from trafficvault.vault import Vault


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """An empty vault."""
    return new_vault(tmp_path)


def records(package: Path) -> list[dict[str, Any]]:
    """The rows of a package."""
    rows: list[dict[str, Any]] = json.loads((package / "records.json").read_text())["records"]
    return rows


def test_two_equal_sms_of_one_second_are_two_records(vault: Vault, tmp_path: Path) -> None:
    """Rows without an id of their own that equal each other in one file are as many records."""
    receipt = ingest(vault, "mvno_pipe", usage([Usage(), Usage()]), "S4PGWM000001")
    assert (receipt.read, receipt.stored, receipt.duplicate) == (2, 2, 0)

    done = answer(vault, Order(), tmp_path / "package")
    assert done.records == 2


def test_the_same_file_again_changes_nothing(vault: Vault) -> None:
    """A file that was ingested is answered with the receipt of the first time."""
    data = usage([Usage(), Usage(at="20261110120001")])
    first = ingest(vault, "mvno_pipe", data, "S4PGWM000001")
    again = ingest(vault, "mvno_pipe", data, "renamed")

    assert again.status == "already-ingested"
    assert again.batch_id == first.batch_id
    assert again.stored == first.stored == 2


def test_the_same_records_in_another_file_add_none(vault: Vault) -> None:
    """Records delivered again among others are counted as duplicates, equal ones of one second among them."""
    old = [Usage(), Usage(), Usage(at="20261110120001")]
    ingest(vault, "mvno_pipe", usage(old), "S4PGWM000001")
    receipt = ingest(vault, "mvno_pipe", usage([*old, Usage(at="20261110120002")]), "S4PGWM000002")

    assert (receipt.read, receipt.stored, receipt.duplicate) == (4, 1, 3)


def test_a_third_equal_sms_in_a_later_file_is_new(vault: Vault) -> None:
    """Three equal rows in a later file are two known ones and a new one."""
    ingest(vault, "mvno_pipe", usage([Usage(), Usage()]), "S4PGWM000001")
    receipt = ingest(vault, "mvno_pipe", usage([Usage(), Usage(), Usage()]), "S4PGWM000002")
    assert (receipt.stored, receipt.duplicate) == (1, 2)


def test_the_same_id_with_other_content_is_a_further_version(vault: Vault, tmp_path: Path) -> None:
    """A corrected record is kept beside the first, and the answer says that there are two versions."""
    ingest(vault, "mvno_pipe", usage([Usage(kind="MO", seconds=60, record_id="77")]), "S4PGWM000001")
    receipt = ingest(vault, "mvno_pipe", usage([Usage(kind="MO", seconds=61, record_id="77")]), "S4PGWM000002")
    assert receipt.stored == 1

    answer(vault, Order(), tmp_path / "package")
    assert [row["record_versions"] for row in records(tmp_path / "package")] == [2, 2]


SOURCES = """
[acme]
feed = "asterisk_csv"
customer = "acme"

[bravo]
feed = "asterisk_csv"
customer = "bravo"
"""


def asterisk(src: str, dst: str, second: int) -> str:
    """One line of Master.csv with 21 columns, invented."""
    start = f"2026-11-10 12:00:{second:02d}"
    end = f"2026-11-10 12:01:{second:02d}"
    return (
        f'"","{src}","{dst}","from-internal","""Balie"" <{src}>","SIP/{src}-0000001{second}",'
        f'"SIP/{dst}-0000002{second}","Dial","SIP/{dst},60,t","{start}","{start}","{end}",60,60,"ANSWERED",'
        f'"DOCUMENTATION","17626500{second:02d}.{second}","","",'
        f'"17626500{second:02d}.{second}",{second}\n'
    )


def test_extension_1001_of_two_customers_never_meets(tmp_path: Path) -> None:
    """An extension is its customer's: the same digits at another customer are another target."""
    vault = new_vault(tmp_path)
    vault.layout.sources.write_text(SOURCES)
    vault = opened(vault)
    ingest(vault, "asterisk_csv", asterisk("1001", "1002", 1), "acme.csv", "acme")
    ingest(vault, "asterisk_csv", asterisk("1001", "1003", 2) + asterisk("1003", "1001", 3), "bravo.csv", "bravo")

    answer(vault, Order(targets=[("extension", "1001@acme")]), tmp_path / "acme-package")
    answer(vault, Order(targets=[("extension", "1001@bravo")], reference="PV-2"), tmp_path / "bravo-package")
    assert {row["customer"] for row in records(tmp_path / "acme-package")} == {"acme"}
    assert len(records(tmp_path / "acme-package")) == 1
    assert {row["customer"] for row in records(tmp_path / "bravo-package")} == {"bravo"}
    assert len(records(tmp_path / "bravo-package")) == 2


def peer_record(served: str) -> str:
    """One NDJSON record of a call, told by the network of `served`."""
    return (
        json.dumps(
            {
                "class": "mobile_usage",
                "start": "2026-11-10T12:00:00Z",
                "end": "2026-11-10T12:01:00Z",
                "served": served,
                "a_number": f"+{SUBSCRIBER}",
                "b_number": f"+{OTHER}",
                "event": "call",
                "imsi": "204990000000001" if served == "a" else "204990000000002",
                "peer_imsi": "204990000000002" if served == "a" else "204990000000001",
                "imei": "35123456000001" if served == "a" else "35123456000002",
                "start_cell": "204-99-0001-0001" if served == "a" else "204-99-0002-0002",
            }
        )
        + "\n"
    )


def test_a_peers_imsi_and_cell_never_leave_unless_the_peer_is_a_target(vault: Vault, tmp_path: Path) -> None:
    """Of a call between a target and another, the other's SIM, device and place stay inside."""
    ingest(vault, "native_ndjson", peer_record("a") + peer_record("b"), "calls.ndjson")
    answer(vault, Order(), tmp_path / "one")
    both = Order(targets=[("msisdn", f"+{SUBSCRIBER}"), ("msisdn", f"+{OTHER}")], reference="PV-2")
    answer(vault, both, tmp_path / "both")

    alone = (tmp_path / "one" / "records.json").read_text()
    assert len(records(tmp_path / "one")) == 2
    assert "204990000000001" in alone
    assert "204990000000002" not in alone
    assert "35123456000002" not in alone
    assert "204-99-0002-0002" not in alone
    together = (tmp_path / "both" / "records.json").read_text()
    assert "204990000000002" in together
    assert "204-99-0002-0002" in together
