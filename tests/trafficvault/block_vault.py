"""Gives the record files of a vault their block files, as compaction does, for tests of what reads them."""

from __future__ import annotations

from datetime import date

import polars as pl

from trafficvault import partitions
from trafficvault.block_form import order_key
from trafficvault.block_writing import Builder
from trafficvault.sealed_parquet import Place
from trafficvault.vault import Vault


def give_blocks(vault: Vault, every: int = 1) -> int:
    """Writes a block file beside every `every`-th record file and enters it; returns how many it wrote."""
    custody = vault.keys.custody("compact")
    with vault.catalogue.transaction() as tx:
        rows = [row for row in tx.select("files", order_by="day") if row["blocks"] is None][::every]
        for row in rows:
            place = Place(row["record_class"], date.fromisoformat(row["day"]), row["id"])
            held = partitions.read_in_custody(vault.layout, custody, *_whole(place), list(_columns(row["columns"])))
            path = vault.layout.blocks_file(place.record_class, place.day, place.file_id)
            path.touch(0o600)
            with Builder(path, place, partitions.file_keys(custody, place)) as builder:
                builder.add(held.sort(order_key(held.columns), *(pl.col(name) for name in ("start",) if name in held)))
                builder.finish()
            digest = partitions.keyed_digest_of(custody, path)
            tx.put("files", **(row | {"blocks": digest, "blocks_bytes": path.stat().st_size}))
    return len(rows)


def _whole(place: Place) -> tuple[str, date, str]:
    return place.record_class, place.day, place.file_id


def _columns(text: str) -> list[str]:
    return [name.strip(' "') for name in text.strip("[]").split(",")]
