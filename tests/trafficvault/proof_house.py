"""What the tests of proofs share: the prepared vault after an expiry, and a time-stamping authority on this machine."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.support import NOW, opened, signed_in
from trafficvault import expire
from trafficvault.vault import Vault

LATE = NOW + timedelta(days=200)
"""When everything in the prepared vault is due."""


def expired(stored: Vault) -> tuple[Vault, tuple[dict[str, Any], ...]]:
    """The prepared vault, opened when all of it was due, and the certificates of its expiry."""
    late = opened(stored, LATE)
    done = expire.expire(late, signed_in(late, "otto"))
    return late, done.certificates


def with_settings(vault: Vault, *lines: str) -> Vault:
    """The vault, opened again with these lines of settings in place of those of the same name."""
    path = vault.layout.settings
    names = tuple(line.partition(" ")[0] for line in lines)
    kept = [line for line in path.read_text().splitlines() if not line.startswith(names)]
    path.write_text("\n".join([*kept, *lines]) + "\n")
    return opened(vault)


@dataclass(frozen=True, slots=True)
class Authority:
    """A time-stamping authority: OpenSSL's, under a root certificate made for the test."""

    directory: Path

    @property
    def root(self) -> Path:
        """The certificate of its root."""
        return self.directory / "root.pem"

    @property
    def command(self) -> str:
        """What answers a query on standard input with a stamp on standard output."""
        return str(self.directory / "answer.sh")


def authority(directory: Path) -> Authority:
    """A new authority below `directory`: a root, a signer with the right purpose, and a script that answers."""
    directory.mkdir()
    (directory / "tsa.cnf").write_text(
        f"""\
[req]
distinguished_name = name
prompt = no
[name]
CN = Test authority
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[signer]
basicConstraints = CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[tsa]
default_tsa = one
[one]
dir = {directory}
serial = {directory}/serial
signer_cert = {directory}/signer.pem
signer_key = {directory}/signer.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""
    )
    (directory / "serial").write_text("01\n")
    base = f"-config {directory}/tsa.cnf -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
    openssl(directory, f"req -x509 -days 3650 {base} -keyout root.key -out root.pem -extensions ca")
    openssl(directory, f"req {base} -keyout signer.key -out signer.csr")
    sign = "x509 -req -days 3650 -in signer.csr -CA root.pem -CAkey root.key -CAcreateserial -out signer.pem"
    openssl(directory, f"{sign} -extfile tsa.cnf -extensions signer")
    script = directory / "answer.sh"
    script.write_text(
        f"#!/bin/sh\ncat > {directory}/query.tsq\n"
        f"exec openssl ts -reply -config {directory}/tsa.cnf -queryfile {directory}/query.tsq 2>/dev/null\n"
    )
    script.chmod(0o700)
    return Authority(directory)


def openssl(directory: Path, words: str) -> None:
    """Runs OpenSSL in `directory`."""
    done = subprocess.run(["openssl", *words.split()], cwd=directory, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
