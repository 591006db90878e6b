"""Real files: every sample that a shipped feed reads balances, and questions on it count as other means do."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.support import Order, answer, ingest, new_vault
from trafficvault.vault import Vault
from trafficvault.verify import verify

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples"
CGRATES = SAMPLES / "cgrates_test_cdrs"

pytestmark = pytest.mark.skipif(not CGRATES.is_dir(), reason="the sample files are not at hand")

LONG = """
zone = "Europe/Amsterdam"
region = "NL"

[[entry]]
id = "all"
service = "all"
data = "all"
term = "P40Y"
controller = "test"
legal_basis = "test"
classes = ["telephony", "voip", "mobile_usage"]
"""


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """A vault that keeps for forty years, because the samples are years old."""
    policy = tmp_path / "policy.toml"
    policy.write_text(LONG)
    return new_vault(tmp_path, str(policy))


FLATSTORE = sorted(path.name for path in CGRATES.glob("acc_flatstore_*.log"))


@pytest.mark.parametrize("name", FLATSTORE)
def test_a_flatstore_sample_balances(vault: Vault, name: str) -> None:
    """Every line of a Kamailio file is stored or joined, and `verify` agrees."""
    content = (CGRATES / name).read_text()
    receipt = ingest(vault, "kamailio_flatstore", content, name)

    assert receipt.status == "committed", receipt.reason
    assert receipt.read == len(content.splitlines())
    assert receipt.rejected == receipt.ignored == 0
    assert verify(vault).faults == ()


def test_a_question_on_flatstore_counts_as_awk_does(vault: Vault, tmp_path: Path) -> None:
    """The calls of extension 1001 in the sample are those that splitting on the pipe gives."""
    lines = (CGRATES / "acc_flatstore_fullSuccessfull.log").read_text().splitlines()
    expected = sum(1 for line in lines if line.startswith("INVITE|") and "1001" in line.split("|")[8:10])
    ingest(vault, "kamailio_flatstore", "\n".join(lines), "acc.log")
    order = Order(
        targets=[("extension", "1001@kamailio_flatstore")],
        start="2015-07-01T00:00:00+02:00",
        end="2015-08-01T00:00:00+02:00",
    )
    answer(vault, order, tmp_path / "package")
    rows = json.loads((tmp_path / "package" / "records.json").read_text())["records"]

    assert Counter(row["part"] for row in rows)["first"] == expected > 0
    assert len(rows) == 2 * expected


def test_a_call_over_two_files_is_found_whole(vault: Vault, tmp_path: Path) -> None:
    """The BYE of an earlier file, which names no number, is in the answer about the INVITE's caller."""
    for name in ("acc_flatstore_part1.log", "acc_flatstore_part2.log"):
        ingest(vault, "kamailio_flatstore", (CGRATES / name).read_text(), name)
    order = Order(
        targets=[("extension", "1003@kamailio_flatstore")],
        start="2015-07-01T00:00:00+02:00",
        end="2015-08-01T00:00:00+02:00",
    )
    answer(vault, order, tmp_path / "package")
    rows = json.loads((tmp_path / "package" / "records.json").read_text())["records"]

    assert sorted(row["target_role"] for row in rows) == ["b", "part"]


def test_the_fixed_width_sample_balances_and_counts(vault: Vault, tmp_path: Path) -> None:
    """33 calls of 1855 seconds in all; the caller with most calls has as many in the answer."""
    content = (CGRATES / "nl_wlr_fixed_width.cdr").read_text()
    receipt = ingest(vault, "wlr_fixed", content, "wlr.cdr")
    assert (receipt.status, receipt.read, receipt.stored, receipt.ignored) == ("committed", 35, 33, 2)
    calls = [line for line in content.splitlines() if line.startswith("CDR")]
    ((caller, count),) = Counter(line[30:49].strip() for line in calls).most_common(1)
    order = Order(
        targets=[("msisdn", "+31" + caller.removeprefix("0"))],
        start="2012-07-01T00:00:00+02:00",
        end="2012-08-01T00:00:00+02:00",
    )
    answer(vault, order, tmp_path / "package")
    rows = json.loads((tmp_path / "package" / "records.json").read_text())["records"]

    assert len(rows) == count
    mine = [line for line in calls if line[30:49].strip() == caller]
    seconds = sum(int(line[127:129]) * 3600 + int(line[129:131]) * 60 + int(line[131:133]) for line in mine)
    assert sum(row["duration_ms"] for row in rows) == seconds * 1000
