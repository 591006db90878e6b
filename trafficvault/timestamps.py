"""Time stamps of checkpoints by an authority outside (RFC 3161): that the log had come so far by that moment.

A vault's own clock proves nothing to others, and a checkpoint could be signed today for yesterday. A stamp binds the
note to the clock of an authority. `timestamp_command` reaches it: a program that gets the query (DER) on its standard
input and gives the answer (DER) on its standard output, such as

    curl -sf -H "Content-Type: application/timestamp-query" --data-binary @- https://tsa.example/tsr

What is stamped is the note, signature and all. An answer is kept only when it is one to our query; whose signature is
on it is checked by who has the authority's root certificate out of hands he trusts (`stamped_at`), without a network.
"""

from __future__ import annotations

import hashlib
import shlex
import subprocess
from datetime import datetime

import rfc3161_client as rfc3161
from cryptography import x509

from trafficvault.catalogue import Row
from trafficvault.errors import FaultError, UsageError, VaultError
from trafficvault.programs import run
from trafficvault.vault import Vault


def stamp(vault: Vault, row: Row) -> str | None:
    """Has the checkpoint `row` stamped, and remembers the answer. Returns what prevented it, as a sentence.

    Does nothing without `timestamp_command`, or where there is a stamp already.
    """
    command = vault.settings.timestamp_command
    if command is None or row["stamp"] is not None:
        return None
    note = str(row["note"])
    query = _query(note)
    what = f"time-stamping the checkpoint of {row['size']} entries"
    try:
        answer = run(shlex.split(command), query.as_bytes())
        _require_answer(answer, query, note)
    except (OSError, VaultError, subprocess.SubprocessError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        return f"{what}: {reason}; it is tried again with the next `audit checkpoint`"
    with vault.catalogue.transaction() as tx:
        fresh = tx.get("checkpoints", size=row["size"])
        if fresh is not None:
            tx.put("checkpoints", **fresh | {"stamp": answer.hex()})
    return None


def stamped_at(answer: bytes, note: str, root: bytes) -> datetime:
    """When `note` was stamped, by an authority under the certificate `root` (PEM).

    Raises `FaultError` when the answer is not a stamp of it under that root, `UsageError` when `root` is none.
    """
    try:
        certificate = x509.load_pem_x509_certificate(root)
    except ValueError as problem:
        raise UsageError("reading the root of the time-stamping authority: it is no PEM certificate") from problem
    response = _decoded(answer)
    verifier = rfc3161.VerifierBuilder().add_root_certificate(certificate).build()
    try:
        verifier.verify_message(response, note.encode())
    except rfc3161.VerificationError as problem:
        # What OpenSSL says beyond its first words is a dump of its own.
        reason = str(problem).partition(": ErrorStack")[0]
        raise FaultError(
            f"checking the time stamp of a checkpoint: it is no stamp of it under that root ({reason})"
        ) from problem
    return response.tst_info.gen_time


def _query(note: str) -> rfc3161.TimeStampRequest:
    builder = rfc3161.TimestampRequestBuilder().data(note.encode()).hash_algorithm(rfc3161.HashAlgorithm.SHA256)
    return builder.nonce(nonce=True).cert_request(cert_request=True).build()


def _require_answer(answer: bytes, query: rfc3161.TimeStampRequest, note: str) -> None:
    response = _decoded(answer)
    if rfc3161.PKIStatus(response.status) != rfc3161.PKIStatus.GRANTED:
        raise FaultError(f"the authority refused, with status {response.status}")
    told = response.tst_info
    if told.nonce != query.nonce or told.message_imprint.message != hashlib.sha256(note.encode()).digest():
        raise FaultError("the authority's answer is not one to this query")


def _decoded(answer: bytes) -> rfc3161.TimeStampResponse:
    try:
        return rfc3161.decode_timestamp_response(answer)
    except ValueError as problem:
        # It reads strict DER: some authorities put a chain of certificates into the answer in another order.
        raise FaultError("reading the answer of a time-stamping authority: it is not one in DER") from problem
