"""Verbs that prove to an outsider: certificate, audit checkpoint, audit verify --checkpoint, inventory, --against."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest

from tests.trafficvault.cli.commandline import CommandLine
from tests.trafficvault.proof_house import LATE, authority
from trafficvault import notes


@pytest.fixture
def expired(line: CommandLine) -> CommandLine:
    """The prepared vault after everything in it has expired, with a checkpoint made before."""
    policy = line.layout.policy
    policy.write_text(policy.read_text().replace('max_clock_step = "P7D"', 'max_clock_step = "P365D"'))
    assert line("audit", "checkpoint", "--out", line.directory / "before.note").code == 0
    shutil.copytree(line.layout.vault, line.directory / "copy")
    line.now = LATE
    assert line("expire").code == 0
    return line


def configure(line: CommandLine, text: str) -> None:
    """Puts `text` into the settings, in place of the places that are none."""
    path = line.layout.settings
    path.write_text(path.read_text().replace("checkpoint_to = []", text))


def test_a_certificate_goes_to_an_outsider(expired: CommandLine) -> None:
    """Listed, shown, exported with its proof, and verified without the vault by key and kept checkpoint."""
    listed = expired("certificate", "list", "--json").object["certificates"]
    identity, out, kept = listed[0]["id"], expired.directory / "one.json", expired.directory / "kept.note"
    refused = expired("certificate", "show", identity, "--out", out)
    assert refused.code == 3
    assert "run `audit checkpoint` first" in refused.err
    assert expired("audit", "checkpoint", "--out", kept).code == 0
    assert f"certificate {identity} is in" in expired("certificate", "show", identity[:10], "--out", out).out
    assert expired("certificate", "show", identity, "--json").object == listed[0]
    assert identity in expired("certificate", "show", identity).out
    assert identity in expired("certificate", "list").out
    key = expired.directory / "vault.toml"
    shutil.copy(expired.layout.settings, key)
    shutil.rmtree(expired.layout.vault)
    shutil.rmtree(expired.layout.keys)

    done = expired.bare("certificate", "verify", out, "--public-key", key, "--checkpoint", kept)
    assert done.code == 0
    assert [row.partition(":")[0] for row in done.out.splitlines()[1:]] == ["attested", "proved", "proved", "proved"]
    told = expired.bare("certificate", "verify", out, "--json").object
    assert told["certificate"] == identity
    assert len(told["open"]) == 2
    out.write_text(out.read_text().replace('"what":"', '"what":"more '))
    assert expired.bare("certificate", "verify", out).code == 5
    assert expired.bare("certificate", "verify", expired.directory / "none").code == 2
    assert expired.bare("certificate", "verify", out, "--public-key", "zz").code == 2


def test_a_proof_for_the_checkpoint_that_somebody_kept(expired: CommandLine) -> None:
    """The export can be made for that one; without --out there is nothing to prove."""
    identity = expired("certificate", "list", "--json").object["certificates"][0]["id"]
    kept, out = expired.directory / "kept.note", expired.directory / "one.json"
    expired("audit", "checkpoint", "--out", kept)
    assert expired("expire").code == 0
    assert expired("certificate", "show", identity, "--checkpoint", kept).code == 2
    done = expired("certificate", "show", identity, "--out", out, "--checkpoint", kept, "--json")
    assert done.object == {"id": identity, "file": str(out), "proved": True}
    assert expired.bare("certificate", "verify", out, "--checkpoint", kept).code == 0
    early = expired("certificate", "show", identity, "--out", out, "--checkpoint", expired.directory / "before.note")
    assert early.code == 3
    assert expired("certificate", "show", identity, "--out", expired.directory / "no" / "where").code == 2


def test_the_log_extends_a_kept_checkpoint(expired: CommandLine) -> None:
    """`audit verify --checkpoint` says so with a proof; of another vault's, or a changed one, exit code 5."""
    before = expired.directory / "before.note"
    done = expired("audit", "verify", "--checkpoint", before, "--json").object
    size = int(before.read_text().splitlines()[1])
    assert done["checkpoint"] == size
    assert done["entries"] > size
    assert done["consistency"]
    assert f"begins with the {size} entries" in expired("audit", "verify", "--checkpoint", before).out
    assert "checkpoint" not in expired("audit", "verify", "--json").object
    before.write_text(before.read_text().replace(f"\n{size}\n", f"\n{size + 1}\n"))
    changed = expired("audit", "verify", "--checkpoint", before, "--json")
    assert changed.code == 5
    assert changed.object["faults"][0]["kind"] == "rolled back"


def test_checkpoints_go_to_second_places_and_are_stamped(line: CommandLine) -> None:
    """What was sent and what was not is told; the stamp lies beside the note, and its root checks it offline."""
    assert "are sent nowhere" in " ".join(line("status", "--json").object["attention"])
    there, tsa = line.directory / "there", authority(line.directory / "tsa")
    there.mkdir()
    configure(line, f'checkpoint_to = ["file://{there}", "command:/bin/false"]\ntimestamp_command = "{tsa.command}"')
    out = line.directory / "note"
    done = line("audit", "checkpoint", "--out", out, "--json")
    assert done.code == 0
    assert done.object["sent"] == [f"file://{there}"]
    assert "false ended with exit code 1" in done.object["problems"][0]
    assert (line.directory / "note.tsr").exists()
    name, _, rest = done.object["verifier_key"].partition("+")
    public = base64.b64decode(rest.partition("+")[2])[1:].hex()
    assert notes.open_note(out.read_text(), name, public).split("\n")[1] == str(done.object["size"])
    assert "has not reached command:/bin/false" in " ".join(line("status", "--json").object["attention"])
    checks = line("doctor", "--json").object["checks"]
    assert {one["state"] for one in checks if one["check"] == "second place"} == {"warn"}
    policy = line.layout.policy
    policy.write_text(policy.read_text().replace('max_clock_step = "P7D"', 'max_clock_step = "P365D"'))
    line.now = LATE
    identity = line("expire", "--json").object["certificates"][0]["id"]
    told = line("audit", "checkpoint")
    assert told.out.startswith("trafficvault/")
    assert "false ended with exit code 1" in told.out
    line("certificate", "show", identity, "--out", out)
    verified = line.bare("certificate", "verify", out, "--tsa-root", tsa.root)
    assert "says the time-stamping authority" in verified.out
    export = json.loads(out.read_text())
    del export["timestamp"]
    out.write_text(json.dumps(export))
    assert line.bare("certificate", "verify", out, "--tsa-root", tsa.root).code == 2


def test_the_inventory_of_a_day(expired: CommandLine, tmp_path: Path) -> None:
    """After expiry nothing is listed but what remains; a day or class that is none is refused."""
    found = expired("inventory", "--day", "2026-11-10", "--class", "mobile_usage", "--json").object
    assert found["data"] == []
    assert found["possible"] == []
    assert {one["what"] for one in found["remains"]} == {"tombstone", "certificate", "receipt"}
    assert "tombstone" in expired("inventory", "--day", "2026-11-10").out
    assert expired("inventory", "--day", "yesterday").code == 2
    assert expired("inventory", "--day", "2026-11-10", "--class", "telex").code == 2


def test_an_old_copy_is_tried(expired: CommandLine) -> None:
    """Every file of the copy is named unreadable; a place without record files is refused."""
    done = expired("verify", "--against", expired.directory / "copy", "--json").object
    dead = [one for one in done["files"] if one["state"] == "expired"]
    assert {"record file", "seen block", "rejections", "held batch"} <= {one["kind"] for one in dead}
    assert {one["opened_by"] for one in dead} == {None}
    assert done["verdict"] == "unreadable"
    assert done["kinds"]["record file"] == dict(done["kinds"]["record file"], tried=3, dead=3, dead_readable=0)
    assert (
        "verdict: nothing that should be unreadable could be opened"
        in expired("verify", "--against", expired.directory / "copy").out
    )
    assert expired("verify", "--against", expired.directory / "nothing").code == 2


def test_warrants_in_an_old_copy_are_for_who_may_read_the_docket(expired: CommandLine) -> None:
    """An auditor is told of them; without a person nothing is, and an administrator is refused."""
    copy = expired.directory / "copy"
    told = expired("verify", "--against", copy, "--json", user="olga").object
    assert told["with_held"]
    assert told["kinds"]["warrant"]["tried"] == 1
    assert "warrant" not in expired("verify", "--against", copy, "--json").object["kinds"]
    assert expired("verify", "--against", copy, user="ada").code == 3


def test_a_copy_with_its_keys_fails(line: CommandLine) -> None:
    """A key directory in the copy opens what is dead: each is listed with its kind, and the exit code is 5. Of the
    vault itself nothing is shown.
    """
    policy = line.layout.policy
    policy.write_text(policy.read_text().replace('max_clock_step = "P7D"', 'max_clock_step = "P365D"'))
    copy = line.directory / "copy"
    for part in (line.layout.vault, line.layout.keys):
        shutil.copytree(part, copy / part.name)
    line.now = LATE
    assert line("expire").code == 0
    found = line("verify", "--against", copy)
    assert found.code == 5
    assert "files or values open that should not" in found.err
    for what in ("record file", "seen block", "rejections", "held batch"):
        assert what in found.out
    assert line("verify", "--against", copy, "--json").object["verdict"] == "failed"
    assert line("verify", "--against", line.layout.vault, "--json").object["verdict"] == "nothing shown"
