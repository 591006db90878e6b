"""Annotations: what a customer said about records of theirs (GDPR art. 16). The record stays as it was delivered; the
statement goes with every later answer in which the record is.

An annotation is of one record (source, batch, row), or of all records of its subject in a window. It lies in the
catalogue sealed under a key of its own (`row_keys`), and is made by answering a request that two persons vouched for.
It goes when every record that it can be about has reached its term (`registers`).

`Carried` looks at the rows of an answer as they go by and keeps those annotations whose record was among them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pyarrow as pa

from queries import matching
from trafficvault import row_keys, signing, targets
from trafficvault.catalogue import Transaction
from trafficvault.people import Person
from trafficvault.vault import Vault


@dataclass(frozen=True, slots=True)
class Annotation:
    """One statement: the request it came by, whose it is, the record or window it is about, and its text."""

    annotation_id: str
    made_at: str
    targets: tuple[dict[str, Any], ...] = field(repr=False)
    record: tuple[str, str, int] | None
    text: str = field(repr=False)

    def as_manifest(self) -> dict[str, Any]:
        """What an answer says of it."""
        about = (
            {"window": {"from": self.targets[0]["from"], "to": self.targets[0]["to"]}}
            if self.record is None
            else {"record": dict(zip(("source", "batch", "row"), self.record, strict=True))}
        )
        return {"id": self.annotation_id, "made_at": self.made_at, **about, "text": self.text}

    def is_about(self, rows: pl.DataFrame) -> bool:
        """Whether one of `rows`, with the record's columns and `record_class`, is what it is about."""
        if self.record is not None:
            source, batch, row = self.record
            return bool(((rows["source"] == source) & (rows["batch"] == batch) & (rows["row"] == row)).any())
        wanted = [targets.target_of(one) for one in self.targets]
        return matching.hits(rows.with_row_index("_row"), wanted).filter("inside").height > 0


def make(vault: Vault, tx: Transaction, person: Person, request_id: str, document: dict[str, Any]) -> str:
    """Puts the statement of an approved rectification beside the records; one request makes one annotation."""
    content = {name: document[name] for name in ("targets", "record", "statement")}
    tx.put(
        "annotations",
        id=request_id,
        request=request_id,
        **row_keys.seal(vault, tx, "annotations", request_id, content),
        made_by=person.name,
        made_at=signing.instant(vault.clock.now()),
        until=max(one["to"] for one in document["targets"]),
        classes=_classes(tx, document["record"]),
    )
    return request_id


def _classes(tx: Transaction, record: list[Any] | None) -> str | None:
    """The classes that a record of its batch can be of, as JSON; None where nothing narrows them."""
    batch = None if record is None else tx.get("batches", id=record[1])
    named = [] if batch is None else json.loads(batch["partitions"])
    return signing.canonical(sorted({name.partition("/")[0] for name in named})).decode() if named else None


def listing(vault: Vault) -> list[Annotation]:
    """Every annotation, oldest first. Raises `FaultError` when one was changed."""
    with vault.catalogue.reading() as tx:
        rows = tx.select("annotations", order_by="made_at")
    found = []
    for row in rows:
        content = row_keys.unseal(vault, "annotations", row)
        record = None if content["record"] is None else tuple(content["record"])
        found.append(Annotation(row["id"], row["made_at"], tuple(content["targets"]), record, content["statement"]))
    return found


class Carried:
    """The annotations that go with one answer. `told` is filled while the rows go by, in the order of the annotations;
    whoever puts it into a manifest does so before the rows are drawn.
    """

    def __init__(self, vault: Vault, subject: Sequence[Mapping[str, Any]] | None = None) -> None:
        """An answer to a customer carries what the `subject` of these targets said, and nobody else: a call has two
        parties, and what one of them said of it is theirs. One to an authority carries what anybody said.
        """
        self._known = [one for one in listing(vault) if subject is None or _is_by(one, subject)]
        self._found: set[str] = set()
        self.told: list[dict[str, Any]] = []

    def watch(self, stretches: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """`stretches` as they are."""
        for table in stretches:
            self.look(pl.DataFrame(table)) if self._known else None
            yield table

    def look(self, rows: pl.DataFrame) -> None:
        """Keeps the annotations that are about one of `rows`."""
        self._found |= {one.annotation_id for one in self._known if rows.height and one.is_about(rows)}
        self.told[:] = [one.as_manifest() for one in self._known if one.annotation_id in self._found]


def _is_by(one: Annotation, subject: Sequence[Mapping[str, Any]]) -> bool:
    return any(targets.are_one(mine, its) for mine in subject for its in one.targets)
