"""Programs that the operator names in the settings, for what the vault itself does not reach: bytes in, bytes out."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from trafficvault.errors import VaultError

SECONDS = 30
"""What a program, or a socket, is waited for."""


def run(words: Sequence[str], given: bytes) -> bytes:
    """What the program `words` answers to `given`. Raises `VaultError` when it fails, with nothing of what it said.

    It gets none of the vault's own environment, passwords among it. Raises `OSError` when it can't be started, and
    `subprocess.TimeoutExpired` when it doesn't end.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRAFFICVAULT_")}
    done = subprocess.run(  # noqa: S603 -- the operator's own setting, run without a shell
        words, input=given, capture_output=True, timeout=SECONDS, env=environment, check=False
    )
    if done.returncode != 0:
        raise VaultError(f"{Path(words[0]).name} ended with exit code {done.returncode}")
    return done.stdout
