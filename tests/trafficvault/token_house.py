"""A real PKCS#11 token for the tests: softhsm2's, in a directory of its own. Tests skip where it is not installed."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

PIN, LABEL = "2468", "trafficvault-tests"
_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)


@cache
def module() -> Path:
    """The token's library, its token initialised. One token serves a whole process: the library reads its settings
    once. Vaults have ids of their own, so they don't meet in it.
    """
    pytest.importorskip("pkcs11")
    found = [Path(name) for name in _MODULES if Path(name).exists()]
    tool = shutil.which("softhsm2-util")
    if not found or tool is None:
        pytest.skip("softhsm2 is not installed: apt-get install softhsm2")
    directory = Path(tempfile.mkdtemp(prefix="trafficvault-token-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    (directory / "tokens").mkdir()
    os.environ["SOFTHSM2_CONF"] = str(_settings(directory))
    subprocess.run(
        [tool, "--init-token", "--free", "--label", LABEL, "--pin", PIN, "--so-pin", "1357"],
        check=True,
        capture_output=True,
    )
    return found[0]


def token() -> Any:
    """The token itself."""
    import pkcs11

    return pkcs11.lib(str(module())).get_token(token_label=LABEL)


def token_files() -> bytes:
    """Every byte of the token's own directory: what who images the machine has of it."""
    directory = Path(os.environ["SOFTHSM2_CONF"]).parent / "tokens"
    return b"".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())


def image(directory: Path) -> Path:
    """A copy of the token's own files as they are now, in `directory`; returns the settings by which the library of
    another process takes it for the token.
    """
    shutil.copytree(Path(os.environ["SOFTHSM2_CONF"]).parent / "tokens", directory / "tokens")
    return _settings(directory)


def _settings(directory: Path) -> Path:
    path = directory / "softhsm2.conf"
    path.write_text(f"directories.tokendir = {directory}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
    return path
