"""A vault whose location has a shorter term than its call, for the tests of terms per category."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.support import Usage, ingest, new_vault, opened, usage
from trafficvault import policy
from trafficvault.vault import Vault

FIRST = datetime(2026, 11, 12, 10, 0, tzinfo=UTC)
"""Two days after the records were made."""
GONE = datetime(2026, 12, 12, 12, 0, tzinfo=UTC)
"""When the location of 10 November is due after a month, and that of 11 November is not."""
OVER = datetime(2027, 5, 12, 12, 0, tzinfo=UTC)
"""When 10 November itself is due, after six."""
COUNTRY = "DEUD2"


def rules(where: str = "P1M", rest: str = "P6M", step: str = "P999D") -> str:
    """The telecom preset with `where` kept for `where` and all else for `rest`, by a clock that nobody doubts."""
    text = policy.preset_text("telecom").replace('max_clock_step = "P7D"', f'max_clock_step = "{step}"')
    for name in ("mobile", "lawful-requests"):
        head, _, tail = text.partition(f'id = "{name}"')
        text = head + f'id = "{name}"' + tail.replace('term = "P6M"', f'term = "{rest}"', 1)
    kept = 'categories = ["who", "when", "how_much"]'
    text = text.replace('classes = ["mobile_usage"]', f'classes = ["mobile_usage"]\n{kept}')
    text = text.replace('classes = ["email", "telephony", "voip", "mobile_usage", "internet"]', 'classes = ["email"]')
    text = text.replace('classes = ["email"]', 'classes = ["email", "internet"]')
    return text + (
        f'\n[[entry]]\nid = "location"\nservice = "Mobile"\ndata = "Location"\nterm = "{where}"\n'
        'controller = "The provider"\nlegal_basis = "GDPR art. 6(1)(b)"\n'
        'classes = ["mobile_usage"]\ncategories = ["where"]\n'
    )


def new(directory: Path, text: str | None = None) -> Vault:
    """A vault under `rules`, with two records of each of two days, made abroad."""
    file = directory / "policy.toml"
    file.write_text(rules() if text is None else text)
    vault = new_vault(directory, str(file), FIRST)
    rows = [
        Usage(at=f"202611{day:02d}12000{second}", visited=COUNTRY, record_id=f"{day}-{second}")
        for day in (10, 11)
        for second in range(2)
    ]
    ingest(vault, "mvno_pipe", usage(rows), "S4PGWM000001")
    return vault


def at(vault: Vault, moment: datetime) -> Vault:
    """The same vault, opened at `moment`."""
    return opened(vault, moment)
