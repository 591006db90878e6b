"""Reads one record file by `trafficvault/FORMAT.md` alone, without a line of TrafficVault: the files are an open
standard.

    python read_by_format.py VAULT KEYS VAULT_ID CLASS DAY FILE

From `root.key` to the epoch key, to the ring, to the day keys, to the file keys, to the data keys; then the rows
through Polars with explicit data keys, and through pyarrow with a KmsClient. Prints {"polars": [row, …], "pyarrow":
[row, …]}.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def unseal(key: bytes, blob: bytes, place: str) -> bytes:
    """FORMAT.md, "Sealed blobs": the plaintext of a sealed blob."""
    if blob[:4] != b"TVS1":
        raise ValueError("not a sealed blob")
    return AESGCM(key).decrypt(blob[4:16], blob[16:], place.encode())


def derive(key: bytes, *labels: str) -> bytes:
    """FORMAT.md, "derived keys"."""
    return HKDF(hashes.SHA256(), 32, None, "/".join(labels).encode()).derive(key)


def ring_of(keys: Path, vault_id: str) -> dict[str, bytes]:
    """FORMAT.md, "Key directory": every key of the newest ring."""
    line = (keys / "root.key").read_text()
    match = re.fullmatch(r"trafficvault-root-key-v1:([0-9a-f]{64})\n", line)
    if match is None:
        raise ValueError("not a root key of version 1")
    generation = max(int(path.name.partition("-")[2]) for path in keys.glob("epoch-*"))
    epoch = unseal(
        bytes.fromhex(match[1]), (keys / f"epoch-{generation}").read_bytes(), f"epoch {vault_id} {generation}"
    )
    ring = json.loads(unseal(epoch, (keys / f"ring-{generation}").read_bytes(), f"ring {vault_id} {generation}"))
    if (ring["kind"], ring["v"], ring["vault"], ring["generation"]) != ("ring", 1, vault_id, generation):
        raise ValueError("not a ring of this vault")
    return {name: bytes.fromhex(key) for name, key in ring["keys"].items()}


class Kms(pe.KmsClient):  # type: ignore[misc]  # pyarrow has no annotations
    """FORMAT.md, "Records": unwraps the data keys of one file, and of no other."""

    def __init__(self, ring: dict[str, bytes], record_class: str, day: str, file: str) -> None:
        super().__init__()
        self.ring = ring
        self.expected = (record_class, day, file)
        self.data_keys: dict[str, bytes] = {}

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        """This script only reads."""
        raise PermissionError(master_key_identifier)

    def unwrap_key(self, wrapped_key: bytes, master_key_identifier: str) -> bytes:
        """The data key of the leaf path that the id names."""
        record_class, day, category, file, leaf = master_key_identifier.split("/")
        if (record_class, day, file) != self.expected:
            raise ValueError("another file")
        file_key = derive(self.ring[f"{record_class}/{day}/{category}"], "file", file)
        blob = base64.b64decode(wrapped_key)
        data_key = AESGCM(file_key).decrypt(blob[:12], blob[12:], master_key_identifier.encode())
        self.data_keys[leaf] = data_key
        return data_key


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    match value:
        case datetime():
            return value.isoformat()
        case bytes():
            return value.hex()
        case list():
            return [plain(item) for item in value]
        case dict():
            return {name: plain(item) for name, item in value.items()}
    return value


def main(vault: str, keys: str, vault_id: str, record_class: str, day: str, file: str) -> None:
    """Prints the rows of the file, twice."""
    path = Path(vault) / "records" / record_class / day / f"{file}.parquet"
    kms = Kms(ring_of(Path(keys), vault_id), record_class, day, file)
    factory = pe.CryptoFactory(lambda _: kms)
    properties = factory.file_decryption_properties(pe.KmsConnectionConfig(), pe.DecryptionConfiguration())
    with pq.ParquetFile(path, decryption_properties=properties) as opened:
        by_pyarrow = opened.read(use_threads=False).to_pylist()
    footer = kms.data_keys.pop("footer")
    explicit = pl.ParquetDecryptionProperties(footer_key=footer, column_keys=kms.data_keys)
    by_polars = pl.scan_parquet(path, decryption=explicit).collect().to_dicts()
    json.dump({"polars": plain(by_polars), "pyarrow": plain(by_pyarrow)}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
