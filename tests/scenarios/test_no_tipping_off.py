"""No tipping off: one history with a warrant, a freeze and a hold, and one without.

What anybody but registrar, approver and auditor can have the program print, and what leaves it, is the same. What can't
be hidden is named here and in THREATS.md.
"""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.support import NOW, OTHER, SUBSCRIBER, Order, Usage, approved, ingest, new_vault, opened, signed_in, usage
from tests.trafficvault.cli.commandline import CommandLine
from trafficvault import disclose, docket, holding, proposals
from trafficvault.policy_file import preset_text
from trafficvault.vault import Vault

HOLD = Order(reference="PV-2026-000300", hold_for="P8D", legal_basis="126ni Sv")
PRODUCE = Order(reference="PV-2026-000301")
DUE = NOW + timedelta(days=171, hours=8)
"""When the first of the vault's days has been due for some hours."""
DAY = date(2026, 11, 10)
LOOKED = (timedelta(days=2), timedelta(days=5))
"""How long after that everything is looked at: while the hold keeps days that died, and when it has just ended."""
QUIET = ("otto", "ada")
"""An operator and an administrator: neither may know."""
VERBS = (
    *("status --json", "status --check", "status", "status --textfile {}/tv.prom", "expire --dry-run --json"),
    *(f"inventory --day {DAY} --json", f"inventory --day {DAY}", "certificate list --json", "certificate list"),
    *("statement --json", "policy plan --json", "policy versions --json", "doctor", "verify --json", "verify"),
    *("audit verify --json", "schedule list --json", "batch list --json", "sources --json", "sources gaps --json"),
    *("user list --json", "keys show --json", "escrow show --json", "compact --json", "audit checkpoint --json"),
    *("verify --against {0}/vault --json", "verify --against {0}/vault"),
)
"""What needs no person."""
SIGNED = (
    *("hold list --json", "hold extend 00 --until 2027-09-01T00:00Z", "hold release 00", "warrant list --json"),
    *("warrant show 00", "warrant run 00 --out {}/package", "proposal list --json", "rights list --json"),
    *("service list --json", "audit show --json", f"inventory --day {DAY} --json"),
)
_ID = re.compile(r"[0-9a-f]{12,}|(?<=[\s\"])[A-Za-z0-9+/]{40,}={0,2}")
_LOG = re.compile(
    r'("?\b(?:entry|entries|size|free_bytes|note|bytes|blocks)"?[\s:│|]+)(?:\d[\d.]*(?: .iB)?|"[^"]*")'
    r"|(?<=_bytes )\d+|\d+(?= entries| bytes are free)|[\d.]+(?= .iB are free)"
)
"""What the vault can't hide, how far the audit log has come; and what differs from vault to vault: the room on the
disk, and some bytes, for ids are random and don't shrink alike.
"""


def history(directory: Path, patch: pytest.MonkeyPatch, *, ordered: bool) -> list[dict[str, str]]:
    """What is seen of a vault from moment to moment; `ordered` when there is somebody to be asked about."""
    rules = directory / "policy.toml"
    rules.write_text(preset_text("telecom").replace('max_clock_step = "P7D"', 'max_clock_step = "P40D"'))
    vault = new_vault(directory, str(rules))
    rows = [Usage(at=f"202611{day:02d}120000") for day in (10, 11, 12)]
    rows += [Usage(at=f"202611{day:02d}130000", a=OTHER, b=OTHER, msisdn=OTHER) for day in (10, 11)]
    ingest(vault, "mvno_pipe", usage(rows), "S4PGWM000001")
    line, seen = CommandLine(directory, patch), []
    hold = ""
    for days in range(0, 171, 34):
        line.now = NOW + timedelta(days=days)
        assert line("expire").code == 0
    if ordered:
        vault = opened(vault, line.now)
        hold = approved(vault, HOLD)
        docket.register(vault, signed_in(vault, "olga"), PRODUCE.toml())
    seen.append(looked(line))
    # Two days die in the first run, others are carved; in the last runs the freeze and the hold end, one with a day
    # that dies, the other when nothing does.
    for later in (timedelta(hours=0), timedelta(days=1), timedelta(days=2), timedelta(days=5), timedelta(days=12)):
        line.now = DUE + later
        done = line("expire", "--json")
        assert done.code == 0, done
        if ordered and later == timedelta(days=1):
            asked(opened(vault, line.now), hold, directory)
        seen.append({"expire": told(done.out)})
        if later in LOOKED:
            seen[-1] |= looked(line)
    return seen


def asked(vault: Vault, hold: str, directory: Path) -> None:
    """A warrant is answered from the hold, and an extension of the hold is proposed."""
    order = approved(vault, Order(reference="PV-2026-000302", supplements=hold))
    assert disclose.run(vault, signed_in(vault, "olga"), order, directory / "held").records == 3
    made = holding.propose_release(vault, signed_in(vault, "olga"), hold)
    proposals.drop(vault, signed_in(vault, "olga"), made.proposal_id)


def looked(line: CommandLine) -> dict[str, str]:
    """What every verb prints to those who may not know, with its exit code; and the files that leave the vault."""
    found: dict[str, str] = {}
    for verb in (*VERBS, *SIGNED):
        words = verb.format(line.directory).split()
        for user in QUIET if verb in SIGNED else (None,):
            out = line(*words, user=user)
            found[f"{user}: {verb}"] = told(f"{out.code}\n{out.out}\n{out.err}")
    found["textfile"] = told((line.directory / "tv.prom").read_text())
    listed = json.loads(line("certificate", "list", "--json").out)["certificates"]
    for number, one in enumerate(listed):
        file = line.directory / "certificate.json"
        assert line("certificate", "show", one["id"], "--out", file).code == 0
        verdict = line("certificate", "verify", file, "--public-key", line.layout.settings)
        assert verdict.code == 0, verdict
        found[f"certificate {number}"] = told(verdict.out)
        file.unlink()
    return found


def told(text: str) -> str:
    """What is printed, but for ids, digests and signatures, and for what can't be hidden."""
    return _LOG.sub(r"\1#", _ID.sub("#", text)).replace(" ", "").replace("─", "")


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.timeout(400)
def test_whoever_may_not_know_learns_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each verb, output and exit code are the same at every moment, for each role that may not read the docket."""
    seen = []
    for ordered in (True, False):
        directory = tmp_path / "house"
        directory.mkdir()
        seen.append(history(directory, monkeypatch, ordered=ordered))
        directory.rename(tmp_path / str(ordered))
    for having, lacking in zip(*seen, strict=True):
        assert having.keys() == lacking.keys()
        assert {name: (having[name], lacking[name]) for name in having if having[name] != lacking[name]} == {}
    assert SUBSCRIBER not in json.dumps(seen)
