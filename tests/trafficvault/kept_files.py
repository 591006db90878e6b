"""What the tests of kept files share: a proxy's file, a vault that holds it, and the source that it came from."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.support import ingest, new_vault, opened
from trafficvault.receipts import Receipt
from trafficvault.vault import Vault

CALLER = "31612345678"
AT = datetime(2026, 11, 19, 12, 0, tzinfo=UTC)


def calls(count: int = 3, at: datetime = AT, caller: str = CALLER) -> str:
    """Answered calls of one caller, a second apart, as a proxy writes them."""
    begin = int(at.timestamp())
    return "".join(
        f"INVITE|{number:08x}|{number + 9:08x}|{number:016x}@proxy.example.org|200|OK|{begin + number}|*prepaid|"
        f"{caller}|31687654321||1:{number}\n"
        for number in range(count)
    )


def source(vault: Vault, *lines: str) -> Vault:
    """The vault opened again with one source, `proxy`, that has `lines`."""
    text = '[proxy]\nfeed = "kamailio_flatstore"\n' + "".join(f"{line}\n" for line in lines)
    vault.layout.sources.write_text(text, encoding="utf-8")
    return opened(vault)


def kept_vault(directory: Path, *lines: str, data: str = "") -> tuple[Vault, Receipt]:
    """A vault with one file of `proxy`."""
    vault = source(new_vault(directory), *lines)
    return vault, ingest(vault, "kamailio_flatstore", data or calls(), "acc.log", "proxy")
