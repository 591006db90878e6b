"""No verb gives a key away: not by its name, not by what it prints."""

from __future__ import annotations

from docs.help import help_of, verbs
from tests.trafficvault.cli.commandline import CommandLine
from trafficvault import app
from trafficvault.clock import SetClock
from trafficvault.durable import Disk

PRINTING = (
    ("status",), ("verify",), ("doctor",), ("policy", "show"), ("config", "check"), ("feeds",), ("sources",),
    ("sources", "gaps"), ("batch", "list"), ("user", "list"), ("expire", "--dry-run"), ("audit", "verify"),
    ("keys", "show"),
)  # fmt: skip
SIGNED_IN = ((("warrant", "list"), "olga"), (("audit", "show"), "aukje"))


def test_no_verb_prints_a_key(line: CommandLine) -> None:
    """No key of the ring, the root or an epoch stands in what the verbs print, plain or as JSON."""
    vault = app.open_vault(line.layout, Disk(), SetClock(line.now))
    custody = vault.keys.custody("verify")
    keys = [custody.key(name).hex() for name in vault.keys.key_ids()]
    keys.append(line.layout.root_key.read_text().strip().rpartition(":")[2])
    told = ""
    for words in PRINTING:
        told += line(*words).out + line(*words, "--json").out
    for words, user in SIGNED_IN:
        told += line(*words, user=user).out + line(*words, "--json", user=user).out

    assert len(told) > 1000
    assert not [key for key in keys if key in told.lower()]


def test_no_verb_offers_keys() -> None:
    """The verbs about keys renew, move and show who holds them; none is named for giving one out, or speaks of it."""
    about = {verb for verb in verbs() if "key" in verb}
    assert about == {"keys", "keys show", "keys rotate", "keys move", "keys passphrase"}
    assert not [verb for verb in verbs() if "export" in verb]
    assert not [verb for verb in verbs() if "export" in help_of(verb).lower()]
