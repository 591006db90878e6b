"""Timekeeping: what waits while the clock is not believed.

The audit log tells a clock that jumped ahead or went back (`AuditLog.clock_problem`). By such a clock a hold would bind
for too long, a term close too early, a deadline move, a signature bear a date that is none. So nothing is registered,
approved or extended by it, and nothing expires, until the clock is right again or an operator says that it is
(`expire --accept-clock`). Taking files in goes on, and so do answering a
warrant, refusing and dropping.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from trafficvault.errors import DecisionError
from trafficvault.vault import Vault

HINT: Final = "check the clock; if it is right, an operator runs: trafficvault --user NAME expire --accept-clock"


def believed_now(vault: Vault, doing: str, left: str = "nothing was changed") -> datetime:
    """Now, for an act that something is dated or counted by. Raises `DecisionError` when the clock isn't believed;
    the sentence begins with what one was `doing` and ends with what was `left` undone.
    """
    now = vault.clock.now()
    problem = vault.audit.clock_problem(now)
    if problem is not None:
        raise DecisionError(f"{doing}: {problem}; {left}", hint=HINT)
    return now
